#!/usr/bin/env bash
# Shows mailgate at work between an HAProxy balancer and real mail servers, all in a scratch folder on loopback:
#   etc/demo.sh          stays up afterwards, with lines to try; Ctrl-C ends it
#   etc/demo.sh --once   ends by itself, with exit status 0 when everything was as it should be
# SPDX-License-Identifier: Apache-2.0
set -euo pipefail
cd "$(dirname "$0")/.."

etc/packages.sh build demo
# What is quickest to build: no debug information, files taken together.
cmake -B build/demo -G Ninja -DCMAKE_BUILD_TYPE=Release -DCMAKE_CXX_FLAGS_RELEASE="-O1 -DNDEBUG" -DCMAKE_UNITY_BUILD=ON \
  -DMAILGATE_TESTS=OFF >/dev/null
cmake --build build/demo --target mailgate -- --quiet

# Postfix and Dovecot run their parts as their own users, which takes root to arrange.
as_root=()
[ "$(id -u)" = 0 ] || as_root=(sudo)
exec "${as_root[@]}" env MAILGATE_BIN="$PWD/build/demo/gateway/mailgate" /usr/bin/python3 -B etc/demo/demo.py "$@"
