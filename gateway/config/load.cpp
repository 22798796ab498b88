// SPDX-License-Identifier: Apache-2.0
#include "gateway/config/load.h"

#include "gateway/config/addresses.h"
#include "gateway/config/documents.h"
#include "gateway/config/fields.h"
#include "gateway/config/public_port.h"
#include "gateway/config/readers.h"
#include "gateway/config/sources.h"
#include "gateway/config/toml_reader.h"
#include "gateway/log/escape.h"
#include "protocols/health_dialogue.h"
#include "protocols/mail_protocol.h"

#include <fmt/format.h>

#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <functional>
#include <map>
#include <optional>
#include <set>
#include <span>
#include <system_error>

namespace mailgate {

namespace {

using config::kMaxHostName;
using config::Names;
using config::Position;
using config::Problems;
using config::Reading;
using config::TableReader;
namespace fs = std::filesystem;

std::string hostName() {
    std::array<char, kMaxHostName + 1> name{};
    if (::gethostname(name.data(), name.size() - 1) != 0 || !config::isName(name.data(), kMaxHostName))
        return "mailgate";
    return name.data();
}

/// Empty when the working folder is gone: then paths stay relative to it, and opening them says so.
fs::path folderOf(const fs::path& file) {
    std::error_code error;
    return fs::absolute(file, error).lexically_normal().parent_path();
}

class Loader {
  public:
    /// Names to addresses, in the order asked for; none: names stay without.
    using ResolveAll = std::function<std::vector<Resolution>(const std::vector<std::string>& hosts)>;

    Loader(const fs::path& file, ResolveAll resolve, Problems& problems)
        : resolve_(std::move(resolve)),
          problems_(problems),
          reading_{problems, config_, folderOf(file), nullptr, {}} {
        config_.file = file.string();
        config_.name = hostName();
    }

    /// What could be read; the problems say whether it may be used.
    Config load(const toml::table& document);

  private:
    template <typename Struct>
    void read(TableReader& table, const config::Fields<Struct>& fields, Struct& into);

    void readSections(TableReader& root);
    void readUpstreams(std::vector<TableReader> tables);
    UpstreamConfig readUpstream(TableReader& table, Names& names);
    ServerConfig readServer(TableReader& table, Names& names, const UpstreamConfig& upstream);
    void readListeners(std::vector<TableReader> tables);

    void resolveNames();
    void nameForTls(TableReader& table, const UpstreamConfig& upstream, ServerConfig& server);
    void checkServerTls(TableReader& table, const ListenerConfig& listener);
    void checkAddresses();
    void checkLoops();
    void warnOfDoubleServers();
    void warnOfUnusedNetworks();
    void warnOfImplicitTls(TableReader& table, const ListenerConfig& listener);
    void warnOfUntoldTls(TableReader& table, const ListenerConfig& listener);
    void warnOfRequiredTls(TableReader& table, const ListenerConfig& listener);
    void warnOfIdleUpstreams();
    void chooseCheckProtocols();
    void warnOfUnqualifiedName();

    struct Reached {
        Endpoint endpoint;
        std::size_t upstream, server;
        std::string key;
        Position where;
    };
    struct Named {
        std::size_t upstream;
        std::size_t server;
        std::string key;
        Position where;
    };

