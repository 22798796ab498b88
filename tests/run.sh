#!/usr/bin/env bash
# The one test command: installs what is missing, builds, and runs everything, with what each part took.
#   tests/run.sh           thread sanitizer, address and undefined-behaviour sanitizers with some fuzzing, release
#   tests/run.sh --quick   release only
# SPDX-License-Identifier: Apache-2.0
set -euo pipefail
cd "$(dirname "$0")/.."

quick=no
case "${1-}" in
  "")      ;;
  --quick) quick=yes ;;
  *)       sed -n '2,4s/^# //p' "$0" >&2; exit 2 ;;
esac

etc/packages.sh build demo test
echo "== packages: $SECONDS s"

# build PRESET [TARGET…]: unity builds of the libraries, which halves their compile time.
build() {
  local preset=$1 started=$SECONDS
  shift
  cmake --preset "$preset" -DCMAKE_UNITY_BUILD=ON >/dev/null
  cmake --build --preset "$preset" ${1:+--target "$@"} -- --quiet
  echo "== $preset: built in $((SECONDS - started)) s"
}

# build_meanwhile PRESET: the tests wait more than they compute, so the next build takes what they leave of the processors.
# built: it is needed now.
building=
build_meanwhile() {
  mkdir -p build
  { renice -n 15 -p $BASHPID >/dev/null; build "$1"; } >"build/$1.log" 2>&1 &
  building="$! build/$1.log"
}
built() {
  local id log
  read -r id log <<<"$building"
  building=
  wait "$id" || { cat "$log"; exit 1; }
  cat "$log"
}
trap wait EXIT

# check FOLDER [CTEST ARGUMENTS…]: runs the tests of a build folder or a part of it; none at all is a failure. ctest itself
# says what they took.
# The integration tests start mail servers that change to users of their own, which takes root.
as_root=()
[ "$(id -u)" = 0 ] || as_root=(sudo --preserve-env)
check() {
  local folder=build/$1
  shift
  echo "== ${folder#build/}: test"
  "${as_root[@]}" ctest --test-dir "$folder" --parallel 2 --no-tests=error --output-on-failure "$@"
}

if [ $quick = yes ]; then
  build release
else
  export ASAN_OPTIONS=strict_string_checks=1 UBSAN_OPTIONS=print_stacktrace=1 TSAN_OPTIONS=halt_on_error=1
  # The thread sanitizer sees what has threads; the parsers are the other builds' business.
  build tsan thread_tests
  build_meanwhile asan
  check tsan --label-regex '^threads$'

  built
  build_meanwhile release
  # The package is made of the release build alone.
  check asan --exclude-regex '^(integration\.package|style\..*)$'
  tests/fuzz/run.sh 40
  built
fi

echo "== until here: $SECONDS s"
# Last, so that the output ends with the whole suite of what is shipped, and alone: its deadlines are the tightest.
check release
