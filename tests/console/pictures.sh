#!/usr/bin/env bash
# Pictures of the console's screens, over real servers and a minute of traffic (as root):
#   tests/console/pictures.sh FOLDER [BUILD]     BUILD: a build folder with tests, build/release if nothing is said
# SPDX-License-Identifier: Apache-2.0
set -euo pipefail
[ $# -gt 0 ] || { sed -n '2,3s/^# //p' "$0" >&2; exit 2; }
mkdir -p "$1"
folder=$(realpath "$1")
build=$(realpath "${2-$(dirname "$0")/../../build/release}")
cd "$(dirname "$0")"
export CONSOLE_PICTURES=$folder MAILGATE_BIN=$build/gateway/mailgate CONSOLE_MODULES=$build/tests/console/web CHROMIUM=${CHROMIUM-/usr/bin/chromium}
exec /usr/bin/python3 -B -c '
import contextlib, os, subprocess
from site_under_test import Scratch, Site
with contextlib.closing(Scratch()) as scratch:
    subprocess.run(["node", "pictures.mjs"], check=True, env={**os.environ, **Site(scratch).settings(), "HOME": str(scratch.path)})
'
