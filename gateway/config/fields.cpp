// SPDX-License-Identifier: Apache-2.0
#include "gateway/config/fields.h"

#include "gateway/config/values.h"
#include "protocols/mail_protocol.h"
#include "store/backends/fleet.h"
#include "store/rules/rule.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <array>
#include <iterator>

namespace mailgate::config {

namespace {

using namespace std::chrono_literals;
using std::chrono::milliseconds;

constexpr Change kReload = Change::Reload;
constexpr Change kRestart = Change::Restart;

constexpr milliseconds kShortest = 1ms;
constexpr milliseconds kLongest = 7 * 24h;
// More often would be a load of its own.
constexpr milliseconds kShortestInterval = 100ms;
// The longest v1 line (107 bytes) must fit, and no server known takes more than Dovecot.
// Shorter, and what was done on Friday could not be undone on Monday.
constexpr milliseconds kShortestTrail = 7 * 24h;
// In the fleet's database records are kept in days.
constexpr milliseconds kShortestDays = 24h;
constexpr std::size_t kSmallestMaxHeader = 107;
constexpr std::size_t kLargestMaxHeader = 1500;
constexpr std::size_t kSmallestJournal = std::size_t{16} << 20;
constexpr std::size_t kLargestSize = std::size_t{1} << 44;

// ---- how values are written

std::string asText(std::string_view text) {
    return fmt::format("\"{}\"", text);
}

/// The type of a member, for members that are no arrays.
template <auto Member>
struct MemberOf;
template <typename T, typename V, V T::*Member>
struct MemberOf<Member> {
    using Struct = T;
    using Value = V;
};
template <auto Member>
using StructOf = typename MemberOf<Member>::Struct;

/// A key with a reader of its own; `show` may be missing where Field::without says what holds without it.
template <auto Member>
Kind<StructOf<Member>> own(std::string type,
                           void (*read)(Reading&, TableReader&, std::string_view, StructOf<Member>&),
                           std::function<std::string(const StructOf<Member>&)> show = {}) {
    using T = StructOf<Member>;
    return {std::move(type), read, [](const T& a, const T& b) { return a.*Member == b.*Member; },
            std::move(show)};
}

template <auto Member>
Kind<StructOf<Member>> ownText(std::string type,
                               void (*read)(Reading&, TableReader&, std::string_view, StructOf<Member>&)) {
    return own<Member>(std::move(type), read,
                       [](const StructOf<Member>& config) { return asText(config.*Member); });
}

template <auto Member>
Kind<StructOf<Member>> kindOf(std::string type,
                              std::function<void(TableReader&, std::string_view, StructOf<Member>&)> read,
                              std::function<std::string(const StructOf<Member>&)> show) {
    using T = StructOf<Member>;
    return {std::move(type),
            [read = std::move(read)](Reading&, TableReader& table, std::string_view key, T& config) {
                read(table, key, config);
            },
            [](const T& a, const T& b) { return a.*Member == b.*Member; }, std::move(show)};
}

template <auto Member>
auto name() {
    using T = StructOf<Member>;
    return Kind<T>{"name",
                   [](Reading& reading, TableReader& table, std::string_view key, T& config) {
                       reading.names->read(table, key, config.*Member);
                   },
                   [](const T& a, const T& b) { return a.*Member == b.*Member; },
                   {}};
}

template <auto Member>
auto text() {
    using T = StructOf<Member>;
    return kindOf<Member>(
        "text", [](TableReader& table, std::string_view key, T& config) { table.text(key, config.*Member); },
        [](const T& config) { return asText(config.*Member); });
}

template <auto Member>
auto boolean() {
    using T = StructOf<Member>;
    return kindOf<Member>(
        "boolean",
        [](TableReader& table, std::string_view key, T& config) { table.boolean(key, config.*Member); },
        [](const T& config) { return std::string(config.*Member ? "true" : "false"); });
}

template <auto Member>
auto number(std::int64_t low, std::int64_t high) {
    using T = StructOf<Member>;
    using Value = typename MemberOf<Member>::Value;
    return kindOf<Member>(
        fmt::format("{} to {}", low, high),
        [low, high](TableReader& table, std::string_view key, T& config) {
            auto value = static_cast<std::int64_t>(config.*Member);
            table.integer(key, value, low, high);
            config.*Member = static_cast<Value>(value);
        },
        [](const T& config) { return fmt::to_string(config.*Member); });
}

template <auto Member>
auto size(std::size_t low, std::size_t high) {
    using T = StructOf<Member>;
    return kindOf<Member>(
        high == kLargestSize ? fmt::format("{} or more", formatSize(low))
                             : fmt::format("{} to {} bytes", low, high),
        [low, high](TableReader& table, std::string_view key, T& config) {
            std::size_t value = config.*Member;
            table.size(key, value, low, high);
            config.*Member = value;
        },
        [](const T& config) {
            const std::string size = formatSize(config.*Member);
            return size.ends_with('B') ? asText(size) : size;
        });
}

std::string typeOfDuration(milliseconds low, milliseconds high) {
    if (high != kLongest) return fmt::format("{} to {}", formatDuration(low), formatDuration(high));
    return low <= kShortest ? "duration" : fmt::format("{} or more", formatDuration(low));
}

template <auto Member>
auto duration(milliseconds low, milliseconds high = kLongest) {
    using T = StructOf<Member>;
    return kindOf<Member>(
        typeOfDuration(low, high),
        [low, high](TableReader& table, std::string_view key, T& config) {
            table.duration(key, config.*Member, low, high);
        },
        [](const T& config) { return asText(formatDuration(config.*Member)); });
}

template <typename Words>
std::string typeOfWords(const Words& words) {
    std::vector<std::string> shown;
    shown.reserve(std::size(words));
    for (const auto& each : words)
        shown.push_back(fmt::format("`{}`", each.word));
    return fmt::format("{}", fmt::join(shown, ", "));
}

template <typename Value, typename Words>
std::string wordFor(Value value, const Words& words) {
    for (const Word<Value>& each : words) {
        if (each.value == value) return asText(each.word);
    }
    return {};
}

/// A text among the options of a listener's TLS.
template <typename Options>
Kind<ListenerConfig> ofTls(std::string type,
                           void (*read)(Reading&, TableReader&, std::string_view, ListenerConfig&),
                           std::string Options::*member) {
    using L = ListenerConfig;
    return {std::move(type), read,
            [member](const L& a, const L& b) { return a.tls_options.*member == b.tls_options.*member; },
            [member](const L& listener) { return asText(listener.tls_options.*member); }};
}

/// A member among the options of an upstream's TLS.
template <typename Value>
Kind<UpstreamConfig> ofServerTls(std::string type,
                                 void (*read)(Reading&, TableReader&, std::string_view, UpstreamConfig&),
                                 Value TlsClientOptions::*member, std::string shown) {
    using U = UpstreamConfig;
    return {std::move(type), read,
            [member](const U& a, const U& b) { return a.tls_options.*member == b.tls_options.*member; },
            [shown = std::move(shown)](const U&) { return shown; }};
}

/// `words` and `hints` must last.
template <auto Member, typename Words>
auto choice(const Words& words, std::string type = {}, std::span<const WordHint> hints = {}) {
    using T = StructOf<Member>;
    using Value = typename MemberOf<Member>::Value;
    return kindOf<Member>(
        type.empty() ? typeOfWords(words) : std::move(type),
        [&words, hints](TableReader& table, std::string_view key, T& config) {
            table.choice<Value>(key, config.*Member, words, hints);
        },
        [&words](const T& config) { return wordFor(config.*Member, words); });
}

/// No server may hang up on a silent client sooner than its protocol promises.
Kind<Timeouts> idle(const ProtocolTraits& protocol) {
    const auto index = static_cast<std::size_t>(protocol.protocol);
    return {
        typeOfDuration(protocol.idle_floor, kLongest),
        [index, &protocol](Reading&, TableReader& table, std::string_view key, Timeouts& timeouts) {
            auto& idle = timeouts.idle[index];
            if (!table.duration(key, idle, kShortest, kLongest) || idle >= protocol.idle_floor) return;
            table.error(
                key,
                fmt::format("expected at least {}, found {}: {} allows a client to be silent that long",
                            formatDuration(protocol.idle_floor), formatDuration(idle), protocol.idle_source));
        },
        [index](const Timeouts& a, const Timeouts& b) { return a.idle[index] == b.idle[index]; },
        [index](const Timeouts& timeouts) { return asText(formatDuration(timeouts.idle[index])); }};
}

std::string meaningOfIdle(const ProtocolTraits& protocol, bool mail) {
    const std::string floor =
        protocol.idle_source.empty() ? "no minimum" : fmt::format("floor: {}", protocol.idle_source);
    return fmt::format("nothing moves in either direction; {}{}", floor,
                       mail ? "; while the reply to a message is due, ten and a half minutes at least" : "");
}

// ---- the words

constexpr auto kProtocols = [] {
    std::array<Word<Protocol>, std::size(kProtocolWords)> words{};
    for (std::size_t i = 0; i < words.size(); ++i)
        words[i] = {kProtocolWords[i], static_cast<Protocol>(i)};
    return words;
}();
constexpr WordHint kProtocolHints[] = {
    {"smtps", "that is protocol = \"smtp\" with tls = \"implicit\" or \"passthrough\""},
    {"imaps", "that is protocol = \"imap\" with tls = \"implicit\" or \"passthrough\""},
    {"pop3s", "that is protocol = \"pop3\" with tls = \"implicit\" or \"passthrough\""},
    {"submissions", "that is protocol = \"smtp\" with tls = \"implicit\" or \"passthrough\""},
    {"submission", "that is protocol = \"smtp\""},
    {"esmtp", "that is protocol = \"smtp\""},
    {"imap4", "that is protocol = \"imap\""},
    {"pop", "that is protocol = \"pop3\""},
    {"managesieve", "that is protocol = \"sieve\""},
};
constexpr Word<LogFormat> kLogFormats[] = {{"json", LogFormat::Json}, {"logfmt", LogFormat::Logfmt}};
constexpr Word<LogLevel> kLogLevels[] = {{"debug", LogLevel::Debug},
                                         {"information", LogLevel::Information},
                                         {"warning", LogLevel::Warning},
                                         {"error", LogLevel::Error},
                                         {"critical", LogLevel::Critical}};
constexpr Word<ProxyMode> kProxyModes[] = {
    {"off", ProxyMode::Off}, {"mixed", ProxyMode::Mixed}, {"require", ProxyMode::Require}};
constexpr Word<AccessDefault> kAccessDefaults[] = {{"allowlist", AccessDefault::Allowlist},
                                                   {"open", AccessDefault::Open}};
constexpr Word<ListenerMode> kListenerModes[] = {{toString(ListenerMode::Enforce), ListenerMode::Enforce},
                                                 {toString(ListenerMode::Soft), ListenerMode::Soft},
                                                 {toString(ListenerMode::Monitor), ListenerMode::Monitor}};
constexpr Word<SendProxy> kSendProxy[] = {
    {"v2", SendProxy::V2}, {"v1", SendProxy::V1}, {"off", SendProxy::Off}};
constexpr Word<Balance> kBalances[] = {
    {"roundrobin", Balance::RoundRobin}, {"leastconn", Balance::LeastConn}, {"source", Balance::Source}};

constexpr std::string_view kNeeded = "needed";
constexpr std::string_view kNone = "none";

/// What has no member of its own: a change of it is one of the listeners and upstreams.
Kind<Config> throughOthers(std::string type,
                           std::function<void(Reading&, TableReader&, std::string_view, Config&)> read) {
    return {std::move(type), std::move(read), [](const Config&, const Config&) { return true; }, {}};
}

/// Values are read, and judged, with those who have none of their own.
template <typename Struct>
const toml::table* readDefaults(TableReader& parent, std::string_view key, const Fields<Struct>& fields,
                                std::initializer_list<std::string_view> each_has_its_own) {
    TableReader table = parent.table(key);
    for (const std::string_view own : each_has_its_own)
        table.applies(own, false, fmt::format("has no default: each {} needs its own", key));
    for (const Field<Struct>& field : fields)
        table.know(field.key);
    table.rejectUnknown();
    return table.table();
}

}  // namespace

// ---- the tables

using C = Config;
const Fields<Config>& rootFields() {
    static const Fields<Config> fields{
        {"include", throughOthers("path or array", readInclude), kReload,
         "further files, relative to this one; `*`, `?` and `[…]` in the last part stand for several, which "
         "are read in the order of their names; before the first table; see below",
         kNone},
        {"networks", throughOthers("table of networks", readNetworkLists), kReload,
         "lists of networks by name: `balancers = [\"10.0.0.8\", \"10.0.0.9\"]` is what `\"@balancers\"` "
         "stands "
         "for wherever networks are listed",
         kNone},
    };
    return fields;
}

const Fields<Config>& defaultsFields() {
    static const Fields<Config> fields{
        {"listener",
         throughOthers(
             "table",
             [](Reading& reading, TableReader& table, std::string_view key, Config&) {
                 reading.listener_defaults = readDefaults(table, key, listenerFields(), {"name", "address"});
             }),
         kReload,
         "keys of `[[listener]]` but `name` and `address`, for all that do not say otherwise and where they "
         "have a meaning",
         kNone},
        {"upstream",
         throughOthers(
             "table",
             [](Reading& reading, TableReader& table, std::string_view key, Config&) {
                 reading.upstream_defaults = readDefaults(table, key, upstreamFields(), {"name", "server"});
             }),
         kReload, "likewise keys of `[[upstream]]` but `name` and `server`", kNone},
    };
    return fields;
}

const Fields<Config>& gatewayFields() {
    static const Fields<Config> fields{
        {"name", own<&C::name>("host name", readHostName), kReload, "in refusals, logs and session ids",
         "the host's"},
        {"workers", number<&C::workers>(0, 1'024), kRestart,
         "threads that carry sessions; 0: one per processor that may be used (affinity mask, `CPUQuota=`, "
         "`docker --cpus`)"},
        {"max_sessions", number<&C::max_sessions>(1, 10'000'000), kReload,
         "more are refused with \"try again later\"; refused clients take none of these places"},
        {"drain_timeout", duration<&C::drain_timeout>(0ms), kReload,
         "how long sessions may go on after SIGTERM; `\"0s\"`: not at all"},
        {"user", text<&C::user>(), kRestart, "drop to this user after binding; empty: stay"},
    };
    return fields;
}

const Fields<Config>& storeFields() {
    static const Fields<Config> fields{
        {"url", ownText<&C::store_url>("`sqlite:PATH`", readStoreUrl), kRestart,
         "the database of access rules"},
    };
    return fields;
}

using R = RulesConfig;
const Fields<RulesConfig>& rulesFields() {
    static const Fields<RulesConfig> fields{
        {"keep_expired", duration<&R::keep_expired>(kShortestKeep, kLongestKeep), kReload,
         "how long rules are kept after they have expired; then the gateway removes them, which the history "
         "records"},
        {"keep_audit", duration<&R::keep_audit>(kShortestTrail, kLongestKeep), kReload,
         "how long `mailgate access history` reaches back, and `undo`; what is older is deleted up to a day "
         "later"},
        {"warn_expiry", duration<&R::warn_expiry>(0ms, kLongestKeep), kReload,
         "how long before a rule expires a warning comes (`access.expiring` in the log, a metric, `mailgate "
         "status`), for rules that live shorter in their last quarter; not for the rules of programs; "
         "`\"0s\"`: none"},
    };
    return fields;
}

using F = FleetConfig;
const Fields<FleetConfig>& fleetFields() {
    static const Fields<FleetConfig> fields{
        {"url",
         own<&F::url>("`postgresql://USER@HOST/DATABASE`", readFleetUrl,
                      [](const FleetConfig& fleet) {  // never with its password
                          return asText(fleet.url.empty() ? "" : store::describeFleetUrl(fleet.url).shown);
                      }),
         kRestart,
         "the database where gateways that share their rules meet (docs/fleet.md); empty: this "
         "gateway has "
         "its rules for itself. `sslmode=verify-full` holds unless the URL says otherwise, or its host is a "
         "Unix socket "
         "or a loopback address; a password belongs into libpq's password file rather than here"},
        {"poll", duration<&F::poll>(kShortestInterval, 60s), kRestart,
         "how often it is asked for changes; where it notifies of them they come sooner"},
        {"ticket_secret", ownText<&F::ticket_secret>("path", readTicketSecret), kRestart,
         "a file with a secret that all gateways of the fleet have (mode 0640 or 0600): with it a TLS client "
         "that comes back resumes its session at each of them (docs/fleet.md); empty: at the gateway where "
         "it "
         "was"},
        {"journal", boolean<&F::journal>(), kRestart,
         "write what `[journal]` keeps to that database too, within a second or so"},
        {"journal_keep", duration<&F::journal_keep>(kShortestDays, kLongestKeep), kRestart,
         "how long sessions are kept there, in whole days; of what gateways ask for the longest counts"},
        {"journal_keep_refused", duration<&F::journal_keep_refused>(kShortestDays, kLongestKeep), kRestart,
         "the same for refused clients"},
    };
    return fields;
}

using J = JournalConfig;
const Fields<JournalConfig>& journalFields() {
    static const Fields<JournalConfig> fields{
        {"enabled", boolean<&J::enabled>(), kRestart,
         "keep sessions and mail transactions for `mailgate sessions` and `mailgate top`"},
        {"url", ownText<&J::url>("`sqlite:PATH`", readJournalUrl), kRestart,
         "its database; not that of the access rules"},
        {"keep", duration<&J::keep>(kShortestKeep, kLongestKeep), kRestart,
         "how long sessions are kept; they are deleted in groups, up to a day later"},
        {"keep_refused", duration<&J::keep_refused>(kShortestKeep, kLongestKeep), kRestart,
         "the same for refused clients"},
        {"max_size", size<&J::max_bytes>(kSmallestJournal, kLargestSize), kRestart,
         "size of the files; beyond it refused clients are deleted first, until they are a fifth of it, then "
         "the oldest sessions"},
        {"mask_after", own<&J::mask_after>("1h to 3650d, `\"\"`", readMaskAfter), kRestart,
         "how long the host part of client addresses is kept (IPv4 /24 and IPv6 /48 stay), see below; "
         "`\"\"`: as long as the session",
         "`\"\"`"},
    };
    return fields;
}

using T = Timeouts;
const Fields<Timeouts>& timeoutFields() {
    static const Fields<Timeouts> fields{
        // Below 3 s a balancer's first retransmission is late already; beyond 30 s silent connections pile up.
        {"proxy_header", duration<&T::proxy_header>(3s, 30s), kReload,
         "from accept to the end of the PROXY header"},
        {"tls_handshake", duration<&T::tls_handshake>(kShortest), kReload,
         "from the end of the PROXY header, or from accept, to the end of a client's TLS handshake"},
        {"connect", duration<&T::connect>(kShortest), kReload, "for one server to accept the connection"},
        {"greeting", duration<&T::greeting>(kShortest), kReload,
         "from the connection to the server's first line"},
        {"hold", duration<&T::hold>(0ms), kReload,
         "how long a client waits while no server is up, or while those that there are end its connections "
         "without a word: it tries again once a second"},
        {"half_close", duration<&T::half_close>(kShortest), kReload,
         "how long nothing may move after one side has ended"},
    };
    return fields;
}

const Fields<Timeouts>& idleFields() {
    static const Fields<Timeouts> fields = [] {
        Fields<Timeouts> rows;
        for (const Word<Protocol>& each : kProtocols) {
            const ProtocolTraits& protocol = traitsOf(each.value);
            rows.push_back(
                {each.word, idle(protocol), kReload, meaningOfIdle(protocol, transfersMail(each.value))});
        }
        return rows;
    }();
    return fields;
}

const Fields<LogConfig>& logFields() {
    static const Fields<LogConfig> fields{
        {"format", choice<&LogConfig::format>(kLogFormats), kReload, "how a line is written"},
        {"target",
         ownText<&LogConfig::target>("`stderr`, `syslog`, `syslog:SOCKET`, `file:PATH`", readLogTarget),
         kReload, "`syslog` is `syslog:/dev/log`; a file is created with mode 0640 and reopened on SIGUSR1"},
        {"level", choice<&LogConfig::level>(kLogLevels), kReload, "less important events are not written"},
    };
    return fields;
}

const Fields<AdminConfig>& adminFields() {
    static const Fields<AdminConfig> fields{
        {"socket", ownText<&AdminConfig::socket>("path", readSocket), kRestart,
         "Unix socket that the command line talks to, mode 0660; empty: none"},
        {"http", ownText<&AdminConfig::http>("address", readHttpAddress), kRestart,
         "metrics and health, read only and without authentication; empty: none"},
    };
    return fields;
}

using Console = ConsoleConfig;
const Fields<ConsoleConfig>& consoleFields() {
    static const Fields<ConsoleConfig> fields{
        {"address", ownText<&Console::address>("address", readConsoleAddress), kRestart,
         "where the console and its API are served, such as `127.0.0.1:8026`; empty: nowhere"},
        {"certificates", own<&Console::certificates>("array of tables", readConsoleCertificates), kRestart,
         "as `listener.certificates`: with them it speaks TLS, and new files are taken up as they come; "
         "needed unless the "
         "address is this host's alone",
         kNone},
        {"insecure", own<&Console::insecure_accepted>("`accepted`", readInsecure), kRestart,
         "must be set where others than this host can connect and there are no certificates: behind a proxy "
         "on a network of "
         "its own, for instance",
         kNone},
        {"trusted_proxies", own<&Console::trusted_proxies>("network or array", readTrustedProxies), kRestart,
         "reverse proxies whose `X-Forwarded-For` and `user_header` are believed", kNone},
        {"user_header", ownText<&Console::user_header>("header field", readUserHeader), kRestart,
         "in which a trusted proxy says who has logged in with it, such as `X-Remote-User`: the name of an "
         "account, which needs no "
         "password then; empty: none. The proxy must remove it from what clients send"},
        {"base_url", ownText<&Console::base_url>("URL", readBaseUrl), kRestart,
         "what people enter in the browser where that is neither an address nor `gateway.name`, such as "
         "`https://console.example.net`: a page of any other name is answered with 421 unless the console "
         "has "
         "`certificates`"},
    };
    return fields;
}

using L = ListenerConfig;
const Fields<ListenerConfig>& listenerFields() {
    static const Fields<ListenerConfig> fields{
        {"name", name<&L::name>(), kReload, "in rules, logs and commands; unique", kNeeded,
         "missing: a name is needed"},
        {"protocol", choice<&L::protocol>(kProtocols, {}, kProtocolHints), kReload, "what the clients speak",
         kNeeded, "missing: the protocol that the clients speak"},
        {"address", own<&L::addresses>("address or array", readAddresses), kReload,
         "`\"0.0.0.0:25\"`, `\"[::]:25\"` (takes IPv4 too unless 0.0.0.0 is bound on the port); each once",
         kNeeded},
        {"proxy", choice<&L::proxy>(kProxyModes), kReload, "whose PROXY header is read, see below"},
        {"trusted",
         Kind<L>{
             "network or array",
             readTrusted,
             [](const L& a, const L& b) { return a.trusted == b.trusted && a.trusted_tls == b.trusted_tls; },
             {}},
         kReload,
         "the balancers; required unless proxy is off, and an error if it is. `{ network = \"10.0.0.9\", tls "
         "= "
         "true }`: one that ends TLS and whose header cannot say so",
         kNone},
        {"access", choice<&L::access>(kAccessDefaults), kReload,
         "what happens to a client that no rule matches"},
        {"mode", choice<&L::mode>(kListenerModes), kReload,
         "`soft`: refusals are temporary (SMTP 450 in place of 554); `monitor`: whom rules, limits or "
         "`bare_lf` would refuse is served, and recorded; see below"},
        {"refusal_footer", ownText<&L::refusal_footer>("text", readRefusalFooter), kReload,
         "ends the reply to a client that rules, limits or `bare_lf` refuse: whom to ask; `$client`: its "
         "address, `$id`: the session, `$rule_note`: the note of a rule that shows it; see below"},
        {"tls",
         own<&L::tls>(typeOfWords(kListenerTls), readListenerTls,
                      [](const L& listener) { return wordFor(listener.tls, kListenerTls); }),
         kReload,
         "TLS from the first byte (ports 465, 993, 995): passthrough, end to end, or implicit, where it ends "
         "here. "
         "starttls: clients begin in the clear and are offered STARTTLS, which ends here"},
        {"tls_required", own<&L::tls_required>("boolean", readTlsRequired), kReload,
         "for `tls = \"starttls\"`: before TLS no mail and no password is taken, and none is offered to be",
         "`true`, but for smtp on port 25"},
        {"certificates", own<&L::certificates>("array of tables", readCertificates), kReload,
         "for `tls = \"implicit\"` and `\"starttls\"`: `{ certificate = FILE, key = FILE, ocsp = FILE }`, "
         "PEM with the chain; "
         "without `key` both are in one file; which one a client gets its server name decides, the first is "
         "for all others. Changed files are noticed",
         kNone},
        {"min_version", ofTls("`1.2`, `1.3`", readMinVersion, &TlsServerOptions::min_version), kReload,
         "of TLS"},
        {"ciphers", ofTls("text", readCiphers, &TlsServerOptions::ciphers), kReload,
         "as OpenSSL spells them, with `:` between, TLS 1.3's among them; empty: forward secrecy with AES or "
         "ChaCha20"},
        {"groups", ofTls("text", readGroups, &TlsServerOptions::groups), kReload,
         "for the key exchange, with `:` between; empty: OpenSSL's choice"},
        {"client_certificates",
         Kind<L>{typeOfWords(kClientCertificates), readClientCertificates,
                 [](const L& a, const L& b) {
                     return a.tls_options.client_certificates == b.tls_options.client_certificates;
                 },
                 [](const L& listener) {
                     return wordFor(listener.tls_options.client_certificates, kClientCertificates);
                 }},
         kReload,
         "ask clients for one: optional notes it in log and journal, required lets nobody in without one of "
         "`client_ca`'s"},
        {"client_ca", ofTls("path", readClientCa, &TlsServerOptions::client_ca), kReload,
         "PEM file of those who issue them", kNone},
        {"bare_lf", own<&L::bare_lf>(typeOfWords(kBareLfPolicies), readBareLf), kReload,
         "message lines that do not end in CR LF, or that some servers take for the end of the message (SMTP "
         "smuggling), in the clear and not in BDAT: converted, a reason to end the session, or passed on "
         "unchanged",
         "`\"normalize\"` for smtp and lmtp"},
        {"bare_lf_exclude", own<&L::bare_lf_exclude>("network or array", readBareLfExclude), kReload,
         "clients of smtp and lmtp whose messages pass as with `bare_lf = \"pass\"`: scanners and scripts "
         "that need it",
         kNone},
        {"log_message_id", own<&L::log_message_id>("boolean", readLogMessageId), kReload,
         "whether log and journal have the Message-ID of messages that mailgate can read, of smtp and lmtp: "
         "those in the "
         "clear, and those in TLS that ends here. It is read in passing, and nothing else of a header is "
         "kept",
         "`true`"},
        {"client_sessions", number<&L::client_sessions>(0, store::kMaxClientLimit), kReload,
         "concurrent sessions of one client; 0: unlimited; see below"},
        {"client_rate", number<&L::client_rate>(0, store::kMaxClientLimit), kReload,
         "new sessions per minute of one client; as many may come at once"},
        {"client_ipv4_prefix", number<&L::client_ipv4_prefix>(8, 32), kReload,
         "the part of an IPv4 address that identifies a client"},
        {"client_ipv6_prefix", number<&L::client_ipv6_prefix>(16, 128), kReload,
         "the same for IPv6, where a /64 usually belongs to one household"},
        {"upstream", own<&L::upstream>("name", readUpstreamName), kReload, "of an `[[upstream]]`", kNeeded,
         "missing: the name of an [[upstream]] is needed"},
    };
    return fields;
}

using U = UpstreamConfig;
const Fields<UpstreamConfig>& upstreamFields() {
    static const Fields<UpstreamConfig> fields{
        {"name", name<&U::name>(), kReload, "unique", kNeeded, "missing: a name is needed"},
        {"send_proxy", choice<&U::send_proxy>(kSendProxy), kReload,
         "the PROXY header that tells the servers who the client is"},
        {"lost_client_address", own<&U::lost_client_address_accepted>("`accepted`", readLostClientAddress),
         kReload, "must be set for `send_proxy = \"off\"`, see below", kNone},
        {"max_header", size<&U::max_header_bytes>(kSmallestMaxHeader, kLargestMaxHeader), kReload,
         "longest header sent; Exim accepts 232 bytes, Postfix 536, Dovecot 1500"},
        {"pass_tlvs", boolean<&U::pass_tlvs>(), kReload,
         "v2: pass on the balancer's SSL, AUTHORITY and cloud TLVs where they fit; never ALPN, which Dovecot "
         "2.4 would take for its own"},
        {"balance", choice<&U::balance>(kBalances), kReload, "how a server is chosen, see below"},
        {"check", boolean<&U::check>(), kReload, "health checks of the servers; see below"},
        {"check_protocol", choice<&U::check_protocol>(kProtocols, "as `listener.protocol`"), kReload,
         "what a check speaks; `tcp` connects only, which is the default for TLS passed through",
         "the listeners'"},
        {"interval", duration<&U::interval>(kShortestInterval), kReload,
         "between checks of one server, plus or minus a tenth"},
        {"check_timeout", duration<&U::check_timeout>(kShortest), kReload,
         "for each step of a check; never less than `timeouts.connect` and `timeouts.greeting`"},
        {"fall", number<&U::fall>(1, 100), kReload,
         "consecutive failed checks, or sessions that could not connect, that take a server down"},
        {"rise", number<&U::rise>(1, 100), kReload, "consecutive successful checks that bring it back"},
        {"slow_start", duration<&U::slow_start>(0ms), kReload,
         "how long a server that is back gets a reduced share: a tenth at first, then growing"},
        {"resolve_interval", duration<&U::resolve_interval>(kShortestInterval), kReload,
         "how often a server's host name is resolved again"},
        {"tls",
         own<&U::tls>(typeOfWords(kUpstreamTls), readUpstreamTls,
                      [](const U& upstream) { return wordFor(upstream.tls, kUpstreamTls); }),
         kReload,
         "what is spoken with the servers, behind the PROXY header, which goes first and in the clear. "
         "implicit: TLS from the first byte (Postfix: `smtpd_tls_wrappermode`, Dovecot: `ssl = yes` in the "
         "inet_listener); starttls: it is asked for before the client gets the greeting; mirror: it is asked "
         "for when the client asks for it, and before that for clients whose TLS has begun already"},
        {"tls_verify",
         ofServerTls(typeOfWords(kTlsVerify), readTlsVerify, &TlsClientOptions::verify, asText("on")),
         kReload, "whether a server's certificate has to be of `ca`'s and for its name; off is warned of"},
        {"ca", ofServerTls("`system`, path", readTrustedCa, &TlsClientOptions::ca, asText("system")), kReload,
         "who issues the servers' certificates: those whom the system trusts, or those of a PEM file, whose "
         "change is noticed"},
        {"server_name", ownText<&U::server_name>("host name or address", readUpstreamServerName), kReload,
         "whom the servers' certificates must be for, and what they are asked for (SNI)",
         "each server's own, or its `address`"},
        {"client_certificate", own<&U::client_certificate>("table", readClientCertificate), kReload,
         "`{ certificate = FILE, key = FILE }`, as `listener.certificates`: for servers that ask for one",
         kNone},
    };
    return fields;
}

using S = ServerConfig;
const Fields<ServerConfig>& serverFields() {
    static const Fields<ServerConfig> fields{
        {"name", name<&S::name>(), kReload, "unique in its upstream", kNeeded, "missing: a name is needed"},
        // What a name stands for at the moment is no change of the file.
        {"address", own<&S::address>("`HOST:PORT`", readServerAddress), kReload,
         "all addresses of a host name are used (64 per upstream); a name that cannot be resolved is a "
         "warning, and is tried again",
         kNeeded, "missing: expected \"HOST:PORT\""},
        {"weight", number<&S::weight>(1, 100), kReload, "its share among the servers"},
        {"backup", boolean<&S::backup>(), kReload, "used only while no other server is up"},
        {"server_name", ownText<&S::server_name>("host name or address", readServerName), kReload,
         "whom its certificate must be for", "the upstream's"},
    };
    return fields;
}

// ---- for documents

namespace {

std::string_view aboutTable(std::string_view path) {
    if (path == "timeouts.idle")
        return "How long nothing may move in either direction. The minimum is what the protocol requires: "
               "less is an error.";
    if (path == "listener")
        return "One for each service that clients, or the balancers in front of them, connect to.";
    if (path == "upstream") return "One for each group of equal servers.";
    return "";
}

template <typename Struct>
DescribedTable describe(const std::string& path, bool array, const Fields<Struct>& fields) {
    DescribedTable table{path, std::string(aboutTable(path)), array, {}};
    for (const Field<Struct>& field : fields) {
        Described row{std::string(field.key), field.kind.type, std::string(field.without), field.meaning,
                      field.change};
        if (row.without.empty()) row.without = fmt::format("`{}`", field.kind.show(Struct{}));
        table.keys.push_back(std::move(row));
    }
    return table;
}

}  // namespace

std::vector<DescribedTable> describeTables() {
    std::vector<DescribedTable> tables;
    forEachSection([&](std::string_view path, const auto& fields, auto) {
        tables.push_back(describe(std::string(path), false, fields));
    });
    tables.push_back(describe("listener", true, listenerFields()));
    tables.push_back(describe("upstream", true, upstreamFields()));
    tables.push_back(describe("upstream.server", true, serverFields()));
    return tables;
}

}  // namespace mailgate::config
