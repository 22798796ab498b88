// SPDX-License-Identifier: Apache-2.0
#include "store/fleet/postgres/conninfo.h"

#include "protocols/values/address.h"
#include "store/store_error.h"

#include <fmt/format.h>
#include <libpq-fe.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <memory>
#include <string_view>
#include <system_error>

namespace mailgate::store::postgres {

namespace {

constexpr const char* kSystemAuthorities = "/etc/ssl/certs/ca-certificates.crt";

/// "a,,b" to "a", "", "b".
std::vector<std::string> splitAtCommas(std::string_view text) {
    std::vector<std::string> parts;
    while (true) {
        const std::size_t comma = text.find(',');
        parts.emplace_back(text.substr(0, comma));
        if (comma == std::string_view::npos) return parts;
        text.remove_prefix(comma + 1);
    }
}

/// libpq takes one port for all hosts, or one for each.
std::string partOf(const std::vector<std::string>& parts, std::size_t at) {
    if (parts.size() == 1) return parts.front();
    return at < parts.size() ? parts[at] : "";
}

std::vector<Conninfo::Host> hostsOf(const std::string& names, const std::string& addresses,
                                    const std::string& ports) {
    const auto all_names = splitAtCommas(names), all_addresses = splitAtCommas(addresses),
               all_ports = splitAtCommas(ports);
    std::vector<Conninfo::Host> hosts;
    for (std::size_t at = 0; at < std::max(all_names.size(), all_addresses.size()); ++at)
        hosts.push_back({at < all_names.size() ? all_names[at] : "",
                         at < all_addresses.size() ? all_addresses[at] : "", partOf(all_ports, at)});
    return hosts;
}

std::string shownUrl(const Conninfo& info) {
    std::string hosts;
    for (const Conninfo::Host& host : info.hosts) {
        const std::string& name = host.name.empty() ? host.address : host.name;
        hosts += hosts.empty() ? "" : ",";
        hosts += name.find(':') != std::string::npos ? "[" + name + "]" : name;
        if (!host.port.empty()) hosts += ":" + host.port;
    }
    return fmt::format("postgresql://{}{}{}/{}", info.role, info.role.empty() ? "" : "@", hosts,
                       info.option("dbname"));
}

void addVerification(Conninfo& info) {
    const bool here = std::all_of(info.hosts.begin(), info.hosts.end(),
                                  [](const Conninfo::Host& host) { return host.isHere(); });
    if (!here && info.option("sslmode").empty()) info.options.emplace_back("sslmode", "verify-full");
    std::error_code ignored;
    if (info.option("sslmode").starts_with("verify-") && info.option("sslrootcert").empty() &&
        std::filesystem::exists(kSystemAuthorities, ignored))
        info.options.emplace_back("sslrootcert", kSystemAuthorities);
}

[[noreturn]] void failUnreadable() {
    throw StoreError(
        StoreError::Kind::BadInput,
        "the URL of a fleet's database is postgresql://USER@HOST/DATABASE, and this is none that "
        "libpq can read (in a password, characters such as @ and / are written %40 and %2F)");
}

}  // namespace

bool Conninfo::Host::isSocket() const {
    return address.empty() && (name.empty() || name.front() == '/' || name.front() == '@');
}

bool Conninfo::Host::isHere() const {
    if (isSocket()) return true;
    const auto parsed = IpAddress::parse(address.empty() ? name : address);
    return parsed ? parsed->isLoopback() : name == "localhost";
}

std::string Conninfo::withoutPassword(std::string text) const {
    // One so short is in any text by chance: cutting it out would tell it. libpq's words have none; this is the second lock.
    if (password.size() < 4) return text;
    for (std::size_t at = 0; (at = text.find(password, at)) != std::string::npos; at += 3)
        text.replace(at, password.size(), "***");
    return text;
}

std::string Conninfo::passwordFile() const {
    if (std::string file = option("passfile"); !file.empty()) return file;
    if (const char* file = std::getenv("PGPASSFILE"); file != nullptr && *file != '\0') return file;
    const char* home = std::getenv("HOME");
    return home == nullptr || *home == '\0' ? "" : std::string(home) + "/.pgpass";
}

std::string Conninfo::option(const std::string& name) const {
    const auto found =
        std::find_if(options.begin(), options.end(), [&](const auto& one) { return one.first == name; });
    return found == options.end() ? "" : found->second;
}

bool isRefusedPasswordFile(const std::string& file) {
    using std::filesystem::perms;
    std::error_code error;
    const auto status = std::filesystem::status(file, error);
    if (error || !std::filesystem::exists(status)) return false;
    return !std::filesystem::is_regular_file(status) ||
           (status.permissions() & (perms::group_all | perms::others_all)) != perms::none;
}

bool isUrl(const std::string& url) noexcept {
    return url.starts_with("postgresql://") || url.starts_with("postgres://");
}

Conninfo parseUrl(const std::string& url) {
    const std::unique_ptr<PQconninfoOption, decltype(&PQconninfoFree)> parsed(
        isUrl(url) ? PQconninfoParse(url.c_str(), nullptr) : nullptr, PQconninfoFree);
    if (!parsed) failUnreadable();
    Conninfo info;
    std::string names, addresses, ports;
    for (const PQconninfoOption* option = parsed.get(); option->keyword != nullptr; ++option) {
        if (option->val == nullptr || *option->val == '\0') continue;
        const std::string_view keyword = option->keyword;
        if (keyword == "host")
            names = option->val;
        else if (keyword == "hostaddr")
            addresses = option->val;
        else if (keyword == "port")
            ports = option->val;
        else
            info.options.emplace_back(option->keyword, option->val);
    }
    // A password with a "/" of its own is read as a host, a port and a name, which would be shown.
    if (ports.find_first_not_of("0123456789,") != std::string::npos ||
        info.option("dbname").find_first_of("@= ") != std::string::npos)
        failUnreadable();
    info.hosts = hostsOf(names, addresses, ports);
    // And one with an "@" ends at its first one: what is behind it would be looked up, and shown. (A socket's may begin with one.)
    if (std::any_of(info.hosts.begin(), info.hosts.end(),
                    [](const Conninfo::Host& host) { return host.name.find('@', 1) != std::string::npos; }))
        failUnreadable();
    info.password = info.option("password");
    info.role = info.option("user");
    info.shown = shownUrl(info);
    addVerification(info);
    // Looked for in the home of whoever started mailgate, which may be closed to the user that it runs as: an error of libpq's.
    if (info.option("sslcert").empty()) info.options.emplace_back("sslcert", "/nonexistent");
    // A Kerberos server is not looked for unless the URL says so: names would be asked for that nobody has.
    if (info.option("gssencmode").empty()) info.options.emplace_back("gssencmode", "disable");
    if (info.option("application_name").empty()) info.options.emplace_back("application_name", "mailgate");
    if (info.option("client_encoding").empty()) info.options.emplace_back("client_encoding", "UTF8");
    return info;
}

}  // namespace mailgate::store::postgres
