// SPDX-License-Identifier: Apache-2.0
#include "gateway/config/load.h"

#include "gateway/config/toml_reader.h"
#include "gateway/config/values.h"
#include "gateway/log/escape.h"
#include "protocols/health_dialogue.h"
#include "store/rules/rule.h"

#include <fmt/format.h>

#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <fstream>
#include <memory>
#include <system_error>

namespace mailgate {

namespace {

using config::didYouMean;
using config::LocatedText;
using config::Position;
using config::Problems;
using config::TableReader;
using namespace std::chrono_literals;
namespace fs = std::filesystem;

constexpr std::size_t kMaxFileBytes = std::size_t{1} << 20;
constexpr std::size_t kMaxNameLength = 64;
constexpr std::size_t kMaxHostName = 253;  // RFC 1035 2.3.4, in text
constexpr std::chrono::milliseconds kShortest = 1ms;
constexpr std::chrono::milliseconds kLongest = 7 * 24h;
// The longest v1 line (107 bytes) must fit, and no backend known takes more than Dovecot.
constexpr std::size_t kSmallestMaxHeader = 107;
constexpr std::size_t kLargestMaxHeader = 1500;

/// What the protocol promises its clients: no server may hang up on a silent one sooner.
struct IdleFloor {
    Protocol protocol;
    std::chrono::milliseconds floor;
    std::string_view source;
};
constexpr IdleFloor kIdleFloors[] = {
    {Protocol::Smtp, 5min, "RFC 5321 4.5.3.2"}, {Protocol::Imap, 30min, "RFC 9051 5.4"},
    {Protocol::Pop3, 10min, "RFC 1939 3"},      {Protocol::Lmtp, 5min, "RFC 5321 4.5.3.2"},
    {Protocol::Sieve, 30min, "RFC 5804 1.2"},   {Protocol::Tcp, kShortest, ""},
};

// More often would be a load of its own.
constexpr std::chrono::milliseconds kShortestInterval = 100ms;

bool readProtocol(TableReader& table, std::string_view key, Protocol& protocol) {
    return table.choice(key, protocol,
                        {{"smtp", Protocol::Smtp},
                         {"imap", Protocol::Imap},
                         {"pop3", Protocol::Pop3},
                         {"lmtp", Protocol::Lmtp},
                         {"sieve", Protocol::Sieve},
                         {"tcp", Protocol::Tcp}});
}

bool isNameCharacter(unsigned char byte) {
    return (byte >= '0' && byte <= '9') || (byte >= 'a' && byte <= 'z') || (byte >= 'A' && byte <= 'Z') ||
           byte == '-' || byte == '_' || byte == '.';
}

bool isName(std::string_view text, std::size_t longest) {
    return !text.empty() && text.size() <= longest && std::all_of(text.begin(), text.end(), isNameCharacter);
}

/// RFC 1123 2.1: a name's last label is not all digits, so "127.1" and "300.1.2.3" are misspelt addresses.
bool isHostName(std::string_view text) {
    const std::string_view last = text.substr(text.rfind('.') + 1);
    return isName(text, kMaxHostName) && last.find_first_not_of("0123456789") != std::string_view::npos;
}

std::string hostName() {
    std::array<char, kMaxHostName + 1> name{};
    if (::gethostname(name.data(), name.size() - 1) != 0 || !isName(name.data(), kMaxHostName))
        return "mailgate";
    return name.data();
}

bool isWildcard(const IpAddress& address) {
    return address == IpAddress{} || address == IpAddress::fromV4({0, 0, 0, 0});
}

/// The same socket address, or one is the wildcard of the other's family.
bool overlap(const Endpoint& one, const Endpoint& other) {
    if (one.port != other.port || one.address.isV4() != other.address.isV4()) return false;
    return one.address == other.address || isWildcard(one.address) || isWildcard(other.address);
}

/// Would a connection to `server` come out of our own listening socket? (IPv6's wildcard takes IPv4 too.)
bool reaches(const Endpoint& server, const Endpoint& listener) {
    if (server == listener) return true;
    const bool family = server.address.isV4() == listener.address.isV4() || !listener.address.isV4();
    return server.port == listener.port && isWildcard(listener.address) && family &&
           server.address.isLoopback();
}

/// Empty when the working folder is gone: then paths stay relative to it, and opening them says so.
fs::path folderOf(const fs::path& file) {
    std::error_code error;
    return fs::absolute(file, error).parent_path();
}

/// A longer one does not fit into the kernel's address.
constexpr std::size_t kMaxSocketPath = sizeof(sockaddr_un::sun_path);

void checkSocketPath(TableReader& table, std::string_view key, std::string_view path) {
    if (path.size() >= kMaxSocketPath)
        table.error(key, fmt::format("expected a path of less than {} bytes, found {} bytes: {}",
                                     kMaxSocketPath, path.size(), inQuotes(path)));
}

/// Names of which each may be given once.
class Names {
  public:
    /// Reads and checks `name` of the table; reports a missing, ill-formed or second one.
    void read(TableReader& table, std::string& name) {
        if (!table.text("name", name)) {
            if (!table.has("name")) table.error("name", "missing: a name is needed");
            return;
        }
        if (!isName(name, kMaxNameLength)) {
            table.error("name", fmt::format("expected 1 to {} letters, digits, '.', '-' or '_', found {}",
                                            kMaxNameLength, inQuotes(name)));
            return;
        }
        const auto first = std::find(names_.begin(), names_.end(), name);
        if (first == names_.end()) {
            names_.push_back(name);
            lines_.push_back(table.where("name").line);
        } else {
            const auto line = lines_[static_cast<std::size_t>(first - names_.begin())];
            table.error("name", fmt::format("{} is taken already, on line {}", inQuotes(name), line));
        }
    }

