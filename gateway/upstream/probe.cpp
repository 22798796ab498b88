// SPDX-License-Identifier: Apache-2.0
#include "gateway/upstream/probe.h"

#include "gateway/io/socket_address.h"
#include "gateway/upstream/probe_connection.h"
#include "protocols/health_dialogue.h"
#include "protocols/proxy/encoder.h"

#include <fmt/format.h>

#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <cstdint>
#include <cstring>
#include <functional>
#include <future>
#include <iterator>
#include <optional>
#include <utility>

namespace mailgate {
namespace {

// Who greets without a header does so by then; shorter than what Dovecot (3 s) and Postfix (5 s) wait for one.
constexpr std::chrono::milliseconds kUnaskedGreeting{2'000};
// How long a server that speaks only TLS has to hang up on a header that it does not take.
constexpr std::chrono::milliseconds kHangUp{2'000};
// The least that a configuration may ask for; the limits of Exim and Postfix; a common buffer; Dovecot's limit.
constexpr std::array<std::size_t, 5> kHeaderSizes{107, 232, 536, 1024, 1500};
// The fixed part of a v2 header with IPv4 addresses, and of a TLV.
constexpr std::size_t kV2Ipv4Bytes = 28;
constexpr std::size_t kTlvHead = 3;

// RFC 8446 B.1: the content type of a server that took the header for the beginning of TLS.
constexpr char kTlsAlert = 21;

/// In TLS or an unknown protocol only one thing shows: whether the server hangs up on the header.
ProbeAnswer awaitHangUp(ProbeConnection& connection) {
    std::string said;
    switch (connection.receive(said)) {
        case ProbeConnection::Got::Nothing:
            return {true, true, ""};
        case ProbeConnection::Got::Bytes:
            if (said.front() != kTlsAlert) return {true, true, ""};
            return {true, false, "answered with a TLS alert", true};
        case ProbeConnection::Got::End:
            return {true, false, "closed the connection"};
        case ProbeConnection::Got::Broken:
            break;
    }
    return {true, false, "reset the connection"};
}

ProbeAnswer converse(ProbeConnection& connection, HealthDialogue& dialogue) {
    std::string said;
    if (!connection.heard().empty()) {
        const HealthDialogue::Step step = dialogue.onBytes(connection.heard());
        if (!step.send.empty()) connection.send(step.send);
        if (step.done) return {true, dialogue.good(), dialogue.reason()};
    }
    while (true) {
        const auto got = connection.receive(said);
        // postscreen's teaser is a welcome; the rest takes postscreen_greet_wait.
        if (got == ProbeConnection::Got::Nothing)
            return dialogue.teasing() ? ProbeAnswer{true, true, ""}
                                      : ProbeAnswer{true, false, "sends nothing"};
        const HealthDialogue::Step step =
            got == ProbeConnection::Got::Bytes ? dialogue.onBytes(said) : dialogue.onEnd();
        if (!step.send.empty()) connection.send(step.send);
        if (step.done)
            return {true, dialogue.good(),
                    got == ProbeConnection::Got::Broken ? "reset the connection" : dialogue.reason()};
    }
}

/// What all attempts at one server have in common.
struct Target {
    const UpstreamConfig& upstream;
    const Endpoint& server;
    const std::string& name;  ///< the gateway's
    PolledConnection::TlsFor tls{};
};

ProbeAnswer tryHeader(const Target& target, const PolledConnection::HeaderFor& header) {
    const Protocol protocol = target.upstream.check_protocol;
    const bool mute = protocol == Protocol::Tcp;
    ProbeConnection connection(mute ? kHangUp : target.upstream.check_timeout);
    if (std::string error = connection.open(target.server, header, target.tls); !error.empty())
        return {true, false, error};
    std::optional<TlsReport> tls;
    if (const TlsTransport* shown = connection.tls()) tls = reportOn(*shown);
    ProbeAnswer answer;
    if (mute) {
        answer = awaitHangUp(connection);
    } else {
        HealthDialogue dialogue(protocol, heloName(target.name, connection.own()));
        answer = converse(connection, dialogue);
    }
    answer.tls = std::move(tls);
    return answer;
}

/// Where TLS comes first nobody greets in the clear: a server that shakes hands without a header expects none.
bool greetsWithoutHeader(const Target& target) {
    ProbeConnection connection(kUnaskedGreeting);
    const auto none = [](const auto&) { return std::string(); };
    if (!connection.open(target.server, none, target.tls).empty()) return false;
    std::string said;
    return connection.receive(said) == ProbeConnection::Got::Bytes;
}

std::string paddedHeader(const proxy::Connection& ends, std::size_t size) {
    // The fixed part follows the family; with IPv6 the padding gives way.
    const bool v4 = ends.source.address.isV4() && ends.destination.address.isV4();
    const std::size_t fixed = (v4 ? kV2Ipv4Bytes : kV2Ipv4Bytes + 24) + kTlvHead;
    const proxy::Tlv padding{static_cast<std::uint8_t>(proxy::TlvType::Noop),
                             std::string(size - fixed, '\0')};
    return proxy::encodeV2(ends, {padding}, false, size);
}

}  // namespace

IpAddress localAddressTowards(const Endpoint& remote) {
    const SocketAddress address(remote);
    const int fd = ::socket(address.family(), SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (fd < 0) return {};
    sockaddr_storage own{};
    socklen_t size = sizeof own;
    // Connecting a datagram socket asks the routing table and sends nothing.
    const bool known = ::connect(fd, address.get(), address.size()) == 0 &&
                       ::getsockname(fd, reinterpret_cast<sockaddr*>(&own), &size) == 0;
    ::close(fd);
    return known ? SocketAddress::toEndpoint(own).address : IpAddress{};
}

ProbeReport probeServer(const UpstreamConfig& upstream, const Endpoint& server, const std::string& name,
                        const std::string& tls_name) {
    ProbeReport report;
    report.endpoint = server;
    report.own = localAddressTowards(server);
    Target target{upstream, server, name};
    {
        ProbeConnection connection(kUnaskedGreeting);
        report.unreachable = connection.open(server, [](const auto&) { return std::string(); });
        if (!report.unreachable.empty()) return report;
        std::string said;
        report.greets_without_header = connection.receive(said) == ProbeConnection::Got::Bytes;
    }
    if (upstream.tls != UpstreamTls::Off) {
        const std::optional<Protocol> starttls =
            upstream.asksForStartTls() ? std::optional(upstream.check_protocol) : std::nullopt;
        target.tls =
            tlsForReport(upstream.tls_options, upstream.client_certificate, tls_name, starttls, name);
        if (!starttls) report.greets_without_header = greetsWithoutHeader(target);
    }
    if (report.greets_without_header) return report;
    // Where only the passing of time says yes, all is tried at once.
    const auto policy = upstream.check_protocol == Protocol::Tcp ? std::launch::async : std::launch::deferred;
    const auto attempt = [&](PolledConnection::HeaderFor header) {
        return std::async(policy,
                          [&target, header = std::move(header)] { return tryHeader(target, header); });
    };
    auto v2 = attempt([](const auto& ends) { return proxy::encodeV2(ends); });
    auto v1 = attempt([](const auto& ends) { return proxy::encodeV1(ends); });
    auto local = attempt([](const auto&) { return proxy::encodeLocal(); });
    std::vector<std::future<ProbeAnswer>> sizes;
    sizes.reserve(std::size(kHeaderSizes));
    for (const std::size_t size : kHeaderSizes)
        sizes.push_back(attempt([size](const auto& ends) { return paddedHeader(ends, size); }));
    report.v2 = v2.get();
    report.v1 = v1.get();
    report.tls = report.v2.tls ? report.v2.tls : report.v1.tls;
    if (!report.v2.accepted && !report.v1.accepted) return report;
    const bool as_v2 = report.v2.accepted && upstream.send_proxy != SendProxy::V1;
    auto tcp6 = attempt([as_v2](const proxy::Connection& ends) {
        const IpAddress loopback = *IpAddress::parse("::1");
        const proxy::Connection v6{{loopback, ends.source.port}, {loopback, ends.destination.port}};
        return as_v2 ? proxy::encodeV2(v6) : proxy::encodeV1(v6);
    });
    report.tcp6 = tcp6.get();
    if (!report.v2.accepted) return report;
    report.local = local.get();
    for (std::size_t at = 0; at < sizes.size(); ++at) {
        const ProbeAnswer answer = sizes[at].get();
        report.larger_reason = answer.reason;
        if (!answer.accepted) break;
        report.largest_header = kHeaderSizes[at];
    }
    return report;
}

std::vector<std::string> adviseOn(const UpstreamConfig& upstream, const ProbeReport& report) {
    const std::string own = report.own.toString();
    const std::string port = std::to_string(report.endpoint.port);
    std::vector<std::string> advice;
    if (!report.unreachable.empty()) {
        return {
            fmt::format("nothing accepts connections at {}: start the server, open its firewall for {}, or "
                        "correct `address` in mailgate's [[upstream.server]]",
                        report.endpoint.toString(), own)};
    }
    if (report.greets_without_header && upstream.send_proxy == SendProxy::Off) {
        return {fmt::format(
            "to this server every client comes from {}: keep that address out of Postfix's mynetworks "
            "and Dovecot's login_trusted_networks, or let the server read PROXY headers and set "
            "send_proxy = \"v2\" in mailgate's [[upstream]]",
            own)};
    }
    if (report.greets_without_header || report.v2.misread) {
        return {fmt::format(
            "port {} of the server does not expect a PROXY header, and mailgate sends one. Postfix, "
            "master.cf: add "
            "\"-o smtpd_upstream_proxy_protocol=haproxy\" to the smtpd of that port (postscreen: \"-o "
            "postscreen_upstream_proxy_protocol=haproxy\"). Dovecot: \"haproxy = yes\" in the inet_listener "
            "of that "
            "port, and {} in haproxy_trusted_networks. `mailgate snippet` prints the lines",
            port, own)};
    }
    if (!report.v1.accepted && !report.v2.accepted && upstream.tls != UpstreamTls::Off && !report.tls) {
        return {fmt::format(
            "the server accepts no PROXY header from {}, or does not speak TLS behind it as tls of "
            "[[upstream]] asks ({}). {}",
            own, report.v2.reason,
            upstream.asksForStartTls()
                ? "Postfix: smtpd_tls_security_level = may or encrypt. Dovecot: ssl = yes"
                : "Postfix, master.cf: \"-o smtpd_tls_wrappermode=yes\" for the smtpd of that port. Dovecot: "
                  "\"ssl = yes\" in the inet_listener of that port")};
    }
    if (!report.v1.accepted && !report.v2.accepted && upstream.check_protocol == Protocol::Tcp) {
        return {fmt::format(
            "the server accepts no PROXY header from {} ({}): it expects none, or none from that address. "
            "Dovecot: "
            "\"haproxy = yes\" in the inet_listener of port {}, and {} in haproxy_trusted_networks. Postfix: "
            "\"-o smtpd_upstream_proxy_protocol=haproxy\" for the smtpd of that port",
            own, report.v2.reason, port, own)};
    }
    if (!report.v1.accepted && !report.v2.accepted) {
        return {fmt::format(
            "the server waits for a PROXY header but accepts none from {} ({}). Dovecot: add {} to "
            "haproxy_trusted_networks. "
            "Postfix: its log says why; smtpd_upstream_proxy_protocol must be \"haproxy\", and "
            "all its processes may "
            "be busy (default_process_limit). mailgate: add {} to trusted of its listener; does the upstream "
            "speak {}?",
            own, report.v2.reason, own, own, toString(upstream.check_protocol))};
    }
    if (report.tls && upstream.tls_options.verify && report.tls->verdict)
        advice.push_back(adviseOn(*report.tls));
    if (upstream.send_proxy == SendProxy::Off)
        advice.emplace_back(
            "the server expects a PROXY header: set send_proxy = \"v2\" in mailgate's [[upstream]]");
    if (upstream.send_proxy == SendProxy::V2 && !report.v2.accepted)
        advice.emplace_back("the server accepts only v1: set send_proxy = \"v1\" in mailgate's [[upstream]]");
    if (upstream.send_proxy == SendProxy::V1 && !report.v1.accepted)
        advice.emplace_back("the server accepts only v2: set send_proxy = \"v2\" in mailgate's [[upstream]]");
    if (report.tcp6.tried && !report.tcp6.accepted)
        advice.emplace_back(
            "clients with IPv6 addresses are refused: set inet_protocols = all in Postfix's main.cf");
    if (upstream.send_proxy == SendProxy::V2 && report.local.tried && !report.local.accepted &&
        upstream.check)
        advice.emplace_back(
            "health checks (LOCAL) are refused: set check = false or send_proxy = \"v1\" in mailgate's "
            "[[upstream]]");
    if (report.v2.accepted && report.largest_header < upstream.max_header_bytes)
        advice.push_back(
            fmt::format("headers of max_header = {} bytes are refused: set max_header = {} in mailgate's "
                        "[[upstream]]",
                        upstream.max_header_bytes, report.largest_header == 0 ? 107 : report.largest_header));
    return advice;
}

}  // namespace mailgate
