#!/usr/bin/env bash
# Runs the README's two commands on a machine that has nothing: a root made by debootstrap, with this tree's last commit in it.
#   tests/fresh.sh                  Debian 12 (bookworm)
#   tests/fresh.sh trixie           Debian 13
#   tests/fresh.sh trixie COMMAND   only COMMAND, in place of the two
# Takes root, debootstrap, git and 6 GB; packages come from the mirror that this machine's own apt uses. What is not committed
# is not tried. The root is in a scratch folder (below TMPDIR, or /var/tmp), its processes are in namespaces of their own, and
# nothing of them is left at the end.
# SPDX-License-Identifier: Apache-2.0
set -euo pipefail
cd "$(dirname "$0")/.."

release=${1-bookworm}
[[ "$release" =~ ^[a-z]+$ ]] || { sed -n '2,8s/^# \{0,1\}//p' "$0" >&2; exit 2; }
shift || true
commands=("$@")
[ $# -gt 0 ] || commands=("./etc/demo.sh --once" "./tests/run.sh")
[ "$(id -u)" = 0 ] || { echo "tests/fresh.sh: takes root" >&2; exit 2; }
[ -z "$(git status --porcelain)" ] || echo "tests/fresh.sh: what is not committed is left out" >&2

mirror=$(apt-get indextargets --format '$(SITE)' 'Created-By: Packages' 'Origin: Debian' 'Label: Debian' | sed -n 1p)
[ -n "$mirror" ] || { echo "tests/fresh.sh: this machine's apt knows no mirror of Debian" >&2; exit 2; }
scratch=$(mktemp -d "${TMPDIR:-/var/tmp}/mailgate-fresh.XXXXXX")
root=$scratch/root
# Nothing is mounted in here: the mounts below are in a namespace that ends with its processes.
trap 'rm -rf --one-file-system "$scratch"' EXIT

# step NAME COMMAND…: runs it and tells what it took.
step() {
  local name=$1 started=$SECONDS
  shift
  echo "== $release: $name"
  "$@" || { echo "== $release: $name: failed after $((SECONDS - started)) s" >&2; exit 1; }
  echo "== $release: $name: $((SECONDS - started)) s"
}

make_root() {
  # debootstrap's own messages are of interest when it fails.
  debootstrap --variant=minbase "$release" "$root" "$mirror" >"$scratch/debootstrap.log" 2>&1 ||
    { tail -n 20 "$scratch/debootstrap.log" >&2; return 1; }
  git clone --quiet --no-hardlinks . "$root/mailgate" && cp /etc/resolv.conf "$root/etc/resolv.conf"
}

# A command in the root, as root, with the kernel's file systems and nothing of this machine's environment. The root is its
# namespace's own, as that of a real machine is: chroot would not do for tests that make namespaces themselves. The network is
# shared, for the packages.
inside() {
  unshare --mount --pid --ipc --uts --fork --kill-child --propagation private sh -euc '
    root=$1
    mount --bind "$root" "$root"
    mount -t proc proc "$root/proc"
    mount --rbind /sys "$root/sys"
    mount --rbind /dev "$root/dev"
    mount -t tmpfs tmpfs "$root/run"
    cd "$root"
    pivot_root . .
    umount --lazy .
    exec env -i HOME=/root PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin \
      sh -euc "cd /mailgate; $2"' sh "$root" "$1"
}

step "debootstrap from $mirror" make_root
for command in "${commands[@]}"; do
  step "$command" inside "$command"
done
