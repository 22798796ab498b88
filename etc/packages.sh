#!/usr/bin/env bash
# Installs the packages that mailgate needs, by group, and only those that are missing; Debian 12 and 13:
#   etc/packages.sh build          to compile it
#   etc/packages.sh build demo     to run the demo as well
#   etc/packages.sh build demo test
# Servers that come with the groups demo and test are not started: the project runs its own copies of them.
# SPDX-License-Identifier: Apache-2.0
set -euo pipefail

build=(g++ cmake ninja-build ccache pkg-config libpoco-dev libsqlite3-dev libfmt-dev libcli11-dev libtomlplusplus-dev
       libsystemd-dev prometheus-cpp-dev libidn2-dev libssl-dev libcrypt-dev libpq-dev scdoc file dpkg-dev)
demo=(postfix dovecot-imapd dovecot-pop3d dovecot-lmtpd dovecot-managesieved haproxy swaks curl jq sqlite3 openssl python3)
test=(isync prometheus clang clang-format clang-tidy lld llvm libgtest-dev libgmock-dev libbenchmark-dev
      fail2ban rsyslog systemd logrotate fish zsh iproute2 procps adduser faketime lintian
      tmux less python3-jsonschema python3-yaml dnsmasq-base bind9-dnsutils valgrind nginx libnginx-mod-stream stunnel4 hitch dovecot-submissiond)

# What meets TLS at the gateway, or is measured beside it.
test+=(msmtp testssl.sh libnginx-mod-mail)

# Where the gateways of a fleet meet.
test+=(postgresql pgbouncer)

# What watches a mail site, and keeps its backups.
test+=(nagios-nrpe-server nagios-nrpe-plugin restic)

# A browser for the console's tests.
test+=(chromium)

# What pages of the console load is fetched by npm, whichever there is: a newer one than Debian's may have been installed by hand.
command -v npm >/dev/null || build+=(npm)

# Debian lets only one mail server be installed, and its exim4-daemon-light knows no PROXY protocol: of exim4-daemon-heavy
# the program alone is unpacked, for the tests, beside the libraries that it needs.
exim=/usr/local/lib/mailgate-test/exim4

usage() { sed -n '2,6s/^# \{0,1\}//p' "$0" >&2; exit 2; }

[ $# -gt 0 ] || usage
as_root=()
[ "$(id -u)" = 0 ] || as_root=(sudo)

# dependencies PACKAGE PATTERN: what the release's version of it depends on and matches PATTERN. A new machine's apt knows
# no packages before its first update.
dependencies() {
  [ -n "$(apt-cache madison "$1")" ] || "${as_root[@]}" apt-get update -qq
  apt-cache depends --no-recommends "$1" | sed -nE "s/^  Depends: ($2)\$/\1/p"
}

# clang without what it recommends has no sanitizers: they are in a package of its version.
clang_runtime() { dependencies clang 'clang-[0-9]+' | sed 's/^clang-\(.*\)/libclang-rt-\1-dev/'; }

wanted=()
wants_exim=no
for group in "$@"; do
  case "$group" in
    build) wanted+=("${build[@]}") ;;
    demo)  wanted+=("${demo[@]}") ;;
    test)  wanted+=("${test[@]}" $(clang_runtime))
           [ -x "$exim" ] || { wants_exim=yes; wanted+=($(dependencies exim4-daemon-heavy 'lib.*')); } ;;
    *)     usage ;;
  esac
done

missing=()
for package in "${wanted[@]}"; do
  dpkg-query -W -f '${db:Status-Status}\n' "$package" 2>/dev/null | grep -qx installed || missing+=("$package")
done
[ ${#missing[@]} -gt 0 ] || [ $wants_exim = yes ] || exit 0
echo "installing:${missing[*]:+ ${missing[*]}}$([ $wants_exim = no ] || echo " $exim")"

# Keeps the packages' scripts from starting servers, unless the system already has a policy of its own.
policy=/usr/sbin/policy-rc.d
if [ ! -e "$policy" ]; then
  trap '"${as_root[@]}" rm -f "$policy"' EXIT
  printf '#!/bin/sh\nexit 101\n' | "${as_root[@]}" tee "$policy" >/dev/null
  "${as_root[@]}" chmod 755 "$policy"
fi

if [[ " ${missing[*]} " == *" postfix "* ]]; then
  echo "postfix postfix/main_mailer_type select No configuration" | "${as_root[@]}" debconf-set-selections
fi
install=(env DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends -o Dpkg::Use-Pty=0)
"${as_root[@]}" apt-get update -qq
# What the packages' scripts say on the way is of interest when one fails.
[ ${#missing[@]} = 0 ] || said=$("${as_root[@]}" "${install[@]}" "${missing[@]}" 2>&1) || { echo "$said" >&2; exit 1; }

if [ $wants_exim = yes ]; then
  unpacked=$(mktemp -d)
  (cd "$unpacked" && apt-get download -qq -o APT::Sandbox::User=root exim4-daemon-heavy && dpkg-deb --extract exim4-daemon-heavy_*.deb .)
  "${as_root[@]}" install -D "$unpacked/usr/sbin/exim4" "$exim"
  rm -r "$unpacked"
fi
