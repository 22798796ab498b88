// SPDX-License-Identifier: Apache-2.0
#include "gateway/config/readers.h"

#include "gateway/config/addresses.h"
#include "gateway/config/values.h"
#include "gateway/log/escape.h"
#include "protocols/mail_protocol.h"
#include "protocols/refusal.h"
#include "protocols/values/text.h"
#include "store/backends/fleet.h"

#include <fmt/format.h>

#include <sys/un.h>

#include <algorithm>
#include <optional>
#include <utility>
#include <variant>

namespace mailgate::config {

namespace {

constexpr std::size_t kMaxNameLength = 64;
/// A longer one does not fit into the kernel's address.
constexpr std::size_t kMaxSocketPath = sizeof(sockaddr_un::sun_path);

bool isNameCharacter(unsigned char byte) {
    return (byte >= '0' && byte <= '9') || (byte >= 'a' && byte <= 'z') || (byte >= 'A' && byte <= 'Z') ||
           byte == '-' || byte == '_' || byte == '.';
}

/// RFC 1123 2.1: a name's last label is not all digits, so "127.1" and "300.1.2.3" are misspelt addresses.
bool isHostName(std::string_view text) {
    const std::string_view last = text.substr(text.rfind('.') + 1);
    return isName(text, kMaxHostName) && last.find_first_not_of("0123456789") != std::string_view::npos;
}

void checkSocketPath(TableReader& table, std::string_view key, std::string_view path) {
    if (path.size() >= kMaxSocketPath)
        table.error(key, fmt::format("expected a path of less than {} bytes, found {} bytes: {}",
                                     kMaxSocketPath, path.size(), inQuotes(path)));
}

std::vector<Network> networksOfList(Reading& reading, const LocatedText& item, const std::string& key) {
    const std::string name = item.text.substr(1);
    const auto list = reading.networks.find(name);
    if (list != reading.networks.end()) {
        list->second.used = true;
        return list->second.networks;
    }
    std::vector<std::string> names;
    for (const auto& [known, networks] : reading.networks)
        names.push_back(known);
    reading.problems.error(
        item.where, key,
        fmt::format("there is no {} in [networks]{}", inQuotes(name), didYouMean(name, names)));
    return {};
}

/// One, or with "@NAME" those of a list.
std::vector<Network> readNetworks(Reading& reading, const LocatedText& item, const std::string& key) {
    if (item.text.starts_with('@')) return networksOfList(reading, item, key);
    const auto parsed = parseNetwork(item.text);
    if (const auto* network = std::get_if<Network>(&parsed)) return {*network};
    reading.problems.error(item.where, key, std::get<NetworkError>(parsed).message);
    return {};
}

std::optional<Endpoint> readBindAddress(Reading& reading, const LocatedText& item, const std::string& key) {
    const auto target = parseHostPort(item.text);
    const auto address = target ? IpAddress::parse(target->host) : std::nullopt;
    if (address) return Endpoint{*address, target->port};
    reading.problems.error(
        item.where, key,
        fmt::format("expected an address and a port from 1 to 65535, such as \"0.0.0.0:25\", \"[::]:25\" or "
                    "\"192.0.2.1:25\", found {}",
                    inQuotes(item.text)));
    return std::nullopt;
}

/// What may be reached from the Internet: neither loopback nor a private network (RFC 1918, 4193, 6598).
bool isPublic(const Endpoint& bound) {
    static const std::vector<Network> kPrivate = [] {
        std::vector<Network> networks;
        for (const char* text :
             {"10.0.0.0/8", "100.64.0.0/10", "172.16.0.0/12", "192.168.0.0/16", "fc00::/7", "fe80::/10"})
            networks.push_back(std::get<Network>(parseNetwork(text)));
        return networks;
    }();
    return !bound.address.isLoopback() &&
           std::none_of(kPrivate.begin(), kPrivate.end(),
                        [&](const Network& network) { return network.contains(bound.address.bytes); });
}

void warnOfWideNetwork(Reading& reading, const LocatedText& item, const std::string& key,
                       const ListenerConfig& listener, const Network& network) {
    // Wider than any one site: 10.0.0.0/8 and fc00::/7 are the widest private networks.
    constexpr unsigned kWidestV4 = 96 + 8;
    constexpr unsigned kWidestV6 = 7;
    if (network.prefix_length >= (network.isV4() ? kWidestV4 : kWidestV6)) return;
    const bool everybody = network.prefix_length == (network.isV4() ? 96u : 0u);
    const auto open = std::find_if(listener.addresses.begin(), listener.addresses.end(), isPublic);
    if (everybody && open != listener.addresses.end())
        reading.problems.warning(
            item.where, key,
            fmt::format(
                "{} is everybody, and {} may be reached from the Internet: whoever connects there can "
                "claim to be any client, and so passes all access rules; list the balancers alone",
                network.toString(), open->toString()));
    else
        reading.problems.warning(
            item.where, key,
            fmt::format("{} is far larger than a site's balancers need: anybody who connects from there can "
                        "choose the client address that the access rules see",
                        network.toString()));
}

void readTrustedNetworks(Reading& reading, const LocatedText& item, const std::string& key,
                         ListenerConfig& listener) {
    const auto list =
        item.text.starts_with('@') ? reading.networks.find(item.text.substr(1)) : reading.networks.end();
    if (list != reading.networks.end() && list->second.empty)
        reading.problems.error(
            item.where, key,
            fmt::format("{} is an empty list: there would be no balancer", inQuotes(item.text)));
    for (const Network& network : readNetworks(reading, item, key)) {
        warnOfWideNetwork(reading, item, key, listener, network);
        listener.trusted.push_back(network);
    }
}

/// { network = "10.0.0.9", tls = true }
void readTrustedBalancer(Reading& reading, TableReader& table, ListenerConfig& listener) {
    std::string text;
    bool tls = false;
    table.boolean("tls", tls);
    const std::size_t before = listener.trusted.size();
    if (table.text("network", text))
        readTrustedNetworks(reading, {text, table.where("network")}, table.pathOf("network"), listener);
    else if (!table.isWrong("network"))
        table.error("network", "missing: expected the balancer's address or network");
    if (tls)
        listener.trusted_tls.insert(listener.trusted_tls.end(),
                                    listener.trusted.begin() + static_cast<std::ptrdiff_t>(before),
                                    listener.trusted.end());
    table.rejectUnknown();
}

constexpr std::string_view kScheme = "sqlite:";

/// Where a database of that name is that the file does not tell of.
std::string usualDatabase(Reading& reading, TableReader& table, std::string_view key,
                          const std::string& name) {
    const std::string beside = reading.absolute(name);
    std::string usual = reading.usual(name, kStateFolder);
    // An empty database in its place would admit whom that one denies.
    std::error_code unknown;
    if (beside != usual && (std::filesystem::exists(beside, unknown) || unknown))
        table.error(key, fmt::format("{0} is there, but without this key it is {1}: write {3} = \"{2}{0}\", "
                                     "or move or remove it",
                                     beside, usual, kScheme, key));
    return usual;
}

/// Without the key `value` is the name that it usually has.
void readDatabaseUrl(Reading& reading, TableReader& table, std::string_view key, std::string& value) {
    if (!table.text(key, value)) {
        value =
            fmt::format("{}{}", kScheme, usualDatabase(reading, table, key, value.substr(kScheme.size())));
        return;
    }
    const std::string_view url = value;
    if (url.starts_with("postgresql:") || url.starts_with("postgres:"))
        table.error(key, "PostgreSQL is not supported by this version: expected \"sqlite:PATH\"");
    else if (!url.starts_with(kScheme) || url.size() == kScheme.size() || url.starts_with("sqlite::memory:"))
        table.error(key, fmt::format("expected \"sqlite:PATH\", found {}", inQuotes(url)));
    else
        value = fmt::format("{}{}", kScheme, reading.absolute(value.substr(kScheme.size())));
}

bool hasMessages(const ListenerConfig& listener) {
    return transfersMail(listener.protocol);
}

bool forMessages(TableReader& table, std::string_view key, const ListenerConfig& listener) {
    return table.applies(key, hasMessages(listener), "is for smtp and lmtp listeners only");
}

/// What only a listener needs where TLS ends.
bool forTls(TableReader& table, std::string_view key, const ListenerConfig& listener) {
    return table.applies(key, listener.endsTls() || table.isWrong("tls"),
                         "would be ignored, because tls is neither \"starttls\" nor \"implicit\"");
}

void readTlsText(TableReader& table, std::string_view key, std::string& value,
                 const ListenerConfig& listener) {
    if (forTls(table, key, listener)) table.text(key, value);
}

void readPath(Reading& reading, TableReader& table, std::string_view key, std::string& file) {
    table.text(key, file);
    if (!file.empty()) file = reading.absolute(file);
}

/// `stapled`: an OCSP response may be named too.
CertificateFiles readCertificate(Reading& reading, TableReader& table, bool stapled, Places& places) {
    CertificateFiles files;
    const auto read = [&](std::string_view key, std::string& file) {
        readPath(reading, table, key, file);
        if (!file.empty()) places.add(file, table.placeOf(key));
    };
    read("certificate", files.certificate);
    read("key", files.key);
    if (stapled) read("ocsp", files.ocsp);
    if (files.certificate.empty()) table.error("certificate", "missing: expected the path of a PEM file");
    table.rejectUnknown();
    return files;
}

/// What only an upstream needs whose servers speak TLS with the gateway.
bool forServerTls(TableReader& table, std::string_view key, const UpstreamConfig& upstream) {
    return table.applies(key, upstream.tls != UpstreamTls::Off || table.isWrong("tls"),
                         "would be ignored, because tls is \"off\"");
}

/// Whom a certificate is for.
void readCertificateName(TableReader& table, std::string_view key, std::string& name) {
    if (!table.text(key, name) || isHostName(name) || IpAddress::parse(name)) return;
    table.error(key, fmt::format("expected a host name or an address, found {}", inQuotes(name)));
}

}  // namespace

bool isName(std::string_view text, std::size_t longest) {
    return !text.empty() && text.size() <= longest && std::all_of(text.begin(), text.end(), isNameCharacter);
}

void Names::read(TableReader& table, std::string_view key, std::string& name) {
    if (!table.text(key, name)) return;
    if (!isName(name, kMaxNameLength)) {
        table.error(key, fmt::format("expected 1 to {} letters, digits, '.', '-' or '_', found {}",
                                     kMaxNameLength, inQuotes(name)));
        return;
    }
    const auto first = std::find(names_.begin(), names_.end(), name);
    if (first == names_.end()) {
        names_.push_back(name);
        places_.push_back(table.where(key));
    } else {
        const Position& place = places_[static_cast<std::size_t>(first - names_.begin())];
        table.error(key, fmt::format("{} is already used on {}", inQuotes(name), table.lineOf(place, key)));
    }
}

// What it names has been read already: the documents are one by now.
void readInclude(Reading&, TableReader& table, std::string_view key, Config&) {
    table.texts(key);
}

void readNetworkLists(Reading& reading, TableReader& table, std::string_view key, Config&) {
    TableReader lists = table.table(key);
    if (lists.table() == nullptr) return;
    for (const auto& [name, node] : *lists.table()) {
        const std::string word(name.str());
        NetworkList list{
            .networks = {}, .where = lists.where(word), .empty = lists.isEmpty(word), .used = false};
        if (!isName(word, kMaxNameLength))
            lists.error(word, fmt::format("expected a name of 1 to {} letters, digits, '.', '-' or '_'",
                                          kMaxNameLength));
        for (const LocatedText& item : lists.texts(word)) {
            if (item.text.starts_with('@'))
                reading.problems.error(item.where, lists.pathOf(word),
                                       "a list of networks cannot name another one");
            else
                for (const Network& network : readNetworks(reading, item, lists.pathOf(word)))
                    list.networks.push_back(network);
        }
        reading.networks.emplace(word, std::move(list));
    }
}

void readHostName(Reading&, TableReader& table, std::string_view key, Config& config) {
    if (table.text(key, config.name) && !isName(config.name, kMaxHostName))
        table.error(key, fmt::format("expected a host name, found {}", inQuotes(config.name)));
}

void readStoreUrl(Reading& reading, TableReader& table, std::string_view key, Config& config) {
    readDatabaseUrl(reading, table, key, config.store_url);
}

void readJournalUrl(Reading& reading, TableReader& table, std::string_view key, JournalConfig& journal) {
    readDatabaseUrl(reading, table, key, journal.url);
    if (journal.url == reading.config.store_url)
        table.error(key, "is the database of the access rules: the journal needs a file of its own");
}

// Whatever is wrong with it, it is not shown: it may hold a password.
void readFleetUrl(Reading&, TableReader& table, std::string_view key, FleetConfig& fleet) {
    if (!table.text(key, fleet.url) || fleet.url.empty()) return;
    try {
        const auto described = store::describeFleetUrl(fleet.url);
        if (!described.unverified.empty())
            table.warning(
                key,
                fmt::format("sslmode={} lets whoever is on the way to the server answer in its place, and "
                            "change the rules: only verify-full does not",
                            described.unverified));
    } catch (const store::StoreError& error) {
        table.error(key, error.what());
    }
}

void readTicketSecret(Reading& reading, TableReader& table, std::string_view key, FleetConfig& fleet) {
    if (table.text(key, fleet.ticket_secret) && !fleet.ticket_secret.empty())
        fleet.ticket_secret = reading.absolute(fleet.ticket_secret);
}

void readMaskAfter(Reading&, TableReader& table, std::string_view key, JournalConfig& journal) {
    // "" is the way to write that nothing is masked.
    if (table.isEmptyText(key)) return;
    std::chrono::milliseconds mask_after{};
    if (table.duration(key, mask_after, kShortestKeep, kLongestKeep)) journal.mask_after = mask_after;
}

void readLogTarget(Reading& reading, TableReader& table, std::string_view key, LogConfig& log) {
    table.text(key, log.target);
    const std::size_t colon = log.target.find(':');
    const std::string kind = log.target.substr(0, colon);
    const bool path = colon != std::string::npos && colon + 1 < log.target.size();
    if (path && (kind == "file" || kind == "syslog"))
        log.target = fmt::format("{}:{}", kind, reading.absolute(log.target.substr(colon + 1)));
    else if (log.target != "stderr" && log.target != "syslog")
        table.error(
            key,
            fmt::format("expected \"stderr\", \"syslog\", \"syslog:SOCKET\" or \"file:PATH\", found {}{}",
                        inQuotes(log.target),
                        log.target.starts_with('/')
                            ? fmt::format(" (did you mean {}?)", inQuotes("file:" + log.target))
                            : ""));
    if (path && kind == "syslog") checkSocketPath(table, key, log.target.substr(colon + 1));
}

void readSocket(Reading& reading, TableReader& table, std::string_view key, AdminConfig& admin) {
    const bool chosen = table.text(key, admin.socket);
    if (!admin.socket.empty())
        admin.socket = chosen ? reading.absolute(admin.socket) : reading.usual(admin.socket, kRunFolder);
    if (chosen) {
        checkSocketPath(table, key, admin.socket);
    } else if (admin.socket.size() >= kMaxSocketPath) {
        reading.problems.warning(
            table.where(), table.pathOf(key),
            "disabled, because its path next to this file would be too long: set another path");
        admin.socket.clear();
    }
}

void readHttpAddress(Reading& reading, TableReader& table, std::string_view key, AdminConfig& admin) {
    if (!table.text(key, admin.http) || admin.http.empty()) return;
    const auto target = parseHostPort(admin.http);
    if (!target) {
        table.error(key, fmt::format("expected an address such as \"127.0.0.1:8025\", found {}",
                                     inQuotes(admin.http)));
    } else if (const auto address = IpAddress::parse(target->host)) {
        reading.bound.push_back(
            {Endpoint{*address, target->port}, table.where(key), table.pathOf(key), true});
        if (isWildcard(*address))
            table.warning(key,
                          "has no authentication, and whoever reaches this machine reaches it there: name "
                          "the address that the monitoring uses, or keep others out with a firewall");
    }
}

void readConsoleAddress(Reading& reading, TableReader& table, std::string_view key, ConsoleConfig& console) {
    if (!table.text(key, console.address) || console.address.empty()) return;
#ifdef MAILGATE_WITHOUT_CONSOLE
    table.error(
        key,
        "this mailgate has been built without the console: leave it out, or build mailgate where npm is");
#endif
    const LocatedText item{console.address, table.where(key)};
    if (const auto endpoint = readBindAddress(reading, item, table.pathOf(key)))
        reading.bound.push_back({*endpoint, item.where, table.pathOf(key), true});
    else
        console.address.clear();
}

void readConsoleCertificates(Reading& reading, TableReader& table, std::string_view key,
                             ConsoleConfig& console) {
    for (TableReader& item : table.tables(key))
        console.certificates.push_back(readCertificate(reading, item, true, console.places));
}

/// The last to be read of what this hangs on.
void readInsecure(Reading&, TableReader& table, std::string_view key, ConsoleConfig& console) {
    static constexpr Word<bool> kWords[] = {{"accepted", true}};
    table.choice<bool>(key, console.insecure_accepted, kWords);
    const auto host = parseHostPort(console.address);
    const auto address = host ? IpAddress::parse(host->host) : std::nullopt;
    const bool exposed = address && !address->isLoopback() && console.certificates.empty();
    if (exposed && !console.insecure_accepted)
        table.error(
            "address",
            fmt::format(
                "without TLS everybody on the way to {} can read and use passwords and tokens: give the "
                "console certificates, or an address of this host alone, such as \"127.0.0.1:8026\"; if you "
                "accept that, add insecure = \"accepted\"",
                console.address));
    else if (exposed)
        table.warning("address",
                      "passwords, tokens and all that the console shows go over the network in the clear");
    else if (console.insecure_accepted)
        table.warning(key, "has no effect: the console has TLS, or is reached from this host alone");
}

void readTrustedProxies(Reading& reading, TableReader& table, std::string_view key, ConsoleConfig& console) {
    for (const LocatedText& item : table.texts(key))
        for (const Network& network : readNetworks(reading, item, table.pathOf(key)))
            console.trusted_proxies.push_back(network);
}

void readUserHeader(Reading&, TableReader& table, std::string_view key, ConsoleConfig& console) {
    constexpr std::size_t kLongest = 64;
    if (!table.text(key, console.user_header) || console.user_header.empty()) return;
    const auto is_of_names = [](char character) {
        return character == '-' || (character >= '0' && character <= '9') ||
               (lower(character) >= 'a' && lower(character) <= 'z');
    };
    if (console.user_header.size() > kLongest ||
        !std::all_of(console.user_header.begin(), console.user_header.end(), is_of_names))
        table.error(key,
                    fmt::format("expected the name of a header field, such as \"X-Remote-User\", found {}",
                                inQuotes(console.user_header)));
    else if (console.trusted_proxies.empty())
        table.error(
            key,
            "needs trusted_proxies: from anybody else the header would be a password that everybody knows");
}

void readBaseUrl(Reading&, TableReader& table, std::string_view key, ConsoleConfig& console) {
    if (!table.text(key, console.base_url) || console.base_url.empty()) return;
    const std::string given = std::exchange(console.base_url, lowerCase(console.base_url));
    std::string& url = console.base_url;
    if (url.ends_with('/')) url.pop_back();
    const std::size_t host = url.find("://") + 3;
    const bool is_web = url.starts_with("http://") || url.starts_with("https://");
    const auto is_of_hosts = [](char character) {
        return (character >= '0' && character <= '9') || (character >= 'a' && character <= 'z') ||
               std::string_view("-._:[]").find(character) != std::string_view::npos;
    };
    if (is_web && host < url.size() &&
        std::all_of(url.begin() + static_cast<std::ptrdiff_t>(host), url.end(), is_of_hosts))
        return;
    table.error(
        key, fmt::format("expected a URL without a path, such as \"https://console.example.net\", found {}",
                         inQuotes(given)));
}

void readAddresses(Reading& reading, TableReader& table, std::string_view key, ListenerConfig& listener) {
    const std::string path = table.pathOf(key);
    for (const LocatedText& item : table.texts(key)) {
        const auto endpoint = readBindAddress(reading, item, path);
        if (!endpoint) continue;
        reading.bound.push_back({*endpoint, item.where, path});
        listener.addresses.push_back(*endpoint);
    }
    if (table.isEmpty(key))
        table.error(key, "missing: expected at least one, such as \"0.0.0.0:25\" or \"[::]:25\"");
}

void readTrusted(Reading& reading, TableReader& table, std::string_view key, ListenerConfig& listener) {
    if (!table.applies(
            key, listener.proxy != ProxyMode::Off || table.isWrong("proxy"),
            "would be ignored, because proxy is \"off\": remove it, or set proxy to \"require\" or "
            "\"mixed\""))
        return;
    TableReader::Mixed items = table.textsAndTables(key);
    for (const LocatedText& item : items.texts)
        readTrustedNetworks(reading, item, table.pathOf(key), listener);
    for (TableReader& item : items.tables)
        readTrustedBalancer(reading, item, listener);
    if (listener.proxy != ProxyMode::Off && table.isEmpty(key))
        table.error(key,
                    listener.proxy == ProxyMode::Require
                        ? "missing or empty: nobody could ever connect; list the balancers' networks"
                        : "missing or empty: no header would ever be read; list the balancers' networks");
}

void readRefusalFooter(Reading& reading, TableReader& table, std::string_view key, ListenerConfig& listener) {
    if (!table.text(key, listener.refusal_footer)) return;
    if (const std::string error = footerError(listener.refusal_footer); !error.empty())
        table.error(key, error);
    else if (!footerFits(listener.protocol, reading.config.name, listener.refusal_footer))
        table.error(key,
                    fmt::format("too long: a reply has at most {} bytes, of which the longest client address "
                                "and the gateway's name have to be left over",
                                kMaxReplyLineBytes));
}

void readListenerTls(Reading&, TableReader& table, std::string_view key, ListenerConfig& listener) {
    constexpr std::string_view kFromTheFirstByte =
        "TLS from the first byte (ports 465, 993, 995) is \"implicit\" where it ends here, \"passthrough\" "
        "where "
        "it ends at the server";
    constexpr WordHint kHints[] = {{"smtps", kFromTheFirstByte}, {"imaps", kFromTheFirstByte},
                                   {"pop3s", kFromTheFirstByte}, {"ssl", kFromTheFirstByte},
                                   {"tls", kFromTheFirstByte},   {"on", kFromTheFirstByte}};
    table.choice<ListenerTls>(key, listener.tls, kListenerTls, kHints);
    if (listener.tls == ListenerTls::StartTls && listener.protocol == Protocol::Tcp &&
        !table.isWrong("protocol")) {
        table.error(key, "\"starttls\" is for mail protocols: tcp has no STARTTLS");
        listener.tls = ListenerTls::Off;
    }
    listener.tls_options.scope = listener.name;
    listener.tls_options.alpn = traitsOf(listener.protocol).alpn;
}

// Other servers' mail must not be refused for want of TLS (RFC 3207 4).
void readTlsRequired(Reading&, TableReader& table, std::string_view key, ListenerConfig& listener) {
    const bool may_lack_it = listener.protocol == Protocol::Smtp &&
                             std::any_of(listener.addresses.begin(), listener.addresses.end(),
                                         [](const Endpoint& address) { return address.port == 25; });
    listener.tls_required = listener.tls == ListenerTls::StartTls && !may_lack_it;
    if (!table.applies(key, listener.tls == ListenerTls::StartTls || table.isWrong("tls"),
                       "would be ignored, because tls is not \"starttls\""))
        return;
    table.boolean(key, listener.tls_required);
    if (listener.tls_required && may_lack_it)
        table.warning(key, "on port 25 mail from servers that do not use TLS is refused");
}

void readCertificates(Reading& reading, TableReader& table, std::string_view key, ListenerConfig& listener) {
    if (!forTls(table, key, listener)) return;
    for (TableReader& item : table.tables(key))
        listener.certificates.push_back(readCertificate(reading, item, true, listener.places));
    if (listener.endsTls() && table.isEmpty(key))
        table.error(
            key,
            "missing or empty: TLS needs one, such as [{ certificate = \"/etc/mailgate/tls/mail.pem\", "
            "key = \"/etc/mailgate/tls/mail.key\" }]");
}

void readMinVersion(Reading&, TableReader& table, std::string_view key, ListenerConfig& listener) {
    std::string& version = listener.tls_options.min_version;
    readTlsText(table, key, version, listener);
    if (version != "1.2" && version != "1.3") {
        table.error(key, fmt::format("expected \"1.2\" or \"1.3\", found {}", inQuotes(version)));
    }
}

void readCiphers(Reading&, TableReader& table, std::string_view key, ListenerConfig& listener) {
    listener.places.add(std::string(key), table.placeOf(key));
    readTlsText(table, key, listener.tls_options.ciphers, listener);
}

void readGroups(Reading&, TableReader& table, std::string_view key, ListenerConfig& listener) {
    listener.places.add(std::string(key), table.placeOf(key));
    readTlsText(table, key, listener.tls_options.groups, listener);
}

void readClientCertificates(Reading&, TableReader& table, std::string_view key, ListenerConfig& listener) {
    if (forTls(table, key, listener))
        table.choice<ClientCertificates>(key, listener.tls_options.client_certificates, kClientCertificates);
}

void readClientCa(Reading& reading, TableReader& table, std::string_view key, ListenerConfig& listener) {
    std::string& file = listener.tls_options.client_ca;
    const bool asked = listener.tls_options.client_certificates != ClientCertificates::Off;
    if (!forTls(table, key, listener) ||
        !table.applies(key, asked || table.isWrong("client_certificates"),
                       "would be ignored, because client_certificates is \"off\""))
        return;
    table.text(key, file);
    if (asked && file.empty())
        table.error(key, "missing: client_certificates needs the PEM file of the CA that issues them");
    if (file.empty()) return;
    file = reading.absolute(file);
    listener.places.add(file, table.placeOf(key));
}

void readBareLf(Reading&, TableReader& table, std::string_view key, ListenerConfig& listener) {
    if (!forMessages(table, key, listener)) return;
    listener.bare_lf = BareLfPolicy::Normalize;
    table.choice<BareLfPolicy>(key, listener.bare_lf, kBareLfPolicies);
}

void readBareLfExclude(Reading& reading, TableReader& table, std::string_view key, ListenerConfig& listener) {
    if (!forMessages(table, key, listener)) return;
    for (const LocatedText& item : table.texts(key)) {
        for (const Network& network : readNetworks(reading, item, table.pathOf(key)))
            listener.bare_lf_exclude.push_back(network);
    }
}

void readLogMessageId(Reading&, TableReader& table, std::string_view key, ListenerConfig& listener) {
    if (forMessages(table, key, listener)) table.boolean(key, listener.log_message_id);
}

void readUpstreamName(Reading& reading, TableReader& table, std::string_view key, ListenerConfig& listener) {
    if (!table.text(key, listener.upstream)) return;
    std::vector<std::string> names;
    for (const UpstreamConfig& upstream : reading.config.upstreams)
        names.push_back(upstream.name);
    const auto found = std::find(names.begin(), names.end(), listener.upstream);
    if (found == names.end())
        table.error(key, fmt::format("there is no [[upstream]] named {}{}", inQuotes(listener.upstream),
                                     didYouMean(listener.upstream, names)));
    else
        listener.upstream_index = static_cast<std::size_t>(found - names.begin());
}

void readLostClientAddress(Reading&, TableReader& table, std::string_view key, UpstreamConfig& upstream) {
    static constexpr Word<bool> kWords[] = {{"accepted", true}};
    table.choice<bool>(key, upstream.lost_client_address_accepted, kWords);
    if (upstream.send_proxy == SendProxy::Off && !table.has(key))
        table.error("send_proxy",
                    "\"off\" hides the client address: to the server every connection comes from this "
                    "gateway, whose address is often in its mynetworks, which makes it an open relay; if you "
                    "accept that, add lost_client_address = \"accepted\"");
    if (upstream.send_proxy == SendProxy::Off && upstream.lost_client_address_accepted)
        table.warning(
            "send_proxy",
            "to the servers every client comes from this gateway: they are an open relay if its address is "
            "in their mynetworks (Postfix) or login_trusted_networks (Dovecot), and clients that start TLS "
            "can send XCLIENT unseen if it is in their smtpd_authorized_xclient_hosts");
    if (upstream.send_proxy != SendProxy::Off && upstream.lost_client_address_accepted)
        table.warning(key, "has no effect unless send_proxy is \"off\"");
}

void readUpstreamTls(Reading&, TableReader& table, std::string_view key, UpstreamConfig& upstream) {
    table.choice<UpstreamTls>(key, upstream.tls, kUpstreamTls);
}

void readTlsVerify(Reading&, TableReader& table, std::string_view key, UpstreamConfig& upstream) {
    if (!forServerTls(table, key, upstream)) return;
    table.choice<bool>(key, upstream.tls_options.verify, kTlsVerify);
    if (!upstream.tls_options.verify)
        table.warning(
            key,
            "\"off\" believes whoever answers: anybody on the way to the servers can read and change "
            "the mail, and see the passwords");
}

void readTrustedCa(Reading& reading, TableReader& table, std::string_view key, UpstreamConfig& upstream) {
    if (!forServerTls(table, key, upstream) ||
        !table.applies(key, upstream.tls_options.verify, "would be ignored, because tls_verify is \"off\""))
        return;
    std::string& ca = upstream.tls_options.ca;
    if (!table.text(key, ca) || ca == "system") return;
    ca = reading.absolute(ca);
    upstream.places.add(ca, table.placeOf(key));
}

void readUpstreamServerName(Reading&, TableReader& table, std::string_view key, UpstreamConfig& upstream) {
    if (forServerTls(table, key, upstream)) readCertificateName(table, key, upstream.server_name);
}

void readClientCertificate(Reading& reading, TableReader& table, std::string_view key,
                           UpstreamConfig& upstream) {
    if (!forServerTls(table, key, upstream)) return;
    TableReader files = table.table(key);
    if (table.has(key)) upstream.client_certificate = readCertificate(reading, files, false, upstream.places);
}

void readServerName(Reading&, TableReader& table, std::string_view key, ServerConfig& server) {
    readCertificateName(table, key, server.server_name);
}

void readServerAddress(Reading&, TableReader& table, std::string_view key, ServerConfig& server) {
    if (!table.text(key, server.address)) return;
    const std::string& address = server.address;
    const auto target = parseHostPort(address);
    const auto literal = target ? IpAddress::parse(target->host) : std::nullopt;
    if (!target || (!literal && (target->bracketed || !isHostName(target->host))) ||
        (literal && isWildcard(*literal))) {
        table.error(key,
                    fmt::format("expected a server's \"ADDRESS:PORT\", \"[IPV6]:PORT\" or \"NAME:PORT\", "
                                "port 1 to 65535, found {}",
                                inQuotes(address)));
        return;
    }
    server.port = target->port;
    if (!literal)
        server.host = target->host;
    else
        server.endpoints = {{*literal, target->port}};
}

}  // namespace mailgate::config
