// SPDX-License-Identifier: Apache-2.0
#include "gateway/cli/synonyms.h"

#include <algorithm>
#include <span>

namespace mailgate::cli {

namespace {

struct Synonym {
    std::string_view other, ours;
};

// Of several for one word the first that there is.
constexpr Synonym kAmong[] = {{"del", "remove"},
                              {"del", "forget"},
                              {"delete", "remove"},
                              {"delete", "forget"},
                              {"rm", "remove"},
                              {"remove", "forget"},
                              {"revoke", "remove"},
                              {"add", "allow"},
                              {"add", "join"},
                              {"create", "add"},
                              {"permit", "allow"},
                              {"accept", "allow"},
                              {"edit", "allow"},
                              {"whitelist", "allow"},
                              {"ban", "deny"},
                              {"block", "deny"},
                              {"reject", "deny"},
                              {"drop", "deny"},
                              {"blacklist", "deny"},
                              {"blocklist", "deny"},
                              {"unban", "remove"},
                              {"unblock", "remove"},
                              {"show", "list"},
                              {"show", "status"},
                              {"list", "status"},
                              {"ls", "list"},
                              {"check", "test"},
                              {"lookup", "test"},
                              {"search", "list"},
                              {"find", "list"},
                              {"dump", "export"},
                              {"load", "import"},
                              {"log", "history"},
                              {"disable", "drain"},
                              {"down", "drain"},
                              {"maint", "drain"},
                              {"enable", "ready"},
                              {"up", "ready"},
                              {"undrain", "ready"},
                              {"end", "kill"},
                              {"close", "kill"},
                              {"terminate", "kill"},
                              {"shutdown", "kill"},
                              {"kick", "kill"},
                              {"password", "passwd"},
                              {"sync", "push"},
                              {"leave", "forget"},
                              {"refused", "would-refuse"},
                              {"monitor", "would-refuse"}};

constexpr Synonym kFirst[] = {{"stat", "status"},
                              {"stats", "status"},
                              {"info", "status"},
                              {"health", "status"},
                              {"servers", "status"},
                              {"backend", "status"},
                              {"backends", "status"},
                              {"upstream", "status"},
                              {"upstreams", "status"},
                              {"listeners", "status"},
                              {"ping", "status"},
                              {"sess", "sessions"},
                              {"connections", "sessions --live"},
                              {"clients", "sessions --live"},
                              {"log", "sessions --follow"},
                              {"logs", "sessions --follow"},
                              {"tail", "sessions --follow"},
                              {"follow", "sessions --follow"},
                              {"errors", "sessions --refused"},
                              {"rejected", "sessions --refused"},
                              {"acl", "access list"},
                              {"rule", "access list"},
                              {"rules", "access list"},
                              {"table", "access list"},
                              {"map", "access list"},
                              {"allowlist", "access list"},
                              {"config", "check"},
                              {"configtest", "check"},
                              {"validate", "check"},
                              {"verify", "check"},
                              {"lint", "check"},
                              {"find", "who"},
                              {"search", "who"},
                              {"grep", "who"},
                              {"trace", "who"},
                              {"run", "serve"},
                              {"daemon", "serve"},
                              {"cert", "tls status"},
                              {"certs", "tls status"},
                              {"certificates", "tls status"},
                              {"ssl", "tls status"},
                              {"users", "console user list"},
                              {"tokens", "console token list"},
                              {"passwd", "console user passwd"},
                              {"dump", "access export"}};

constexpr Synonym kOptions[] = {{"-c", "--config"},
                                {"-f", "--follow"},
                                {"-f", "--config"},
                                {"-j", "--json"},
                                {"-n", "--limit"},
                                {"-n", "--dry-run"},
                                {"-q", "--quiet"},
                                {"-t", "check"},
                                {"-v", "version"},
                                {"-V", "version"},
                                {"-y", "--yes"},
                                {"--address", "--client"},
                                {"--after", "--since"},
                                {"--before", "--until"},
                                {"--comment", "--note"},
                                {"--count", "--limit"},
                                {"--dry", "--dry-run"},
                                {"--duration", "--expires"},
                                {"--expiry", "--expires"},
                                {"--for", "--expires"},
                                {"--ip", "--client"},
                                {"--last", "--since"},
                                {"--lines", "--limit"},
                                {"--rcpt", "--to"},
                                {"--recipient", "--to"},
                                {"--recipient", "--by recipient"},
                                {"--recipients", "--by recipient"},
                                {"--reason", "--note"},
                                {"--rejected", "--refused"},
                                {"--sender", "--from"},
                                {"--sender", "--by sender"},
                                {"--senders", "--by sender"},
                                {"--silent", "--quiet"},
                                {"--tail", "--follow"},
                                {"--timeout", "--expires"},
                                {"--today", "--since today"},
                                {"--ttl", "--expires"},
                                {"--until", "--expires"},
                                {"--username", "--user"},
                                {"--yesterday", "--since yesterday"}};

/// Of those for `word` the first whose own first word is among `names`.
std::string meant(std::string_view word, std::span<const Synonym> synonyms,
                  const std::vector<std::string>& names) {
    const auto found = std::ranges::find_if(synonyms, [&](const Synonym& one) {
        return one.other == word &&
               std::ranges::find(names, one.ours.substr(0, one.ours.find(' '))) != names.end();
    });
    return found == synonyms.end() ? "" : std::string(found->ours);
}

}  // namespace

std::string meantAmong(std::string_view word, const std::vector<std::string>& names) {
    return meant(word, kAmong, names);
}

std::string meantFirst(std::string_view word) {
    const auto* const found = std::ranges::find(kFirst, word, &Synonym::other);
    return found == std::end(kFirst) ? "" : std::string(found->ours);
}

std::string meantOption(std::string_view word, const std::vector<std::string>& names) {
    return meant(word, kOptions, names);
}

}  // namespace mailgate::cli
