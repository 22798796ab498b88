#!/usr/bin/env bash
# Looks for inputs that break what tests/fuzz asserts, one target after the other. Needs clang.
#   tests/fuzz/run.sh 3600           an hour in all: one share for each target, six for the session
#   tests/fuzz/run.sh 600 session    only this target
# An input that breaks something is kept in build/fuzz/findings (exit 1); run the target on that file alone to see how. New
# inputs that reach more code gather in build/fuzz/corpus, so that the next run goes on from there; of these, what is
# worth keeping for good is copied to tests/fuzz/corpus by hand.
# SPDX-License-Identifier: Apache-2.0
set -euo pipefail
cd "$(dirname "$0")/../.."

[[ "${1-}" =~ ^[1-9][0-9]*$ ]] || { sed -n '2,4s/^# //p' "$0" >&2; exit 2; }
seconds=$1
shift
targets=("$@")
if [ ${#targets[@]} = 0 ]; then
  for source in tests/fuzz/*_fuzz.cpp; do
    targets+=("$(basename "$source" _fuzz.cpp)")
  done
fi

weight() { [ "$1" = session ] && echo 6 || echo 1; }
shares=0
for target in "${targets[@]}"; do
  shares=$((shares + $(weight "$target")))
done

cmake --preset fuzz -DCMAKE_UNITY_BUILD=ON >/dev/null
cmake --build --preset fuzz --target "${targets[@]/%/_fuzz}" -- --quiet

export ASAN_OPTIONS=strict_string_checks=1 UBSAN_OPTIONS=print_stacktrace=1
output=build/fuzz
mkdir -p $output/findings
failed=()
for target in "${targets[@]}"; do
  share=$((seconds * $(weight "$target") / shares))
  echo "== $target: $((share > 0 ? share : 1)) s"
  mkdir -p "$output/corpus/$target"
  "$output/tests/fuzz/${target}_fuzz" -max_total_time=$((share > 0 ? share : 1)) -timeout=60 -rss_limit_mb=1024 \
    -artifact_prefix="$output/findings/$target-" "$output/corpus/$target" "tests/fuzz/corpus/$target" \
    >"$output/$target.log" 2>&1 || { tail -n 40 "$output/$target.log"; failed+=("$target"); }
  sed -n 's/^Done \(.*\)/   \1/p' "$output/$target.log"
done
[ ${#failed[@]} = 0 ] || { echo "broken: ${failed[*]}; inputs in $output/findings" >&2; exit 1; }