    ResolveAll resolve_;
    Problems& problems_;
    Config config_;
    Reading reading_;
    std::vector<Reached> reached_;
    std::vector<Named> named_;  ///< servers whose address is a name
    Position name_place_;
    std::vector<Position> upstream_places_;
    std::vector<bool> protocol_given_;  ///< by upstream: check_protocol is in the file
};

Config Loader::load(const toml::table& document) {
    TableReader root(&document, "", {}, problems_);
    readSections(root);
    readUpstreams(root.tables("upstream"));
    readListeners(root.tables("listener"));
    if (!root.has("listener")) root.error("listener", "missing: at least one [[listener]] is needed");
    if (!root.has("upstream")) root.error("upstream", "missing: at least one [[upstream]] is needed");
    root.rejectUnknown();
    resolveNames();
    checkAddresses();
    checkLoops();
    warnOfDoubleServers();
    warnOfUnusedNetworks();
    warnOfIdleUpstreams();
    chooseCheckProtocols();
    warnOfUnqualifiedName();
    config_.warnings = problems_.warnings();
    return std::move(config_);
}

template <typename Struct>
void Loader::read(TableReader& table, const config::Fields<Struct>& fields, Struct& into) {
    for (const config::Field<Struct>& field : fields) {
        field.kind.read(reading_, table, field.key, into);
        if (!field.missing.empty() && !table.has(field.key)) table.error(field.key, field.missing);
    }
}

void Loader::readSections(TableReader& root) {
    std::map<std::string, TableReader, std::less<>> tables;
    config::forEachSection([&](std::string_view path, const auto& fields, auto part) {
        if (path.empty()) return read(root, fields, part(config_));
        const std::size_t dot = path.rfind('.');
        TableReader& parent = dot == std::string_view::npos ? root : tables.find(path.substr(0, dot))->second;
        const auto table = tables.emplace(path, parent.table(path.substr(dot + 1))).first;  // npos + 1 is 0
        read(table->second, fields, part(config_));
    });
    for (auto& [path, table] : tables)
        table.rejectUnknown();
    const TableReader& gateway = tables.at("gateway");
    name_place_ = gateway.where("name");
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
    reading_.names = &names;
    table.setDefaults(reading_.upstream_defaults, "defaults.upstream");
    read(table, config::upstreamFields(), upstream);
    protocol_given_.push_back(table.has("check_protocol"));
    Names server_names;
    for (TableReader& server : table.tables("server")) {
        upstream.servers.push_back(readServer(server, server_names, upstream));
        if (upstream.servers.back().host.empty()) continue;
        named_.push_back({config_.upstreams.size(), upstream.servers.size() - 1, server.pathOf("address"),
                          server.where("address")});
    }
    if (!table.has("server")) table.error("server", "missing: at least one [[upstream.server]] is needed");
    table.rejectUnknown();
    return upstream;
}

ServerConfig Loader::readServer(TableReader& table, Names& names, const UpstreamConfig& upstream) {
    ServerConfig server;
    reading_.names = &names;
    read(table, config::serverFields(), server);
    nameForTls(table, upstream, server);
    table.rejectUnknown();
    for (const Endpoint& endpoint : server.endpoints)
        reached_.push_back({endpoint, config_.upstreams.size(), upstream.servers.size(),
                            table.pathOf("address"), table.where("address")});
    return server;
}

/// Whom its certificate must be for.
void Loader::nameForTls(TableReader& table, const UpstreamConfig& upstream, ServerConfig& server) {
    if (upstream.tls == UpstreamTls::Off) {
        if (table.has("server_name"))
            table.error("server_name", "would be ignored, because tls of the upstream is \"off\"");
        return;
    }
    server.tls_name = server.server_name.empty() ? upstream.server_name : server.server_name;
    if (!server.tls_name.empty()) return;
    server.tls_name = server.host;
    if (!server.host.empty() || server.endpoints.empty()) return;
    server.tls_name = server.endpoints.front().address.toString();
    if (upstream.tls_options.verify)
        table.warning("address",
                      fmt::format("the server's certificate has to be for the address {}: if it is "
                                  "for a name, set server_name",
                                  server.tls_name));
}

void Loader::readListeners(std::vector<TableReader> tables) {
    Names names;
    reading_.names = &names;
    for (TableReader& table : tables) {
        ListenerConfig& listener = config_.listeners.emplace_back();
        table.setDefaults(reading_.listener_defaults, "defaults.listener");
        read(table, config::listenerFields(), listener);
        warnOfImplicitTls(table, listener);
        warnOfUntoldTls(table, listener);
        warnOfRequiredTls(table, listener);
        checkServerTls(table, listener);
        table.rejectUnknown();
    }
}

/// All at once: name servers that do not answer delay a start by one time limit, not by one for each name.
void Loader::resolveNames() {
    if (!resolve_) return;
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
            reached_.push_back(
                {server.endpoints.back(), named.upstream, named.server, named.key, named.where});
        }
    }
}

void Loader::warnOfImplicitTls(TableReader& table, const ListenerConfig& listener) {
    if (listener.tls != ListenerTls::Off && listener.tls != ListenerTls::StartTls) return;
    for (const Endpoint& endpoint : listener.addresses) {
        if (endpoint.port != 465 && endpoint.port != 993 && endpoint.port != 995) continue;
        table.warning("tls", fmt::format("clients of port {} use TLS from the first byte: did you mean tls = "
                                         "\"implicit\" or \"passthrough\"?",
                                         endpoint.port));
    }
}