  private:
    std::vector<std::string> names_;
    std::vector<toml::source_index> lines_;
};

class Loader {
  public:
    /// Names to addresses, in the order asked for.
    using ResolveAll = std::function<std::vector<Resolution>(const std::vector<std::string>& hosts)>;

    Loader(const fs::path& file, ResolveAll resolve, Problems& problems)
        : base_(folderOf(file)), resolve_(std::move(resolve)), problems_(problems) {
        config_.file = file.string();
    }

    /// What could be read; the problems say whether it may be used.
    Config load(const toml::table& document);

  private:
    void readGateway(TableReader table);
    void readStore(TableReader table);
    void readDatabaseUrl(TableReader& table, std::string& value);
    void readJournal(TableReader table);
    void readLog(TableReader table);
    void readAdmin(TableReader table);
    void readHttpAddress(TableReader& table);
    void readTimeouts(TableReader table);
    void readIdle(TableReader table);

    void readUpstreams(std::vector<TableReader> tables);
    UpstreamConfig readUpstream(TableReader& table, Names& names);
    void readSendProxy(TableReader& table, UpstreamConfig& upstream);
    ServerConfig readServer(TableReader& table, Names& names);
    void readChecks(TableReader& table, UpstreamConfig& upstream);
    void readCount(TableReader& table, std::string_view key, std::uint32_t& count);
    void readServerAddress(TableReader& table, ServerConfig& server);
    void resolveNames();

    void readListeners(std::vector<TableReader> tables);
    ListenerConfig readListener(TableReader& table, Names& names);
    void readAddresses(TableReader& table, ListenerConfig& listener);
    std::optional<Endpoint> bindAddress(const LocatedText& item, const std::string& key);
    std::optional<Network> readNetwork(const LocatedText& item, const std::string& key);
    void readBareLf(TableReader& table, ListenerConfig& listener);
    void readClientLimits(TableReader& table, ListenerConfig& listener);
    void readTrusted(TableReader& table, ListenerConfig& listener);
    void readTrustedNetwork(const LocatedText& item, const std::string& key, ListenerConfig& listener);
    void readUpstreamName(TableReader& table, ListenerConfig& listener);
    void warnOfImplicitTls(TableReader& table, const ListenerConfig& listener);

    void checkLoops();
    void warnOfIdleUpstreams();
    void chooseCheckProtocols();
    void warnOfUnqualifiedName();

    std::string absolute(const std::string& path) const { return (base_ / path).lexically_normal().string(); }

    struct Bound {
        Endpoint endpoint;
        Position where;
    };
    struct Reached {
        Endpoint endpoint;
        std::string key;
        Position where;
    };

    struct Named {
        std::size_t upstream;
        std::size_t server;
        std::string key;
        Position where;
    };

