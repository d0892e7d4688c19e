#!/bin/sh
# Reserves a bare-metal machine on Chameleon for two hours, starts it with cloud-init.yaml, and says
# how to fetch the archive. Needs the commands openstack and blazar (pip install
# python-openstackclient python-blazarclient), and the RC file of a project, sourced.
# usage: chameleon.sh REPOSITORY KEY_PAIR [NODE_TYPE [COMMIT]]
# SPDX-License-Identifier: MIT
set -e
repository=${1:?the address of the repository is missing}
key=${2:?the name of a key pair is missing}
type=${3:-compute_skylake}
commit=${4:-main}
name=virtine-evaluation
data=$(mktemp)
trap 'rm -f "$data"' EXIT
sed -e "s|repository=REPOSITORY|repository=$repository|" -e "s|commit=main|commit=$commit|" \
  "$(dirname "$(readlink -f "$0")")/cloud-init.yaml" >"$data"

blazar lease-create "$name" --end-date "$(date -u -d '+2 hours' '+%Y-%m-%d %H:%M')" \
  --physical-reservation "min=1,max=1,resource_properties=[\"=\", \"\$node_type\", \"$type\"]"
reservation=
until [ -n "$reservation" ]; do
  sleep 10
  reservation=$(blazar lease-show "$name" -f json | python3 -c '
import json, sys
lease = json.load(sys.stdin)
if lease["status"] == "ERROR":
    sys.exit("the reservation has failed: no free node of this type?")
print(json.loads(lease["reservations"])["id"] if lease["status"] == "ACTIVE" else "")')
done
openstack server create --flavor baremetal --image CC-Ubuntu22.04 --network sharednet1 --key-name "$key" \
  --hint "reservation=$reservation" --user-data "$data" --wait "$name"
address=$(openstack floating ip create public -f value -c floating_ip_address)
openstack server add floating ip "$name" "$address"
echo "In about an hour:  scp cc@$address:/srv/evaluation.tar $type.tar"
echo "Afterwards:  openstack server delete $name; blazar lease-delete $name; openstack floating ip delete $address"