/// Servers that do not know of it refuse passwords, as they should in the clear.
void Loader::warnOfUntoldTls(TableReader& table, const ListenerConfig& listener) {
    if (!listener.endsTls() || config_.upstreams.empty()) return;
    const UpstreamConfig& upstream = config_.upstreams[listener.upstream_index];
    if (upstream.send_proxy == SendProxy::V2 || upstream.tls != UpstreamTls::Off ||
        listener.protocol == Protocol::Tcp)
        return;
    table.warning("tls",
                  fmt::format("the servers of {} are not told that clients use TLS, and may refuse their "
                              "passwords: send_proxy = \"v2\" tells them",
                              inQuotes(upstream.name)));
}

/// A balancer's port 25 has another number here.
void Loader::warnOfRequiredTls(TableReader& table, const ListenerConfig& listener) {
    if (table.has("tls_required") || !listener.tls_required || listener.protocol != Protocol::Smtp ||
        listener.proxy == ProxyMode::Off || listener.addresses.empty() || config::isSubmission(listener))
        return;
    table.warning("tls_required",
                  "is true unless said otherwise: where this is a balancer's port 25, mail from servers that "
                  "do not use TLS is refused: write tls_required = false, or for submission true");
}

/// What is passed through is TLS between the client and the server, and only mail protocols have STARTTLS.
void Loader::checkServerTls(TableReader& table, const ListenerConfig& listener) {
    if (config_.upstreams.empty()) return;
    const UpstreamConfig& upstream = config_.upstreams[listener.upstream_index];
    if (upstream.tls == UpstreamTls::Mirror && listener.tls == ListenerTls::Off &&
        listener.proxy == ProxyMode::Off)
        table.warning("tls", fmt::format("tls = \"mirror\" of {} has nothing to mirror here: \"off\" leaves "
                                         "STARTTLS to clients and servers, \"starttls\" ends it here",
                                         inQuotes(upstream.name)));
    if (upstream.tls != UpstreamTls::Off && listener.tls == ListenerTls::Passthrough)
        table.error("tls",
                    fmt::format("\"passthrough\" would put the clients' TLS inside of the gateway's own with "
                                "the servers of {}: end it here (\"implicit\"), or set tls = \"off\" there",
                                inQuotes(upstream.name)));
    if (upstream.asksForStartTls() && listener.protocol == Protocol::Tcp)
        table.error("protocol",
                    fmt::format("\"tcp\" has no STARTTLS, which the servers of {} are asked for: tls = "
                                "\"implicit\" is for any protocol",
                                inQuotes(upstream.name)));
}

/// After all have been read: whether [::] takes IPv4 is a matter of another address. A start would find the port in use.
void Loader::checkAddresses() {
    const auto collide = [&](const Reading::Bound& one, const Reading::Bound& other) {
        const Endpoint &at = one.endpoint, &there = other.endpoint;
        return config::collide(config_, at, config_, there) ||
               (at.port == there.port &&
                ((one.takesV4() && there.address.isV4()) || (other.takesV4() && at.address.isV4())));
    };
    for (auto later = reading_.bound.begin(); later != reading_.bound.end(); ++later) {
        const auto first = std::find_if(reading_.bound.begin(), later,
                                        [&](const Reading::Bound& bound) { return collide(bound, *later); });
        if (first != later)
            problems_.error(
                later->where, later->key,
                fmt::format("{} is already used by {} on {}", later->endpoint.toString(),
                            first->endpoint.toString(), problems_.lineOf(first->where, later->where)));
    }
}

void Loader::checkLoops() {
    for (const Reached& server : reached_) {
        const auto own = std::find_if(
            reading_.bound.begin(), reading_.bound.end(),
            [&](const Reading::Bound& bound) { return config::reaches(server.endpoint, bound.endpoint); });
        if (own != reading_.bound.end())
            problems_.error(server.where, server.key,
                            fmt::format("{} is this gateway's own listener ({}, {}): sessions would loop",
                                        server.endpoint.toString(), own->endpoint.toString(),
                                        problems_.lineOf(own->where, server.where)));
    }
}