    fs::path base_;
    ResolveAll resolve_;
    Problems& problems_;
    Config config_;
    std::vector<Bound> bound_;
    std::vector<Reached> reached_;
    std::vector<Named> named_;  ///< servers whose address is a name
    Position name_place_;
    std::vector<Position> upstream_places_;
    std::vector<bool> protocol_told_;  ///< by upstream: check_protocol is in the file
};

Config Loader::load(const toml::table& document) {
    TableReader root(&document, "", document.source().begin, problems_);
    readGateway(root.table("gateway"));
    readStore(root.table("store"));
    readJournal(root.table("journal"));
    readLog(root.table("log"));
    readAdmin(root.table("admin"));
    readTimeouts(root.table("timeouts"));
    readUpstreams(root.tables("upstream"));
    readListeners(root.tables("listener"));
    if (!root.has("listener")) root.error("listener", "missing: at least one [[listener]] is needed");
    if (!root.has("upstream")) root.error("upstream", "missing: at least one [[upstream]] is needed");
    root.rejectUnknown();
    resolveNames();
    checkLoops();
    warnOfIdleUpstreams();
    chooseCheckProtocols();
    warnOfUnqualifiedName();
    config_.warnings = problems_.warnings();
    return std::move(config_);
}

void Loader::readGateway(TableReader table) {
    config_.name = hostName();
    name_place_ = table.has("name") ? table.where("name") : table.where();
    if (table.text("name", config_.name) && !isName(config_.name, kMaxHostName))
        table.error("name", fmt::format("expected a host name, found {}", inQuotes(config_.name)));
    std::int64_t workers = config_.workers;
    table.integer("workers", workers, 0, 1'024);
    config_.workers = static_cast<unsigned>(workers);
    auto sessions = static_cast<std::int64_t>(config_.max_sessions);
    table.integer("max_sessions", sessions, 1, 10'000'000);
    config_.max_sessions = static_cast<std::size_t>(sessions);
    table.duration("drain_timeout", config_.drain_timeout, 0ms, kLongest);
    table.text("user", config_.user);
    table.rejectUnknown();
}

void Loader::readStore(TableReader table) {
    readDatabaseUrl(table, config_.store_url);
    table.rejectUnknown();
}

void Loader::readDatabaseUrl(TableReader& table, std::string& value) {
    constexpr std::string_view kScheme = "sqlite:";
    table.text("url", value);
    const std::string_view url = value;
    if (url.starts_with("postgresql:") || url.starts_with("postgres:"))
        table.error("url", "PostgreSQL is not supported by this version: expected \"sqlite:PATH\"");
    else if (!url.starts_with(kScheme) || url.size() == kScheme.size() || url.starts_with("sqlite::memory:"))
        table.error("url", fmt::format("expected \"sqlite:PATH\", found {}", inQuotes(url)));
    else
        value = fmt::format("{}{}", kScheme, absolute(value.substr(kScheme.size())));
}

void Loader::readJournal(TableReader table) {
    constexpr std::chrono::milliseconds kShortestKeep = 1h;
    constexpr std::chrono::milliseconds kLongestKeep = 10 * 365 * 24h;
    JournalConfig& journal = config_.journal;
    table.boolean("enabled", journal.enabled);
    readDatabaseUrl(table, journal.url);
    if (journal.url == config_.store_url)
        table.error("url", "is the file of the access rules: the journal needs its own");
    table.duration("keep", journal.keep, kShortestKeep, kLongestKeep);
    table.duration("keep_refused", journal.keep_refused, kShortestKeep, kLongestKeep);
    std::size_t max_size = journal.max_bytes;
    table.size("max_size", max_size, std::size_t{16} << 20, std::size_t{1} << 44);
    journal.max_bytes = max_size;
    std::chrono::milliseconds mask_after{};
    // "" is the way to write that nothing is masked.
    const bool off = table.isEmptyText("mask_after");
    if (!off && table.duration("mask_after", mask_after, kShortestKeep, kLongestKeep))
        journal.mask_after = mask_after;
    table.rejectUnknown();
}

void Loader::readLog(TableReader table) {
    LogConfig& log = config_.log;
    table.choice("format", log.format, {{"json", LogFormat::Json}, {"logfmt", LogFormat::Logfmt}});
    table.choice("level", log.level,
                 {{"debug", LogLevel::Debug},
                  {"information", LogLevel::Information},
                  {"warning", LogLevel::Warning},
                  {"error", LogLevel::Error},
                  {"critical", LogLevel::Critical}});
    table.text("target", log.target);
    const std::size_t colon = log.target.find(':');
    const std::string kind = log.target.substr(0, colon);
    const bool path = colon != std::string::npos && colon + 1 < log.target.size();
    if (path && (kind == "file" || kind == "syslog"))
        log.target = fmt::format("{}:{}", kind, absolute(log.target.substr(colon + 1)));
    else if (log.target != "stderr" && log.target != "syslog")
        table.error(
            "target",
            fmt::format("expected \"stderr\", \"syslog\", \"syslog:SOCKET\" or \"file:PATH\", found {}",
                        inQuotes(log.target)));
    if (path && kind == "syslog") checkSocketPath(table, "target", log.target.substr(colon + 1));
    table.rejectUnknown();
}

void Loader::readAdmin(TableReader table) {
    AdminConfig& admin = config_.admin;
    const bool chosen = table.text("socket", admin.socket);
    if (!admin.socket.empty()) admin.socket = absolute(admin.socket);
    if (chosen) {
        checkSocketPath(table, "socket", admin.socket);
    } else if (admin.socket.size() >= kMaxSocketPath) {
        problems_.warning(table.where(), "admin.socket",
                          "none: beside this file its path would be too long; name another place for it");
        admin.socket.clear();
    }
    readHttpAddress(table);
    table.rejectUnknown();
}

void Loader::readHttpAddress(TableReader& table) {
    std::string& http = config_.admin.http;
    if (!table.text("http", http) || http.empty()) return;
    const auto target = parseHostPort(http);
    if (!target)
        table.error("http",
                    fmt::format("expected an address such as \"127.0.0.1:8025\", found {}", inQuotes(http)));
    else if (const auto address = IpAddress::parse(target->host))
        bound_.push_back({Endpoint{*address, target->port}, table.where("http")});
}

void Loader::readTimeouts(TableReader table) {
    Timeouts& timeouts = config_.timeouts;
    // Below 3 s a balancer's first retransmission is late already; beyond 30 s silent connections pile up.
    table.duration("proxy_header", timeouts.proxy_header, 3s, 30s);
    table.duration("connect", timeouts.connect, kShortest, kLongest);
    table.duration("greeting", timeouts.greeting, kShortest, kLongest);
    table.duration("hold", timeouts.hold, 0ms, kLongest);
    table.duration("half_close", timeouts.half_close, kShortest, kLongest);
    readIdle(table.table("idle"));
    table.rejectUnknown();
}

void Loader::readIdle(TableReader table) {
    for (const auto& [protocol, floor, source] : kIdleFloors) {
        const std::string_view key = toString(protocol);
        auto& idle = config_.timeouts.idle[static_cast<std::size_t>(protocol)];
        if (!table.duration(key, idle, kShortest, kLongest) || idle >= floor) continue;
        table.error(key, fmt::format("expected at least {}, found {}: {} lets a client be silent that long",
                                     formatDuration(floor), formatDuration(idle), source));
    }
    table.rejectUnknown();
}

void Loader::readUpstreams(std::vector<TableReader> tables) {
    Names names;
    for (TableReader& table : tables) {
        config_.upstreams.push_back(readUpstream(table, names));
        upstream_places_.push_back(table.where());
    }
}

UpstreamConfig Loader::readUpstream(TableReader& table, Names& names) {
    UpstreamConfig upstream;
    names.read(table, upstream.name);
    readSendProxy(table, upstream);
    table.size("max_header", upstream.max_header_bytes, kSmallestMaxHeader, kLargestMaxHeader);
    table.boolean("pass_tlvs", upstream.pass_tlvs);
    table.choice("balance", upstream.balance,
                 {{"roundrobin", Balance::RoundRobin},
                  {"leastconn", Balance::LeastConn},
                  {"source", Balance::Source}});
    readChecks(table, upstream);
    Names server_names;
    for (TableReader& server : table.tables("server")) {
        upstream.servers.push_back(readServer(server, server_names));
        if (upstream.servers.back().host.empty()) continue;
        named_.push_back({config_.upstreams.size(), upstream.servers.size() - 1, server.pathOf("address"),
                          server.where("address")});
    }
    if (!table.has("server")) table.error("server", "missing: at least one [[upstream.server]] is needed");
    table.rejectUnknown();
    return upstream;
}

void Loader::readChecks(TableReader& table, UpstreamConfig& upstream) {
    table.boolean("check", upstream.check);
    protocol_told_.push_back(readProtocol(table, "check_protocol", upstream.check_protocol));
    table.duration("interval", upstream.interval, kShortestInterval, kLongest);
    table.duration("check_timeout", upstream.check_timeout, kShortest, kLongest);
    table.duration("slow_start", upstream.slow_start, 0ms, kLongest);
    table.duration("resolve_interval", upstream.resolve_interval, kShortestInterval, kLongest);
    readCount(table, "fall", upstream.fall);
    readCount(table, "rise", upstream.rise);
}

void Loader::readCount(TableReader& table, std::string_view key, std::uint32_t& count) {
    std::int64_t number = count;
    table.integer(key, number, 1, 100);
    count = static_cast<std::uint32_t>(number);
}

void Loader::readSendProxy(TableReader& table, UpstreamConfig& upstream) {
    enum class Lost : std::uint8_t { Accepted } lost{};
    table.choice("send_proxy", upstream.send_proxy,
                 {{"v2", SendProxy::V2}, {"v1", SendProxy::V1}, {"off", SendProxy::Off}});
    upstream.lost_client_address_accepted =
        table.choice("lost_client_address", lost, {{"accepted", Lost::Accepted}});
    if (upstream.send_proxy == SendProxy::Off && !table.has("lost_client_address"))
        table.error("send_proxy",
                    "\"off\" hides the client: the server sees every connection come from this gateway, an "
                    "address that is "
                    "often inside its mynetworks, which makes it an open relay; when that is understood, add "
                    "lost_client_address = \"accepted\"");
    if (upstream.send_proxy == SendProxy::Off && upstream.lost_client_address_accepted)
        table.warning("send_proxy",
                      "the servers see every client come from this gateway: they are an open relay if its "
                      "address is inside their mynetworks (Postfix) or login_trusted_networks (Dovecot), and "
                      "clients that start TLS can send XCLIENT unseen if it is inside their "
                      "smtpd_authorized_xclient_hosts");
    if (upstream.send_proxy != SendProxy::Off && upstream.lost_client_address_accepted)
        table.warning("lost_client_address", "has no effect unless send_proxy is \"off\"");
}

ServerConfig Loader::readServer(TableReader& table, Names& names) {
    ServerConfig server;
    names.read(table, server.name);
    if (table.text("address", server.address))
        readServerAddress(table, server);
    else if (!table.has("address"))
        table.error("address", "missing: expected \"HOST:PORT\"");
    readCount(table, "weight", server.weight);
    table.boolean("backup", server.backup);
    table.rejectUnknown();
    for (const Endpoint& endpoint : server.endpoints)
        reached_.push_back({endpoint, table.pathOf("address"), table.where("address")});
    return server;
}

void Loader::readServerAddress(TableReader& table, ServerConfig& server) {
    const std::string& address = server.address;
    const auto target = parseHostPort(address);
    const auto literal = target ? IpAddress::parse(target->host) : std::nullopt;
    if (!target || (!literal && (target->bracketed || !isHostName(target->host))) ||
        (literal && isWildcard(*literal))) {
        table.error("address",
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

/// All at once: name servers that do not answer delay a start by one time limit, not by one for each name.
void Loader::resolveNames() {
    std::vector<std::string> hosts;
    for (const Named& named : named_)
        hosts.push_back(config_.upstreams[named.upstream].servers[named.server].host);
    const std::vector<Resolution> resolved = resolve_(hosts);
    for (std::size_t i = 0; i < named_.size(); ++i) {
        const Named& named = named_[i];
        ServerConfig& server = config_.upstreams[named.upstream].servers[named.server];
        if (resolved[i].addresses.empty())
            problems_.warning(named.where, named.key,
                              fmt::format("{} cannot be resolved now: {}; it will be tried again",
                                          inQuotes(server.host), resolved[i].error));
        for (const IpAddress& address : resolved[i].addresses) {
            server.endpoints.push_back({address, server.port});
            reached_.push_back({server.endpoints.back(), named.key, named.where});
        }
    }
}

void Loader::readListeners(std::vector<TableReader> tables) {
    Names names;
    for (TableReader& table : tables)
        config_.listeners.push_back(readListener(table, names));
}

ListenerConfig Loader::readListener(TableReader& table, Names& names) {
    ListenerConfig listener;
    names.read(table, listener.name);
    readProtocol(table, "protocol", listener.protocol);
    if (!table.has("protocol")) table.error("protocol", "missing: what do the clients speak?");
    readAddresses(table, listener);
    readTrusted(table, listener);
    table.choice("access", listener.access,
                 {{"allowlist", AccessDefault::Allowlist}, {"open", AccessDefault::Open}});
    table.choice("tls", listener.tls, {{"off", ListenerTls::Off}, {"passthrough", ListenerTls::Passthrough}});
    readBareLf(table, listener);
    readClientLimits(table, listener);
    warnOfImplicitTls(table, listener);
    readUpstreamName(table, listener);
    table.rejectUnknown();
    return listener;
}

void Loader::readBareLf(TableReader& table, ListenerConfig& listener) {
    const bool mail = listener.protocol == Protocol::Smtp || listener.protocol == Protocol::Lmtp;
    if (mail) listener.bare_lf = BareLfPolicy::Normalize;
    table.choice("bare_lf", listener.bare_lf,
                 {{"normalize", BareLfPolicy::Normalize},
                  {"reject", BareLfPolicy::Reject},
                  {"pass", BareLfPolicy::Pass}});
    for (const LocatedText& item : table.texts("bare_lf_exclude")) {
        if (const auto network = readNetwork(item, table.pathOf("bare_lf_exclude")))
            listener.bare_lf_exclude.push_back(*network);
    }
    for (const std::string_view key : {"bare_lf", "bare_lf_exclude"}) {
        if (table.has(key) && !mail) table.error(key, "is for smtp and lmtp listeners only");
    }
}

void Loader::readClientLimits(TableReader& table, ListenerConfig& listener) {
    const auto number = [&](std::string_view key, auto& value, std::int64_t low, std::int64_t high) {
        std::int64_t read = value;
        table.integer(key, read, low, high);
        value = static_cast<std::remove_reference_t<decltype(value)>>(read);
    };
    number("client_sessions", listener.client_sessions, 0, store::kMaxClientLimit);
    number("client_rate", listener.client_rate, 0, store::kMaxClientLimit);
    number("client_ipv4_prefix", listener.client_ipv4_prefix, 8, 32);
    number("client_ipv6_prefix", listener.client_ipv6_prefix, 16, 128);
}

void Loader::readAddresses(TableReader& table, ListenerConfig& listener) {
    const std::string key = table.pathOf("address");
    for (const LocatedText& item : table.texts("address")) {
        const auto endpoint = bindAddress(item, key);
        if (!endpoint) continue;
        const auto other = std::find_if(bound_.begin(), bound_.end(), [&](const Bound& bound) {
            return overlap(bound.endpoint, *endpoint);
        });
        if (other != bound_.end())
            problems_.error(item.where, key,
                            fmt::format("{} is bound already, by {} on line {}", endpoint->toString(),
                                        other->endpoint.toString(), other->where.line));
        bound_.push_back({*endpoint, item.where});
        listener.addresses.push_back(*endpoint);
    }
    if (table.isEmpty("address"))
        table.error("address", "missing: expected at least one, such as \"0.0.0.0:25\" or \"[::]:25\"");
}

std::optional<Endpoint> Loader::bindAddress(const LocatedText& item, const std::string& key) {
    const auto target = parseHostPort(item.text);
    const auto address = target ? IpAddress::parse(target->host) : std::nullopt;
    if (address) return Endpoint{*address, target->port};
    problems_.error(
        item.where, key,
        fmt::format("expected an address and a port from 1 to 65535, such as \"0.0.0.0:25\", \"[::]:25\" or "
                    "\"192.0.2.1:25\", found {}",
                    inQuotes(item.text)));
    return std::nullopt;
}

void Loader::readTrusted(TableReader& table, ListenerConfig& listener) {
    const bool known =
        table.choice("proxy", listener.proxy,
                     {{"off", ProxyMode::Off}, {"mixed", ProxyMode::Mixed}, {"require", ProxyMode::Require}});
    for (const LocatedText& item : table.texts("trusted"))
        readTrustedNetwork(item, table.pathOf("trusted"), listener);
    if (!known && table.has("proxy")) return;
    if (listener.proxy == ProxyMode::Off && table.has("trusted"))
        table.error("trusted",
                    "would be ignored, because proxy is \"off\": remove it, or set proxy to \"require\" or "
                    "\"mixed\"");
    if (listener.proxy != ProxyMode::Off && table.isEmpty("trusted"))
        table.error("trusted",
                    listener.proxy == ProxyMode::Require
                        ? "missing or empty: nobody could ever connect; name the balancers' networks"
                        : "missing or empty: no header would ever be read; name the balancers' networks");
}

void Loader::readTrustedNetwork(const LocatedText& item, const std::string& key, ListenerConfig& listener) {
    // Wider than any one site: 10.0.0.0/8 and fc00::/7 are the widest private networks.
    constexpr unsigned kWidestV4 = 96 + 8;
    constexpr unsigned kWidestV6 = 7;
    const auto network = readNetwork(item, key);
    if (!network) return;
    if (network->prefix_length < (network->isV4() ? kWidestV4 : kWidestV6))
        problems_.warning(
            item.where, key,
            fmt::format("{} trusts far more than a site's balancers: whoever connects from there chooses the "
                        "client address that the access rules see",
                        network->toString()));
    listener.trusted.push_back(*network);
}

std::optional<Network> Loader::readNetwork(const LocatedText& item, const std::string& key) {
    const auto parsed = parseNetwork(item.text);
    if (const auto* network = std::get_if<Network>(&parsed)) return *network;
    problems_.error(item.where, key, std::get<NetworkError>(parsed).message);
    return std::nullopt;
}

void Loader::readUpstreamName(TableReader& table, ListenerConfig& listener) {
    if (!table.text("upstream", listener.upstream)) {
        if (!table.has("upstream")) table.error("upstream", "missing: the name of an [[upstream]] is needed");
        return;
    }
    std::vector<std::string> names;
    for (const UpstreamConfig& upstream : config_.upstreams)
        names.push_back(upstream.name);
    const auto found = std::find(names.begin(), names.end(), listener.upstream);
    if (found == names.end())
        table.error("upstream",
                    fmt::format("there is no [[upstream]] named {}{}", inQuotes(listener.upstream),
                                didYouMean(listener.upstream, names)));
    else
        listener.upstream_index = static_cast<std::size_t>(found - names.begin());
}

void Loader::warnOfImplicitTls(TableReader& table, const ListenerConfig& listener) {
    if (listener.tls != ListenerTls::Off) return;
    for (const Endpoint& endpoint : listener.addresses) {
        if (endpoint.port != 465 && endpoint.port != 993 && endpoint.port != 995) continue;
        table.warning(
            "tls",
            fmt::format("clients of port {} speak TLS from the first byte: tls = \"passthrough\" is meant?",
                        endpoint.port));
    }
}

void Loader::checkLoops() {
    for (const Reached& server : reached_) {
        const auto own = std::find_if(bound_.begin(), bound_.end(), [&](const Bound& bound) {
            return reaches(server.endpoint, bound.endpoint);
        });
        if (own != bound_.end())
            problems_.error(
                server.where, server.key,
                fmt::format("{} is this gateway's own listener ({}, line {}): sessions would go in a circle",
                            server.endpoint.toString(), own->endpoint.toString(), own->where.line));
    }
}

void Loader::warnOfIdleUpstreams() {
    for (std::size_t index = 0; index < config_.upstreams.size(); ++index) {
        const std::string& name = config_.upstreams[index].name;
        if (std::none_of(config_.listeners.begin(), config_.listeners.end(),
                         [&](const ListenerConfig& listener) { return listener.upstream == name; }))
            problems_.warning(upstream_places_[index], "upstream",
                              fmt::format("no listener uses {}", inQuotes(name)));
    }
}

/// In TLS nothing can be asked in the clear: there, and where listeners differ, a connection has to do.
void Loader::chooseCheckProtocols() {
    for (std::size_t index = 0; index < config_.upstreams.size(); ++index) {
        if (protocol_told_[index]) continue;
        std::vector<Protocol> spoken;
        for (const ListenerConfig& listener : config_.listeners) {
            if (listener.upstream != config_.upstreams[index].name) continue;
            const Protocol protocol = listener.tls == ListenerTls::Off ? listener.protocol : Protocol::Tcp;
            if (std::find(spoken.begin(), spoken.end(), protocol) == spoken.end()) spoken.push_back(protocol);
        }
        config_.upstreams[index].check_protocol = spoken.size() == 1 ? spoken.front() : Protocol::Tcp;
        if (spoken.size() > 1 && config_.upstreams[index].check)
            problems_.warning(upstream_places_[index], "upstream.check_protocol",
                              fmt::format("the listeners of {} speak different protocols, so its servers are "
                                          "only connected to: name the protocol to check",
                                          inQuotes(config_.upstreams[index].name)));
    }
}

void Loader::warnOfUnqualifiedName() {
    const bool said =
        std::any_of(config_.upstreams.begin(), config_.upstreams.end(), [](const UpstreamConfig& upstream) {
            return upstream.check && upstream.check_protocol == Protocol::Smtp;
        });
    if (!said || isQualifiedName(config_.name)) return;
    problems_.warning(
        name_place_, "gateway.name",
        fmt::format(
            "{} is no host name with a domain: EHLO in health checks says the gateway's address instead, as "
            "strict servers want it",
            inQuotes(config_.name)));
}

std::string readFile(const fs::path& file) {
    const auto fail = [&](std::string_view why) -> std::string {
        throw ConfigError(fmt::format("{}: cannot be read: {}", file.string(), why));
    };
    std::error_code ignored;  // opening it will say what is wrong
    if (fs::is_directory(file, ignored)) return fail("it is a folder");
    errno = 0;
    std::ifstream stream(file, std::ios::binary);
    if (!stream) return fail(errno == 0 ? "unknown error" : std::strerror(errno));
    std::string text(kMaxFileBytes + 1, '\0');
    stream.read(text.data(), static_cast<std::streamsize>(text.size()));
    if (stream.bad()) return fail("input/output error");
    text.resize(static_cast<std::size_t>(stream.gcount()));
    if (text.size() > kMaxFileBytes) return fail("it is larger than 1 MiB");
    return text;
}

}  // namespace

fs::path findConfig(const std::string& given) {
    if (!given.empty()) return given;
    const std::array<fs::path, 2> places{"mailgate.toml", "/etc/mailgate/mailgate.toml"};
    for (const fs::path& place : places) {
        std::error_code ignored;  // a folder that may not be looked into holds no configuration for us
        if (fs::exists(place, ignored)) return place;
    }
    throw ConfigError(fmt::format("no configuration: neither {} nor {} exists; name one with --config FILE",
                                  fs::absolute(places[0]).string(), places[1].string()));
}

Config loadConfig(const fs::path& file, const std::stop_token& stop) {
    return parseConfig(readFile(file), file, resolveHost, stop);
}

Config parseConfig(std::string_view toml, const fs::path& file, const Resolver& resolve,
                   const std::stop_token& stop) {
    Problems problems(file.string());
    const auto resolve_all = [&](const std::vector<std::string>& hosts) {
        return resolveAll(hosts, resolve, kNamePatience, stop);
    };
    try {
        if (const auto where = config::tooDeep(toml)) {
            problems.error(*where, "", "tables or arrays are nested deeper than any configuration's");
            throw ConfigError(problems.errorText());
        }
        const toml::table document = toml::parse(toml, std::string_view{});
        Config config = Loader(file, resolve_all, problems).load(document);
        if (!problems.hasErrors()) return config;
    } catch (const toml::parse_error& error) {
        // The description may quote the document.
        const std::string text = inQuotes(error.description(), 400);
        problems.error(error.source().begin, "", std::string_view(text).substr(1, text.size() - 2));
    }
    throw ConfigError(problems.errorText());
}

std::vector<std::string> configKeys() {
    // A document that has every table: reading it asks for every key.
    constexpr std::string_view kSkeleton = "[[listener]]\n[[upstream]]\n[[upstream.server]]\n";
    const auto nowhere = [](const std::vector<std::string>&) { return std::vector<Resolution>{}; };
    Problems problems("");
    Loader("mailgate.toml", nowhere, problems).load(toml::parse(kSkeleton));
    return {problems.keys().begin(), problems.keys().end()};
}

}  // namespace mailgate
