#!/usr/bin/env bash
# The one test command: installs what is missing, builds, and runs everything, with what each part took.
#   tests/run.sh           thread sanitizer, address and undefined-behaviour sanitizers, release
#   tests/run.sh --quick   release only, with every test
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

# build PRESET [TARGET…]: unity builds of the libraries, which halves their compile time. Forty executables are linked for the
# sanitizers, by lld in a fifth of the time; what is shipped is linked as the package is.
unit_tests=ON
build() {
  local preset=$1 started=$SECONDS linker=
  shift
  [ "$preset" = release ] || ! command -v ld.lld >/dev/null || linker=-fuse-ld=lld
  LDFLAGS="$linker ${LDFLAGS-}" cmake --preset "$preset" -DCMAKE_UNITY_BUILD=ON -DMAILGATE_UNIT_TESTS="$unit_tests" >/dev/null
  cmake --build --preset "$preset" ${1:+--target "$@"} -- --quiet
  echo "== $preset: built in $((SECONDS - started)) s"
}

# meanwhile COMMAND…: the tests wait more than they compute, so what comes next takes what they leave of the processors.
# done_meanwhile: it is needed now; what failed in there fails the run. behind COMMAND…: after all else, to the end of this shell.
meanwhile() {
  mkdir -p build
  "$@" >build/meanwhile.log 2>&1 &
  working=$!
}
done_meanwhile() {
  wait "$working" || { cat build/meanwhile.log; exit 1; }
  cat build/meanwhile.log
}
behind() {
  renice -n 15 -p $BASHPID >/dev/null
  "$@"
}
trap wait EXIT

# check FOLDER AT_ONCE [CTEST ARGUMENTS…]: runs the tests of a build folder or a part of it, so many at a time; none at all is
# a failure.
# The integration tests start mail servers that change to users of their own, which takes root.
as_root=()
[ "$(id -u)" = 0 ] || as_root=(sudo --preserve-env)
check() {
  local folder=build/$1 at_once=$2 started=$SECONDS
  shift 2
  echo "== ${folder#build/}: test"
  "${as_root[@]}" ctest --test-dir "$folder" --parallel "$at_once" --no-tests=error --output-on-failure "$@"
  echo "== ${folder#build/}: tested in $((SECONDS - started)) s"
}

# What is shipped: its build, and what of its tests may run beside others.
shipped() {
  (behind build release)
  check release 1 --label-regex '^beside$'
}

again=()
if [ $quick = yes ]; then
  build release
else
  # What has passed under the address sanitizer does the same in the release build. There, what measures or kills it runs once
  # more and alone; what packages it or carries everything, beside the others' tests.
  again=(--tests-regex '^(integration|console|style|bench)\.' --label-exclude '^(integration|beside)$')
  # malloc_context_size: walking up thirty callers of each allocation is a fifth of what the command line's tests compute.
  export ASAN_OPTIONS=strict_string_checks=1:malloc_context_size=10 UBSAN_OPTIONS=print_stacktrace=1 TSAN_OPTIONS=halt_on_error=1
  # Deadlines are four times as long under a sanitizer, so three or four tests at a time may share two processors.
  # The thread sanitizer sees what has threads; the parsers are the other builds' business.
  build tsan thread_tests
  meanwhile behind build asan
  check tsan 3 --label-regex '^threads$'

  done_meanwhile
  unit_tests=OFF
  meanwhile shipped
  # The package is made of the release build alone. The fuzz targets read what is in tests/fuzz/corpus; new inputs are for
  # tests/fuzz/run.sh to look for: whether a change passes must not hang on chance.
  check asan 4 --exclude-regex '^(integration\.package|style\..*)$'
  done_meanwhile
fi

echo "== until here: $SECONDS s"
# Last, so that the output ends with what is shipped, and alone: its deadlines are the tightest.
check release 2 "${again[@]}"
