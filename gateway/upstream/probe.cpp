// SPDX-License-Identifier: Apache-2.0
#include "gateway/upstream/probe.h"

#include "gateway/io/socket_address.h"
#include "gateway/upstream/polled_connection.h"
#include "protocols/health_dialogue.h"
#include "protocols/proxy/encoder.h"

#include <fmt/format.h>

#include <poll.h>
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
#include <utility>

namespace mailgate {
namespace {

using Clock = std::chrono::steady_clock;

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

class ProbeConnection {
  public:
    explicit ProbeConnection(std::chrono::milliseconds timeout) : deadline_(Clock::now() + timeout) {}
    ~ProbeConnection() {
        if (!open_) return;
        // Never a reset: what the server still says is read.
        connection_.transport().shutdownWrite();
        deadline_ = Clock::now() + kHangUp;
        std::string ignored;
        while (receive(ignored) == Got::Bytes) {
        }
    }
    ProbeConnection(const ProbeConnection&) = delete;
    ProbeConnection& operator=(const ProbeConnection&) = delete;

    /// Connects and sends the header. Empty, or what went wrong.
    std::string open(const Endpoint& server, const PolledConnection::HeaderFor& header) {
        Connector::Progress progress = connection_.begin(server, header);
        while (std::holds_alternative<Connector::Waiting>(progress)) {
            const short events = wait();
            if (events == 0) return "no answer to the connection attempt";
            progress = connection_.onReady(events);
        }
        if (const auto* lacking = std::get_if<Connector::NoResources>(&progress))
            return std::strerror(lacking->error);
        const auto* failed = std::get_if<Connector::Failed>(&progress);
        open_ = !failed || failed->failure == ServerFailure::HeaderNotTaken;
        if (!failed) return "";
        return open_ ? "does not accept the header" : std::strerror(failed->error);
    }

    IpAddress own() const { return connection_.ends().source.address; }

    void send(const std::string& bytes) { connection_.transport().write(bytes); }

    enum class Got : std::uint8_t {
        Bytes,
        End,     ///< the server closed the connection
        Broken,  ///< or reset it
        Nothing  ///< until the time was over
    };
    Got receive(std::string& bytes) {
        bytes.clear();
        while (const short events = wait()) {
            connection_.note(events);
            std::array<char, 4096> buffer;
            const IoResult got = connection_.transport().read(buffer);
            if (got.status == IoStatus::WouldBlock) continue;
            if (got.status == IoStatus::Error) return Got::Broken;
            bytes.assign(buffer.data(), got.bytes);
            return got.status == IoStatus::Eof ? Got::End : Got::Bytes;
        }
        return Got::Nothing;
    }

  private:
    /// What has happened; 0 only when the time is over. What has come by then counts, however late this process
    /// comes to look.
    short wait() const {
        while (true) {
            const auto left = std::chrono::ceil<std::chrono::milliseconds>(deadline_ - Clock::now());
            pollfd watched = connection_.interest();
            const int ready = ::poll(&watched, 1, static_cast<int>(std::max<std::int64_t>(left.count(), 0)));
            if (ready > 0) return watched.revents;
            if (ready == 0 && left.count() <= 0) return 0;
        }
    }

    Clock::time_point deadline_;
    PolledConnection connection_;
    bool open_ = false;
};

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

ProbeAnswer tryHeader(const UpstreamConfig& upstream, const Endpoint& server, const std::string& name,
                      const PolledConnection::HeaderFor& header) {
    const bool mute = upstream.check_protocol == Protocol::Tcp;
    ProbeConnection connection(mute ? kHangUp : upstream.check_timeout);
    if (std::string error = connection.open(server, header); !error.empty()) return {true, false, error};
    if (mute) return awaitHangUp(connection);
    HealthDialogue dialogue(upstream.check_protocol, heloName(name, connection.own()));
    return converse(connection, dialogue);
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

ProbeReport probeServer(const UpstreamConfig& upstream, const Endpoint& server, const std::string& name) {
    ProbeReport report;
    report.endpoint = server;
    report.own = localAddressTowards(server);
    {
        ProbeConnection connection(kUnaskedGreeting);
        report.unreachable = connection.open(server, [](const auto&) { return std::string(); });
        if (!report.unreachable.empty()) return report;
        std::string said;
        report.greets_without_header = connection.receive(said) == ProbeConnection::Got::Bytes;
    }
    if (report.greets_without_header) return report;
    // Where only the passing of time says yes, all is tried at once.
    const auto policy = upstream.check_protocol == Protocol::Tcp ? std::launch::async : std::launch::deferred;
    const auto attempt = [&](PolledConnection::HeaderFor header) {
        return std::async(policy, [&upstream, &server, &name, header = std::move(header)] {
            return tryHeader(upstream, server, name, header);
        });
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
            "be busy (default_process_limit). mailgate: does the upstream speak {}?",
            own, report.v2.reason, own, toString(upstream.check_protocol))};
    }
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
