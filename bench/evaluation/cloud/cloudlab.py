"""One bare-metal machine that evaluates virtine when it starts.

Instructions: about an hour after the node is ready, /srv/evaluation.tar is there; copy it by scp.
/srv/evaluation.log says how it goes."""
# A profile for CloudLab: upload it as a new one. Must not know how machines are evaluated.
# SPDX-License-Identifier: MIT

import geni.portal as portal
import geni.rspec.pg as pg

# The first two are processors of the authors' data: EPYC 7302P and Xeon 6142.
TYPES = ["c6525-25g", "c6420", "c6525-100g", "c6620", "r6615", "sm110p"]
EVALUATE = (
    "sudo sh -c 'exec > /srv/evaluation.log 2>&1; apt-get update; apt-get install -y git ca-certificates; "
    "git clone {repository} /srv/virtine && git -C /srv/virtine checkout {commit} && "
    "/srv/virtine/bench/evaluation/cloud/evaluate.sh'")

context = portal.Context()
context.defineParameter("type", "Type of node", portal.ParameterType.STRING, TYPES[0], TYPES)
# CloudLab runs this with the defaults when it is uploaded, so none may be empty.
context.defineParameter("repository", "Address of the repository, to be written", portal.ParameterType.STRING,
                        "https://git.example/virtine.git")
context.defineParameter("commit", "Commit or branch", portal.ParameterType.STRING, "main")
given = context.bindParameters()

request = context.makeRequestRSpec()
node = request.RawPC("node")
node.hardware_type = given.type
node.disk_image = "urn:publicid:IDN+emulab.net+image+emulab-ops//UBUNTU22-64-STD"
node.addService(pg.Execute(shell="sh", command=EVALUATE.format(
    repository=given.repository, commit=given.commit)))
context.printRequestRSpec(request)
