#!/usr/bin/env bash
# The integration tests with Dovecot once more, with the Dovecot 2.4 of Debian 13 instead of the one that is installed. Takes root.
#   tests/integration/dovecot24.sh                    all of them
#   tests/integration/dovecot24.sh test_starttls …    these modules, classes or tests
# Its system is made in ROOT (/var/lib/mailgate-test/trixie) by debootstrap, once; the programs under test are those in BUILD
# (build/dev). Without either it ends with 77, and has tested nothing.
# SPDX-License-Identifier: Apache-2.0
set -euo pipefail
root=${ROOT-/var/lib/mailgate-test/trixie}
build=$(realpath -m "${BUILD-$(dirname "$0")/../../build/dev}")
cd "$(dirname "$0")"
modules=(test_imap test_interop test_logins test_pop3_lmtp_sieve test_probe_snippet test_starttls test_tls test_tls_peers
         test_upstream_tls)
packages=dovecot-core,dovecot-imapd,dovecot-pop3d,dovecot-managesieved,dovecot-lmtpd,dovecot-submissiond

not_run() { echo "not run: $1" >&2; exit 77; }

[ "$(id -u)" = 0 ] || not_run "it takes root"
[ -x "$build/gateway/mailgate" ] || not_run "there is no $build/gateway/mailgate"
if ! [ -x "$root/usr/sbin/dovecot" ]; then
  command -v debootstrap >/dev/null || not_run "debootstrap is not installed"
  echo "making $root"
  # Beside it first: half a system is not one.
  rm -rf "$root.new"
  mkdir -p "$root.new"
  debootstrap --variant=minbase --include="$packages" trixie "$root.new" >"$root.log" 2>&1 || not_run "debootstrap failed: $root.log"
  rm -rf "$root"
  mv "$root.new" "$root"
fi
version=$(chroot "$root" /usr/sbin/dovecot --version) || not_run "the Dovecot in $root does not run"
[[ $version == 2.[4-9]* ]] || not_run "the Dovecot in $root is $version"

echo "Dovecot $version"
export MAILGATE_DOVECOT_ROOT=$root MAILGATE_BIN=$build/gateway/mailgate MAILGATE_TEST_SLACK=${MAILGATE_TEST_SLACK-1}
exec python3 -B -m unittest --verbose "${@:-${modules[@]}}"