void Loader::warnOfDoubleServers() {
    std::map<std::pair<std::size_t, std::string>, const Reached*> first;
    for (const Reached& server : reached_) {
        const auto [seen, added] =
            first.emplace(std::pair(server.upstream, server.endpoint.toString()), &server);
        if (added || seen->second->server == server.server) continue;
        problems_.warning(
            server.where, server.key,
            fmt::format(
                "{} is server {} as well ({}): it gets the sessions of both, and when it fails both do",
                server.endpoint.toString(),
                inQuotes(config_.upstreams[server.upstream].servers[seen->second->server].name),
                problems_.lineOf(seen->second->where, server.where)));
    }
}

void Loader::warnOfUnusedNetworks() {
    for (const auto& [name, list] : reading_.networks) {
        if (!list.used)
            problems_.warning(list.where, "networks",
                              fmt::format("nothing refers to {}", inQuotes("@" + name)));
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
        if (protocol_given_[index]) continue;
        std::vector<Protocol> spoken;
        for (const ListenerConfig& listener : config_.listeners) {
            if (listener.upstream != config_.upstreams[index].name) continue;
            const Protocol protocol =
                listener.tls == ListenerTls::Passthrough ? Protocol::Tcp : listener.protocol;
            if (std::find(spoken.begin(), spoken.end(), protocol) == spoken.end()) spoken.push_back(protocol);
        }
        config_.upstreams[index].check_protocol = spoken.size() == 1 ? spoken.front() : Protocol::Tcp;
        if (spoken.size() > 1 && config_.upstreams[index].check)
            problems_.warning(upstream_places_[index], "upstream.check_protocol",
                              fmt::format("the listeners of {} speak different protocols, so health checks "
                                          "of its servers only connect: set the protocol to check",
                                          inQuotes(config_.upstreams[index].name)));
    }
}

void Loader::warnOfUnqualifiedName() {
    const bool said =
        std::any_of(config_.upstreams.begin(), config_.upstreams.end(), [](const UpstreamConfig& upstream) {
            return upstream.check && upstream.check_protocol == Protocol::Smtp;
        });
    if (!said || isQualifiedName(config_.name)) return;
    problems_.warning(name_place_, "gateway.name",
                      fmt::format("{} is not a fully qualified host name: health checks send the gateway's "
                                  "address in EHLO instead, because strict servers reject other names",
                                  inQuotes(config_.name)));
}

Config parseWith(std::string_view toml, const fs::path& file, Loader::ResolveAll resolve,
                 const config::FileSource& source) {
    Problems problems(file.string());
    config::DocumentFiles files;
    const toml::table document = config::readDocument(toml, file, source, problems, files);
    if (!problems.hasErrors()) {
        Config config = Loader(file, std::move(resolve), problems).load(document);
        config.files = std::move(files.names);
        config.wildcards = std::move(files.wildcards);
        if (!problems.hasErrors()) return config;
    }
    throw ConfigError(problems.errorText());
}

std::string readMain(const fs::path& file) {
    try {
        return config::readFile(file);
    } catch (const ConfigError& error) {
        throw ConfigError(fmt::format("{}: {}", file.string(), error.what()));
    }
}

/// Of who runs this; so is the link if it is one.
bool isOwnFile(const fs::path& file) {
    struct stat target {
    }, link{};
    return ::stat(file.c_str(), &target) == 0 && ::lstat(file.c_str(), &link) == 0 &&
           target.st_uid == ::geteuid() && link.st_uid == ::geteuid();
}

bool isOneOf(std::string_view word, std::span<const std::string_view> words) {
    return std::find(words.begin(), words.end(), word) != words.end();
}

/// Tables whose errors leave what the others say as it is.
constexpr std::string_view kOfServing[] = {"listener", "upstream", "defaults", "networks",
                                           "timeouts", "log",      "console"};
/// Keys of the others: where one of these stands in one of those, the heading in front of it may have been lost.
constexpr std::string_view kElsewhere[] = {"url", "socket"};

bool isOfServing(std::string_view key) {
    return isOneOf(key.substr(0, key.find('.')), kOfServing) &&
           !isOneOf(key.substr(key.rfind('.') + 1), kElsewhere);
}

/// "listener" of `[[ listener ]]` and of `[listener.x]`, "url" of `url = ""`.
std::string_view firstWord(std::string_view line) {
    constexpr std::string_view kBefore = " \t[\"'", kBehind = " \t]\"'.=\r#";
    line.remove_prefix(std::min(line.find_first_not_of(kBefore), line.size()));
    return line.substr(0, line.find_first_of(kBehind));
}

