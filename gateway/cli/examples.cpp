// SPDX-License-Identifier: Apache-2.0
#include "gateway/cli/examples.h"

#include <fmt/format.h>
#include <CLI/CLI.hpp>

#include <string>

namespace mailgate::cli {

namespace {

constexpr Examples kExamples[] = {
    {"", {"mailgate sessions --to bob@example.net --since yesterday", "mailgate help access allow"}},
    {"serve", {"mailgate serve", "mailgate serve --config /etc/mailgate/mailgate.toml"}},
    {"check", {"mailgate check", "mailgate check --config ./mailgate.toml"}},
    {"reload", {"mailgate reload", "mailgate check && mailgate reload"}},
    {"version", {"mailgate version", "mailgate --version"}},
    {"help", {"mailgate help", "mailgate help sessions show"}},
    {"status",
     {"mailgate status --json | jq '.servers[] | select(.healthy | not)'",
      "mailgate status --check --sessions 70,90"}},
    {"backup",
     {"mailgate backup /var/backups/mailgate/$(date +%F)",
      "mailgate backup before-upgrade && tar -czf before-upgrade.tar.gz before-upgrade"}},
    {"restore",
     {"systemctl stop mailgate && mailgate restore /var/backups/mailgate/2026-11-26",
      "mailgate restore before-upgrade --parts rules,journal,configuration"}},
    {"tls", {"mailgate tls status", "mailgate help tls status"}},
    {"tls status",
     {"mailgate tls status", "mailgate tls status --json | jq '.certificates[] | select(.days_left < 14)'"}},
    {"access", {"mailgate access list", "mailgate access test 198.51.100.25"}},
    {"access allow",
     {"mailgate access allow 198.51.100.0/24 --note \"ACME's relays\" --expires 180d",
      "mailgate access allow 203.0.113.7 --listener submission --expires \"2026-12-24 18:00\""}},
    {"access deny",
     {"mailgate access deny 198.51.100.66 --expires 1w --cut",
      "mailgate access deny 2001:db8:bad::/48 --listener mx --note \"ticket 4711\""}},
    {"access remove",
     {"mailgate access remove 198.51.100.66", "mailgate access remove 2001:db8:bad::/48 --listener mx"}},
    {"access list", {"mailgate access list --match 198.51.100.25", "mailgate access list --expired"}},
    {"access test",
     {"mailgate access test 198.51.100.25", "mailgate access test 2001:db8::1 --listener submission"}},
    {"access set", {"mailgate access set list", "mailgate access set show partners"}},
    {"access set list", {"mailgate access set list", "mailgate access set list --json | jq '.sets[].name'"}},
    {"access set show", {"mailgate access set show manual", "mailgate access set show partners --utc"}},
    {"access set define",
     {"mailgate access set define partners --expires 180d --note \"partner relays\"",
      "mailgate access set define partners --expires never"}},
    {"access set remove",
     {"mailgate access set remove partners --dry-run", "mailgate access set remove partners --yes"}},
    {"access report",
     {"mailgate access report > rules.csv", "mailgate access report --format json --set partners"}},
    {"access diff",
     {"mailgate access diff rules.txt", "mailgate access diff --verdict deny --set drop drop.txt"}},
    {"access undo", {"mailgate access undo", "mailgate access undo 42 --dry-run"}},
    {"access import",
     {"mailgate access import --verdict deny blocklist.txt",
      "mailgate access import --format cidr /etc/postfix/postscreen_access.cidr"}},
    {"access export",
     {"mailgate access export > rules.txt",
      "mailgate access export | ssh gw2 mailgate access import --replace --all-sets -"}},
    {"access rename-listener",
     {"mailgate access rename-listener mx inbound", "mailgate access rename-listener smtp submission"}},
    {"access history",
     {"mailgate access history 198.51.100.0/24 --utc",
      "mailgate access history --since yesterday --by alice --limit 20"}},
    {"sessions",
     {"mailgate sessions --from @partner.example --since \"yesterday 10:00\"",
      "mailgate sessions --live --columns since,session,client,state"}},
    {"sessions show",
     {"mailgate sessions show 01M7Z3RQRF9RDWPG",
      "mailgate sessions show --json 01M7Z3RQRF9RDWPG | jq .mail"}},
    {"sessions kill",
     {"mailgate sessions kill 01M7XVCC7N4X64FC", "mailgate sessions kill 01M7XVCC7N4X64FCWDQKWBBVG2"}},
    {"who",
     {"mailgate who '<20261125.1@partner.example>'", "mailgate who 198.51.100.25 --since yesterday --here"}},
    {"top",
     {"mailgate top --by recipient --listener mx --limit 20", "mailgate top --gateway mx-2 --sort refused"}},
    {"report", {"mailgate report would-refuse", "mailgate help report would-refuse"}},
    {"report would-refuse",
     {"mailgate report would-refuse --since yesterday", "mailgate report would-refuse --limit 200 --json"}},
    {"tls test",
     {"mailgate tls test imap.example.net:993", "mailgate tls test mx.example.net:25 --starttls smtp"}},
    {"server", {"mailgate server drain postfix/mx1", "mailgate server ready postfix/mx1"}},
    {"server drain", {"mailgate server drain postfix/mx1", "mailgate server drain '*/mx1' --everywhere"}},
    {"server ready", {"mailgate server ready postfix/mx1", "mailgate server ready --host mx1.example.net"}},
    {"fleet", {"mailgate fleet status", "mailgate help fleet join"}},
    {"fleet status",
     {"mailgate fleet status", "mailgate fleet status --json | jq '.members[] | select(.behind > 0)'"}},
    {"fleet join", {"mailgate fleet join --dry-run", "mailgate fleet join --prefer fleet"}},
    {"fleet push", {"mailgate fleet push --dry-run", "mailgate fleet push --prefer fleet"}},
    {"fleet verify", {"mailgate fleet verify", "mailgate fleet verify --json | jq '.differences[]'"}},
    {"fleet copy",
     {"mailgate fleet copy postgresql://mailgate@new-db.example.net/mailgate",
      "mailgate fleet copy "
      "'postgresql://mailgate@new-db.example.net/mailgate?passfile=/etc/mailgate/pgpass'"}},
    {"fleet forget", {"mailgate fleet forget mx-gw-4", "mailgate fleet forget old-gateway.example.net"}},
    {"fleet leave", {"mailgate fleet leave", "mailgate fleet leave --config /etc/mailgate/mailgate.toml"}},
    {"fleet migrate",
     {"mailgate fleet migrate",
      "mailgate fleet migrate --url postgresql://mailgate_owner@db.example.net/mailgate --grant mailgate"}},
    {"console", {"mailgate console user list", "mailgate console token list"}},
    {"console user", {"mailgate console user list", "mailgate help console user add"}},
    {"console user add",
     {"mailgate console user add alice --role admin",
      "mailgate console user add carol --role viewer < password.txt"}},
    {"console user passwd",
     {"mailgate console user passwd alice", "mailgate console user passwd alice < password.txt"}},
    {"console user remove",
     {"mailgate console user remove carol", "mailgate console user remove carol@example.net"}},
    {"console user list",
     {"mailgate console user list", "mailgate console user list --json | jq '.users[].name'"}},
    {"console token", {"mailgate console token list", "mailgate help console token add"}},
    {"console token add",
     {"TOKEN=$(mailgate console token add ticketing --role operator --expires 30d)",
      "mailgate console token add dashboard --role viewer --user alice --expires never"}},
    {"console token remove",
     {"mailgate console token remove ticketing", "mailgate console token remove dashboard"}},
    {"console token list",
     {"mailgate console token list",
      "mailgate console token list --json | jq '.tokens[] | select(.expired)'"}},
    {"probe", {"mailgate probe", "mailgate probe postfix/mx1"}},
    {"snippet", {"mailgate snippet postfix", "mailgate snippet dovecot --version 2.4"}},
    {"snippet postfix", {"mailgate snippet postfix", "mailgate snippet postfix > postfix.txt"}},
    {"snippet postscreen", {"mailgate snippet postscreen", "mailgate snippet postscreen > postscreen.txt"}},
    {"snippet dovecot", {"mailgate snippet dovecot", "mailgate snippet dovecot --version 2.4"}},
    {"snippet haproxy",
     {"mailgate snippet haproxy", "mailgate snippet haproxy | tee -a /etc/haproxy/haproxy.cfg"}},
    {"snippet nginx", {"mailgate snippet nginx", "mailgate snippet nginx > /etc/nginx/mailgate.conf"}},
    {"snippet postgresql",
     {"mailgate snippet postgresql", "mailgate snippet postgresql | sudo -u postgres psql"}},
    {"snippet aws-nlb", {"mailgate snippet aws-nlb", "mailgate snippet aws-nlb > nlb.sh"}},
};

const Examples* examplesOf(std::string_view command) {
    for (const Examples& examples : kExamples)
        if (examples.command == command) return &examples;
    return nullptr;
}

void addTo(CLI::App& app, const std::string& command) {
    if (const Examples* examples = examplesOf(command)) {
        const std::string before = app.get_footer();
        app.footer(fmt::format("{}Examples:\n  {}\n  {}", before.empty() ? "" : before + "\n\n",
                               examples->lines[0], examples->lines[1]));
    }
    for (CLI::App* below : app.get_subcommands({}))
        addTo(*below, command + (command.empty() ? "" : " ") + below->get_name());
}

}  // namespace

std::span<const Examples> allExamples() noexcept {
    return kExamples;
}

void addExamples(CLI::App& root) {
    addTo(root, "");
}

}  // namespace mailgate::cli
