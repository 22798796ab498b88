#!/usr/bin/env bash
# Shows mailgate at work between an HAProxy balancer and real mail servers, all in a scratch folder on loopback:
#   etc/demo.sh          stays up afterwards, with lines to try; Ctrl-C ends it
#   etc/demo.sh --once   ends by itself, with exit status 0 when everything was as it should be
set -euo pipefail
cd "$(dirname "$0")/.."

etc/packages.sh build demo
cmake --preset release -B build/demo -DMAILGATE_TESTS=OFF >/dev/null
cmake --build build/demo --target mailgate -- --quiet

# Postfix and Dovecot run their parts as their own users, which takes root to arrange.
as_root=()
[ "$(id -u)" = 0 ] || as_root=(sudo)
exec "${as_root[@]}" env MAILGATE_BIN="$PWD/build/demo/gateway/mailgate" /usr/bin/python3 -B etc/demo/demo.py "$@"