bool isHeading(std::string_view line) {
    const std::size_t at = line.find_first_not_of(" \t");
    return at != std::string_view::npos && line[at] == '[';
}

/// Whether all of that text is about serving.
bool isAllOfServing(std::string_view text) {
    for (std::size_t begin = 0; begin < text.size();) {
        const std::size_t end = std::min(text.find('\n', begin), text.size());
        const std::string_view line = text.substr(begin, end - begin), word = firstWord(line);
        if (isHeading(line) ? !isOneOf(word, kOfServing) : isOneOf(word, kElsewhere)) return false;
        begin = end + 1;
    }
    return true;
}

/// The line of the first error; none: it is TOML.
std::optional<std::size_t> wrongLine(std::string_view text) {
    try {
        (void)toml::parse(text);
        return std::nullopt;
    } catch (const toml::parse_error& error) {
        return error.source().begin.line;
    }
}

/// That text, or as much of it as is TOML and stands in front of the table with the error. None: one of the tables that
/// have to be right may be behind it.
std::optional<std::string> readablePart(std::string_view text) {
    if (config::tooDeep(text)) return std::nullopt;
    const auto wrong = wrongLine(text);
    if (!wrong) return std::string(text);
    std::vector<std::size_t> headings;  // up to there
    for (std::size_t begin = 0, line = 1; begin < text.size() && line <= *wrong; ++line) {
        const std::size_t end = std::min(text.find('\n', begin), text.size());
        if (isHeading(text.substr(begin, end - begin))) headings.push_back(begin);
        begin = end + 1;
    }
    // What is left open is noticed in the table behind it.
    constexpr std::size_t kTables = 2;
    for (std::size_t tried = 0; tried < kTables && !headings.empty(); ++tried) {
        const std::string_view before = text.substr(0, headings.back());
        if (!isAllOfServing(text.substr(headings.back()))) return std::nullopt;
        if (!wrongLine(before)) return std::string(before);
        headings.pop_back();
    }
    return std::nullopt;
}

}  // namespace

IdleLimits defaultIdleLimits() noexcept {
    IdleLimits limits{};
    for (std::size_t at = 0; at < limits.size(); ++at)
        limits[at] = traitsOf(static_cast<Protocol>(at)).idle_default;
    return limits;
}

FoundConfig findConfig(const std::string& given) {
    using How = FoundConfig::How;
    if (!given.empty()) return {given, How::Named};
    const fs::path own = "mailgate.toml";
    std::error_code ignored;  // a folder that may not be looked into holds no configuration for us
    std::string passed_over;
    if (fs::exists(own, ignored)) {
        if (isOwnFile(own)) return {own, How::WorkingFolder};
        passed_over = fmt::format("{} is not used, because it belongs to another user: name it with --config",
                                  fs::absolute(own).string());
    }
    if (fs::exists(kSystemConfig, ignored)) return {kSystemConfig, How::System, std::move(passed_over)};
    throw ConfigError(
        passed_over.empty()
            ? fmt::format(
                  "mailgate: no configuration file: neither {} nor {} exists; name one with --config FILE",
                  fs::absolute(own).string(), kSystemConfig)
            : fmt::format("mailgate: no configuration file: {} does not exist, and {}", kSystemConfig,
                          passed_over));
}

Config loadConfig(const fs::path& file, const std::stop_token& stop) {
    config::Sources sources;
    const config::FileSource disk = config::filesOnDisk();
    const config::FileSource read{
        disk.list, [&](const fs::path& included) { return sources.read(included, disk.read); }};
    Config config = parseConfig(sources.read(file, readMain), file, resolveHost, read, stop);
    sources.setWildcards(config.wildcards);
    config.sources = std::move(sources);
    return config;
}

Config loadUnresolved(const fs::path& file) {
    return parseWith(readMain(file), file, {}, config::filesOnDisk());
}

void resolveServers(Config& config, const WantedServer& wanted, const Resolver& resolve) {
    std::vector<ServerConfig*> servers;
    std::vector<std::string> hosts;
    for (UpstreamConfig& upstream : config.upstreams)
        for (ServerConfig& server : upstream.servers) {
            if (server.host.empty() || (wanted && !wanted(upstream, server))) continue;
            servers.push_back(&server);
            hosts.push_back(server.host);
        }
    const std::vector<Resolution> resolved = resolveAll(hosts, resolve);
    for (std::size_t at = 0; at < servers.size(); ++at)
        for (const IpAddress& address : resolved[at].addresses)
            servers[at]->endpoints.push_back({address, servers[at]->port});
}

