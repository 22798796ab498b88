// SPDX-License-Identifier: Apache-2.0
#include "gateway/upstream/server_failure.h"

#include <array>
#include <cerrno>
#include <cstddef>

namespace mailgate {
namespace {

struct Row {
    ServerFailure failure;
    std::string_view text;
    FailureCounts counts;
};

using enum ServerFailure;
constexpr auto kAlways = FailureCounts::Always;
constexpr auto kUnchecked = FailureCounts::WhereUnchecked;
constexpr auto kNever = FailureCounts::Never;

constexpr std::array kRows{
    Row{ConnectRefused, "connection refused", kAlways},
    Row{ConnectTimeout, "connection timed out", kAlways},
    Row{HostUnreachable, "no route to host", kAlways},
    Row{NetworkUnreachable, "network is unreachable", kAlways},
    Row{ConnectReset, "connection reset", kAlways},
    Row{ConnectFailed, "connection failed", kAlways},
    Row{NoLocalPort, "no local port left", kNever},
    Row{HeaderNotTaken, "took only part of the PROXY header", kUnchecked},
    Row{NoGreeting, "no greeting in time", kUnchecked},
    Row{NoHandshake, "no TLS handshake in time", kUnchecked},
    Row{NoStartTlsInTime, "does not start TLS in time", kUnchecked},
    Row{ClosedWithoutGreeting, "closed without a greeting", kUnchecked},
    Row{ResetWithoutGreeting, "reset without a greeting", kUnchecked},
    Row{ClosedInHandshake, "closed in the TLS handshake", kUnchecked},
    Row{ClosedInGreeting, "closed in mid-greeting", kUnchecked},
    Row{Foreign, "does not speak the listener's protocol", kUnchecked},
    Row{SystemNotAccepting, "does not accept mail at present", kUnchecked},
    Row{CertificateExpired, "certificate has expired or is not valid yet", kAlways},
    Row{CertificateForOthers, "certificate is for another name", kAlways},
    Row{CertificateUntrusted, "certificate is of no trusted CA", kAlways},
    Row{CertificateBad, "certificate cannot be verified", kAlways},
    Row{NotTls, "does not speak TLS", kUnchecked},
    Row{HandshakeFailed, "TLS handshake failed", kUnchecked},
    Row{NoStartTls, "does not start TLS", kUnchecked},
};

constexpr bool inOrder() {
    for (std::size_t i = 0; i < kRows.size(); ++i) {
        if (static_cast<std::size_t>(kRows[i].failure) != i) return false;
    }
    return kRows.size() == static_cast<std::size_t>(NoStartTls) + 1;
}
static_assert(inOrder(), "one row for each, in the order of the enumeration");

const Row& rowOf(ServerFailure failure) noexcept {
    return kRows[static_cast<std::size_t>(failure)];
}

}  // namespace

std::string_view toString(ServerFailure failure) noexcept {
    return rowOf(failure).text;
}

FailureCounts countsOf(ServerFailure failure) noexcept {
    return rowOf(failure).counts;
}

bool answered(ServerFailure failure) noexcept {
    return failure >= ClosedInGreeting;
}

ServerFailure connectFailure(int error) noexcept {
    switch (error) {
        case ECONNREFUSED:
            return ConnectRefused;
        case ETIMEDOUT:
            return ConnectTimeout;
        case EHOSTUNREACH:
            return HostUnreachable;
        case ENETUNREACH:
            return NetworkUnreachable;
        case ECONNRESET:
            return ConnectReset;
        case EADDRNOTAVAIL:
            return NoLocalPort;
        default:
            return ConnectFailed;
    }
}

ServerFailure handshakeFailure(TlsFailure failure) noexcept {
    switch (failure.reason) {
        case TlsFailure::Reason::CertificateExpired:
            return CertificateExpired;
        case TlsFailure::Reason::WrongName:
            return CertificateForOthers;
        case TlsFailure::Reason::UnknownCa:
            return CertificateUntrusted;
        case TlsFailure::Reason::BadCertificate:
            return CertificateBad;
        case TlsFailure::Reason::NotTls:
            return NotTls;
        case TlsFailure::Reason::PeerClosed:
        case TlsFailure::Reason::ConnectionLost:
            return ClosedInHandshake;
        case TlsFailure::Reason::Timeout:
            return NoHandshake;
        default:
            return HandshakeFailed;
    }
}

}  // namespace mailgate
