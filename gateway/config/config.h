// SPDX-License-Identifier: Apache-2.0
/// \file  The configuration as typed values. Immutable once loaded; shared by const reference.
///
/// Their spelling, limits and meaning are in fields.cpp.
#pragma once

#include "gateway/config/places.h"
#include "gateway/config/sources.h"
#include "gateway/log/log_config.h"
#include "gateway/tls/client_context.h"
#include "gateway/tls/server_context.h"
#include "protocols/stream/stream_filter.h"
#include "protocols/values/address.h"
#include "protocols/values/network.h"
#include "protocols/values/protocol.h"

#include <algorithm>
#include <array>
#include <chrono>
#include <cstdint>
#include <iterator>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace mailgate {

enum class ProxyMode : std::uint8_t {
    Off,      ///< no headers: the peer is the client
    Mixed,    ///< a trusted peer must send a header; anybody else is a direct client, never parsed
    Require,  ///< only trusted peers, and they must send a header
};
enum class AccessDefault : std::uint8_t { Allowlist, Open };
/// What becomes of a client that a listener's policy refuses (isPolicy()).
enum class ListenerMode : std::uint8_t {
    Enforce,  ///< it is refused
    Soft,     ///< likewise, and no refusal of the listener is permanent
    Monitor,  ///< it is served; what would have been said is recorded
};
constexpr std::string_view toString(ListenerMode mode) noexcept {
    constexpr std::string_view kWords[] = {"enforce", "soft", "monitor"};
    return kWords[static_cast<std::size_t>(mode)];
}
enum class SendProxy : std::uint8_t { Off, V1, V2 };
enum class Balance : std::uint8_t { RoundRobin, LeastConn, Source };
/// What the clients of a listener speak from their first byte on.
enum class ListenerTls : std::uint8_t {
    Off,          ///< the protocol in the clear (STARTTLS may follow, end to end)
    Passthrough,  ///< TLS from the first byte (ports 465, 993, 995), end to end: opaque, closed silently
    Implicit,     ///< TLS from the first byte, which ends here; behind it the protocol in the clear
    StartTls,     ///< the protocol in the clear; STARTTLS is offered and answered here, and TLS ends here
};

/// What the gateway speaks with the servers of an upstream, behind the PROXY header.
enum class UpstreamTls : std::uint8_t {
    Off,       ///< the protocol in the clear (STARTTLS may follow, end to end)
    Implicit,  ///< TLS from the first byte behind the header
    StartTls,  ///< ... or once the server has greeted and consented to STARTTLS
    Mirror,    ///< ... where the client has TLS, and the protocol in the clear until it has
};

struct ListenerConfig {
    std::string name;
    Places places;  ///< of what TLS needs
    Protocol protocol = Protocol::Tcp;
    std::vector<Endpoint>
        addresses;  ///< one or more; [::] takes IPv4 too unless 0.0.0.0 is bound on the same port
    ProxyMode proxy = ProxyMode::Off;
    std::vector<Network> trusted;  ///< balancers whose header is believed; required unless proxy is off
    std::vector<Network>
        trusted_tls;  ///< of those: behind these all clients use TLS, whatever the header says
    AccessDefault access = AccessDefault::Allowlist;
    ListenerMode mode = ListenerMode::Enforce;
    std::string refusal_footer;  ///< ends the replies of isPolicy(); fits (footerFits())
    ListenerTls tls = ListenerTls::Off;
    std::vector<CertificateFiles> certificates;  ///< where TLS ends, which needs one; the first by default
    TlsServerOptions tls_options;                ///< likewise
    bool tls_required = false;                   ///< for tls = StartTls: no mail and no password before TLS
    BareLfPolicy bare_lf = BareLfPolicy::Pass;  ///< default: Normalize for smtp and lmtp, which alone have it
    std::vector<Network> bare_lf_exclude;       ///< their messages pass as they come
    bool log_message_id = true;                 ///< smtp and lmtp: it is read from the headers of messages
    std::uint32_t client_sessions = 0;          ///< at once from one client; 0: without limit
    std::uint32_t client_rate = 0;              ///< new ones a minute from one client; 0: without limit
    std::uint8_t client_ipv4_prefix = 32;       ///< how much of an address makes a client
    std::uint8_t client_ipv6_prefix = 64;
    std::string upstream;
    std::size_t upstream_index = 0;  ///< into Config::upstreams

