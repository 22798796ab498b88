// SPDX-License-Identifier: Apache-2.0
#include "gateway/session/counters.h"

#include "protocols/proxy/header.h"

#include <algorithm>

namespace mailgate {

static_assert(static_cast<int>(Rejection::BadChecksum) - static_cast<int>(Rejection::NotProxy) ==
              static_cast<int>(proxy::Reason::BadChecksum));

std::string_view toString(Rejection rejection) noexcept {
    switch (rejection) {
        case Rejection::UntrustedPeer:
            return "untrusted_peer";
        case Rejection::NoHeader:
            return "no_header";
        case Rejection::HeaderTimeout:
            return "header_timeout";
        case Rejection::Incomplete:
            return "incomplete";
        case Rejection::Unexpected:
            return "unexpected_header";
        case Rejection::NotProxy:
        case Rejection::BadV1:
        case Rejection::V1TooLong:
        case Rejection::BadVersion:
        case Rejection::BadCommand:
        case Rejection::BadFamily:
        case Rejection::UnsupportedFamily:
        case Rejection::BadLength:
        case Rejection::TooLong:
        case Rejection::BadTlv:
        case Rejection::BadChecksum:
            break;
    }
    return proxy::toString(
        static_cast<proxy::Reason>(static_cast<int>(rejection) - static_cast<int>(Rejection::NotProxy)));
}

std::string_view toString(CloseReason end) noexcept {
    switch (end) {
        case CloseReason::None:
            return "none";
        case CloseReason::ClientQuit:
            return "client_quit";
        case CloseReason::ClientClosed:
            return "client_closed";
        case CloseReason::ClientReset:
            return "client_reset";
        case CloseReason::ServerClosed:
            return "server_closed";
        case CloseReason::ServerLost:
            return "server_lost";
        case CloseReason::IdleTimeout:
            return "idle_timeout";
        case CloseReason::HalfCloseTimeout:
            return "half_close_timeout";
        case CloseReason::Refused:
            return "refused";
        case CloseReason::Check:
            return "check";
        case CloseReason::Shutdown:
            return "shutdown";
        case CloseReason::Drained:
            return "drained";
        case CloseReason::Killed:
            return "killed";
        case CloseReason::GatewayError:
            return "gateway_error";
        case CloseReason::BareLf:
            return "bare_lf";
        case CloseReason::ForbiddenCommand:
            return "forbidden_command";
        case CloseReason::ProtocolViolation:
            return "protocol_violation";
        case CloseReason::PlaintextAfterStartTls:
            return "plaintext_after_starttls";
        case CloseReason::TlsRequired:
            return "tls_required";
        case CloseReason::ServerViolation:
            return "server_violation";
        case CloseReason::TlsHandshakeFailed:
            return "tls_handshake_failed";
        case CloseReason::TlsError:
            return "tls_error";
    }
    return "";
}

std::string_view reasonFor(Refusal refusal) noexcept {
    switch (refusal) {
        case Refusal::Rule:
            return "access";
        case Refusal::TooMany:
            return "too_many";
        case Refusal::GatewayFull:
            return "gateway_full";
        case Refusal::NoServer:
            return "no_server";
        case Refusal::ServerLost:
            return "server_lost";
        case Refusal::ShuttingDown:
            return "shutdown";
        case Refusal::Killed:
            return "killed";
        case Refusal::Idle:
            return "idle";
        case Refusal::Internal:
            return "gateway_error";
        case Refusal::BareLf:
            return "bare_lf";
        case Refusal::ForbiddenCommand:
            return "forbidden_command";
        case Refusal::BadCommand:
            return "protocol_violation";
        case Refusal::PlaintextAfterStartTls:
            return "plaintext_after_starttls";
        case Refusal::TlsRequired:
            return "tls_required";
        case Refusal::ServerViolation:
            return "server_violation";
    }
    return "";
}

void TimeHistogram::add(std::int64_t milliseconds) noexcept {
    const auto bound = std::lower_bound(kBoundsMs.begin(), kBoundsMs.end(), milliseconds);
    count(buckets[static_cast<std::size_t>(bound - kBoundsMs.begin())]);
    count(sum_ms, static_cast<std::uint64_t>(std::max<std::int64_t>(milliseconds, 0)));
}

void RejectionTally::add(Rejection rejection, const IpAddress& peer) {
    std::string balancer = "other";
    const std::lock_guard lock(mutex_);
    // A scan of the port must not make a row for every address that it comes from.
    if (rejection != Rejection::UntrustedPeer) {
        std::string name = peer.toString();
        if (balancers_.contains(name) || balancers_.size() < kMaxBalancers) {
            balancers_.insert(name);
            balancer = std::move(name);
        }
    }
    ++counts_[{rejection, std::move(balancer)}];
}

std::vector<RejectionTally::Row> RejectionTally::rows() const {
    std::vector<Row> rows;
    const std::lock_guard lock(mutex_);
    for (const auto& [key, number] : counts_)
        rows.push_back({toString(key.first), key.second, number});
    return rows;
}

}  // namespace mailgate