ReadableConfig loadReadable(const fs::path& file) {
    try {
        return parseReadable(config::readFile(file), file, config::filesOnDisk());
    } catch (const ConfigError&) {
        return {loadUnresolved(file), ""};  // which says what is wrong
    }
}

ReadableConfig loadOwnAdmin(const fs::path& file) {
    const config::FileSource nothing{[](const fs::path&) { return std::vector<std::string>(); },
                                     [](const fs::path&) { return std::string(); }};
    const auto is_elsewhere = [](std::string_view key) { return key.substr(0, key.find('.')) != "admin"; };
    const std::string text = readMain(file);
    const auto part = readablePart(text);
    if (!part) throw ConfigError(fmt::format("{}: is no TOML", file.string()));
    Problems problems(file.string());
    config::DocumentFiles files;
    const toml::table document = config::readDocument(*part, file, nothing, problems, files);
    Config read = Loader(file, {}, problems).load(document);
    if (!problems.errorsOnlyWhere(is_elsewhere)) throw ConfigError(problems.errorText());
    ReadableConfig own;
    own.config.file = std::move(read.file);
    own.config.files = std::move(files.names);
    own.config.admin = std::move(read.admin);
    // Said again by a file that it includes, it would be an error.
    if (!document.at_path("admin.socket"))
        own.errors = document.contains("include")
                         ? fmt::format("{}: admin.socket may be in a file that it includes", file.string())
                         : problems.errorText();
    return own;
}

ReadableConfig loadReadable(const fs::path& file, const ComingFiles& coming) {
    const config::FileSource there = config::filesOnDisk();
    const auto list = [&](const fs::path& folder) {
        auto names = there.list(folder);
        for (const auto& [target, text] : coming) {
            if (target.parent_path() != folder) continue;
            if (!names) names.emplace();
            const std::string name = target.filename().string();
            if (std::find(names->begin(), names->end(), name) == names->end()) names->push_back(name);
        }
        return names;
    };
    const auto read = [&](const fs::path& included) {
        const auto text = coming.find(included);
        return text == coming.end() ? there.read(included) : config::readFile(text->second);
    };
    const auto main = coming.find(file);
    return parseReadable(readMain(main == coming.end() ? file : main->second), file, {list, read});
}

ReadableConfig parseReadable(std::string_view toml, const fs::path& file, const config::FileSource& source) {
    const auto readable = [](std::string_view text) {
        auto part = readablePart(text);
        if (!part) throw ConfigError("is no TOML");
        return std::move(*part);
    };
    const config::FileSource readable_source{
        source.list, [&](const fs::path& included) { return readable(source.read(included)); }};
    std::string errors;
    try {
        return {parseWith(toml, file, {}, source), ""};
    } catch (const ConfigError& error) {
        errors = error.what();
    }
    Problems problems(file.string());
    config::DocumentFiles files;
    const auto part = readablePart(toml);
    if (!part) throw ConfigError(errors);
    const toml::table document = config::readDocument(*part, file, readable_source, problems, files);
    if (problems.hasErrors()) throw ConfigError(errors);
    Config config = Loader(file, {}, problems).load(document);
    if (!problems.errorsOnlyWhere(isOfServing)) throw ConfigError(errors);
    config.files = std::move(files.names);
    config.listeners.clear();
    config.upstreams.clear();
    return {std::move(config), std::move(errors)};
}

Config parseConfig(std::string_view toml, const fs::path& file, const Resolver& resolve,
                   const config::FileSource& source, const std::stop_token& stop) {
    const auto resolve_all = [&](const std::vector<std::string>& hosts) {
        return resolveAll(hosts, resolve, kNamePatience, stop);
    };
    return parseWith(toml, file, resolve_all, source);
}

std::vector<std::string> configKeys() {
    std::set<std::string> keys;
    for (const config::DescribedTable& table : config::describeTables()) {
        if (!table.path.empty()) keys.insert(table.path);
        for (const config::Described& key : table.keys)
            keys.insert(table.path.empty() ? key.key : fmt::format("{}.{}", table.path, key.key));
    }
    return {keys.begin(), keys.end()};
}

}  // namespace mailgate
