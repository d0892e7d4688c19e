#!/bin/sh
# Evaluates this checkout on this machine, as root: any Debian or Ubuntu on bare metal. Builds in a
# Debian 12 of its own, /srv/debian, so that all machines have the same compilers; only the kernel is
# the machine's. Leaves /srv/evaluation.tar. Run again, it goes on where it was.
# SPDX-License-Identifier: MIT
set -e
export DEBIAN_FRONTEND=noninteractive HOME=/root # cloud-init sets no HOME.
checkout=$(readlink -f "$(dirname "$0")/../../..")
debian=/srv/debian

modprobe kvm_intel 2>/dev/null || modprobe kvm_amd 2>/dev/null || true
[ -c /dev/kvm ] || { echo "there is no /dev/kvm: is this bare metal, and virtualisation on in its firmware?"; exit 1; }
# Frequencies that change would be measured too.
for file in /sys/devices/system/cpu/cpu*/cpufreq/scaling_governor; do
  [ ! -w "$file" ] || echo performance >"$file"
done

if [ ! -e $debian/.complete ]; then
  apt-get update
  apt-get install -y debootstrap debian-archive-keyring
  rm -rf $debian
  debootstrap --include=ca-certificates bookworm $debian
  touch $debian/.complete
fi
mkdir -p $debian/work
for path in /dev /proc /sys; do
  mountpoint -q $debian$path || mount --rbind $path $debian$path
done
mountpoint -q $debian/work || mount --bind "$checkout" $debian/work

chroot $debian sh -e <<'COMMANDS'
apt-get update
apt-get install -y --no-install-recommends git g++ clang lld llvm musl-dev meson ninja-build pkg-config \
  python3-pyelftools nasm catch2 python3-clang-14 libfmt-dev zlib1g-dev libssl-dev duktape-dev wabt \
  nodejs python3-matplotlib nats-server libnats-dev libmicrohttpd-dev nlohmann-json3-dev
git config --global --replace-all safe.directory /work
cd /work
[ -d build ] || meson setup build
meson compile -C build evaluation
COMMANDS
cp "$checkout/build/evaluation/evaluation.tar" /srv/evaluation.tar