    /// TLS of its clients ends here.
    bool endsTls() const noexcept { return tls == ListenerTls::Implicit || tls == ListenerTls::StartTls; }
    /// `balancer` ends the TLS of all its clients.
    bool endedBy(const IpAddress& balancer) const noexcept {
        return std::any_of(trusted_tls.begin(), trusted_tls.end(),
                           [&](const Network& network) { return network.contains(balancer.bytes); });
    }

    BareLfPolicy bareLfFor(const IpAddress& client) const noexcept {
        const auto covers = [&](const Network& network) { return network.contains(client.bytes); };
        return std::any_of(bare_lf_exclude.begin(), bare_lf_exclude.end(), covers) ? BareLfPolicy::Pass
                                                                                   : bare_lf;
    }

    friend bool operator==(const ListenerConfig&, const ListenerConfig&) = default;
};

struct ServerConfig {
    std::string name;
    std::string address;              ///< as written: host:port
    std::vector<Endpoint> endpoints;  ///< resolved when loaded; empty: the name had no answer then
    std::string host{};               ///< the name to resolve again; empty when `address` is a literal
    std::uint16_t port = 0;           ///< of `address`
    std::uint32_t weight = 1;         ///< 1 to 100: its share among the servers of its kind
    bool backup = false;              ///< used only while no other server is up
    std::string server_name{};        ///< as written; empty: the upstream's
    std::string tls_name{};           ///< whom its certificate must be for; where TLS is off, empty

    friend bool operator==(const ServerConfig&, const ServerConfig&) = default;
};

