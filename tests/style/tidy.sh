#!/usr/bin/env bash
# clang-tidy over the sources, with .clang-tidy's checks: what it finds, how often each check spoke, and what that took.
#   tests/style/tidy.sh                     all rooms
#   tests/style/tidy.sh gateway/config …    these rooms
# A room, or all rooms of a floor, is looked at as one file (a unity build), which reads each header once: most of the time goes
# into what the headers declare, and so this takes two minutes instead of half an hour. Names in the anonymous namespaces of a
# floor's files are therefore different ones.
# SPDX-License-Identifier: Apache-2.0
set -euo pipefail
cd "$(dirname "$0")/../.."

folder=build/tidy
# Each version has checks of its own; the sources follow 14.
tidy=$(command -v run-clang-tidy-14 || command -v run-clang-tidy)
together=$([ $# = 0 ] && echo FLOORS || echo OFF)
cmake -S . -B $folder -G Ninja -DMAILGATE_TOGETHER=$together -DMAILGATE_TESTS=OFF -DCMAKE_BUILD_TYPE=Debug -DCMAKE_UNITY_BUILD=ON \
  -DCMAKE_UNITY_BUILD_BATCH_SIZE=0 >/dev/null

rooms=()
for room in "$@"; do
  [ -d "$room" ] || { echo "$0: there is no room $room" >&2; exit 2; }
  rooms+=("$PWD/$folder/${room%/}/CMakeFiles/")
done

status=0
"$tidy" -p $folder -quiet "${rooms[@]}" >$folder/tidy.txt 2>$folder/tidy.err || status=$?
# In colours, unasked; and what a header has is told by each file that includes it.
found=$(sed 's/\x1b\[[0-9;]*m//g' $folder/tidy.txt | grep -E '^/.*: (warning|error): ' | sort -u | sed "s|^$PWD/||" || true)
[ -z "$found" ] || { echo "$found"; grep -oE '\[[a-zA-Z0-9.-]+' <<<"$found" | tr -d '[' | sort | uniq -c | sort -rn; }
echo "== clang-tidy: $SECONDS s"
exit $status