struct UpstreamConfig {
    std::string name;
    Places places;  ///< of what TLS needs
    SendProxy send_proxy = SendProxy::V2;
    bool lost_client_address_accepted = false;  ///< must be set for send_proxy = "off"
    std::size_t max_header_bytes = 536;         ///< of the header sent; 536 is Postfix's limit
    bool pass_tlvs = true;  ///< v2: hand on the balancer's SSL, AUTHORITY and cloud TLVs where they fit
    Balance balance = Balance::RoundRobin;
    bool check = true;                               ///< false: only the sessions show how a server is
    Protocol check_protocol = Protocol::Tcp;         ///< default: that of the listeners that use the upstream
    std::chrono::milliseconds interval{5'000};       ///< between checks of one server
    std::chrono::milliseconds check_timeout{5'000};  ///< for each step of a check; at least as a client's
    std::uint32_t fall = 2;                          ///< failures in a row that take a server down
    std::uint32_t rise = 2;                          ///< good checks in a row that bring it back
    std::chrono::milliseconds slow_start{0};  ///< how long a server that is back gets less than its share
    std::chrono::milliseconds resolve_interval{30'000};  ///< between look-ups of a name
    UpstreamTls tls = UpstreamTls::Off;
    TlsClientOptions tls_options;  ///< for tls other than Off, as all that follows
    std::string server_name;       ///< of all servers that have none of their own; empty: each its address's
    CertificateFiles client_certificate;  ///< what servers get that ask for one; without a file there is none
    std::vector<ServerConfig> servers;

    /// TLS with a server begins with STARTTLS, where it does.
    bool asksForStartTls() const noexcept {
        return tls == UpstreamTls::StartTls || tls == UpstreamTls::Mirror;
    }

    friend bool operator==(const UpstreamConfig&, const UpstreamConfig&) = default;
};

/// By protocol, [Protocol]. Floors and defaults are the protocols' own (ProtocolTraits).
using IdleLimits = std::array<std::chrono::milliseconds, std::size(kProtocolWords)>;
IdleLimits defaultIdleLimits() noexcept;

struct Timeouts {
    std::chrono::milliseconds proxy_header{5'000};    ///< absolute, from accept; 3 s to 30 s
    std::chrono::milliseconds tls_handshake{10'000};  ///< absolute, behind the PROXY header
    std::chrono::milliseconds connect{5'000};
    std::chrono::milliseconds greeting{30'000};  ///< from the connection to the server's first line
    std::chrono::milliseconds hold{15'000};
    std::chrono::milliseconds half_close{30'000};
    IdleLimits idle = defaultIdleLimits();

    std::chrono::milliseconds idleFor(Protocol protocol) const noexcept {
        return idle[static_cast<std::size_t>(protocol)];
    }

    friend bool operator==(const Timeouts&, const Timeouts&) = default;
};

struct JournalConfig {
    bool enabled = true;
    std::string url = "sqlite:mailgate-journal.db";  ///< with an absolute path once loaded
    std::chrono::milliseconds keep{std::chrono::hours(90 * 24)};
    std::chrono::milliseconds keep_refused{std::chrono::hours(14 * 24)};
    std::uint64_t max_bytes = std::uint64_t{10} << 30;  ///< of its files
    /// After this time client addresses lose their host part; absent: never.
    std::optional<std::chrono::milliseconds> mask_after;

    friend bool operator==(const JournalConfig&, const JournalConfig&) = default;
};

struct RulesConfig {
    std::chrono::milliseconds keep_expired{std::chrono::hours(90 * 24)};  ///< rules, after they have expired
    std::chrono::milliseconds keep_audit{std::chrono::hours(3 * 365 * 24)};
    std::chrono::milliseconds warn_expiry{std::chrono::hours(3 * 24)};  ///< how long before; 0: no warnings

    friend bool operator==(const RulesConfig&, const RulesConfig&) = default;
};

/// The gateways that share their rules meet in a database.
struct FleetConfig {
    std::string url;  ///< postgresql://…, which may hold a password; empty: there is no fleet
    std::chrono::milliseconds poll{500};  ///< between looks at the version of its rules
    /// The file of the secret with which keys of session tickets are shared; empty: they are not.
    std::string ticket_secret;
    bool journal = true;  ///< the journal goes there, too
    /// How long it is kept there.
    std::chrono::milliseconds journal_keep{std::chrono::hours(90 * 24)},
        journal_keep_refused{std::chrono::hours(14 * 24)};

    friend bool operator==(const FleetConfig&, const FleetConfig&) = default;
};

struct AdminConfig {
    std::string socket = "mailgate.sock";  ///< Unix socket, with an absolute path once loaded; empty: none
    std::string http;                      ///< host:port for metrics, read only; empty: none

    friend bool operator==(const AdminConfig&, const AdminConfig&) = default;
};

struct ConsoleConfig {
    std::string address;                         ///< host:port, an IP address; empty: there is no console
    std::vector<CertificateFiles> certificates;  ///< none: it speaks HTTP in the clear
    bool insecure_accepted = false;        ///< must be set for that where others than this host can connect
    std::vector<Network> trusted_proxies;  ///< whose X-Forwarded-For and `user_header` are believed
    std::string user_header;               ///< in which they say who has logged in with them; empty: none
    std::string base_url;  ///< in lower case, "https://gw.example.net:8443"; empty: none but the address
    Places places;         ///< of what TLS needs

    friend bool operator==(const ConsoleConfig&, const ConsoleConfig&) = default;
};

struct Config {
    std::string file;                      ///< as given on the command line
    std::vector<std::string> files{};      ///< that one, and those that were included
    std::vector<std::string> wildcards{};  ///< by which some were included
    config::Sources sources{};             ///< what loadConfig() has read of them
    std::string name;                      ///< in refusals, logs and the unique id; default: the host's name
    unsigned workers = 0;                  ///< 0: one per processor that may be used
    std::size_t max_sessions = 50'000;
    std::chrono::milliseconds drain_timeout{30'000};
    std::string user;
    std::string store_url = "sqlite:mailgate.db";  ///< with an absolute path once loaded
    RulesConfig rules;
    FleetConfig fleet;
    JournalConfig journal;
    LogConfig log;
    AdminConfig admin;
    ConsoleConfig console;
    Timeouts timeouts;
    std::vector<ListenerConfig> listeners;
    std::vector<UpstreamConfig> upstreams;
    std::vector<std::string>
        warnings;  ///< what `mailgate check` prints and `serve` logs, though it is no error
};

}  // namespace mailgate
