// SPDX-License-Identifier: Apache-2.0
/// \file  In which ways a server can fail a session, and what each says about the server.
#pragma once

#include "gateway/tls/failure.h"

#include <cstdint>
#include <string_view>

namespace mailgate {

enum class ServerFailure : std::uint8_t {
    ConnectRefused,
    ConnectTimeout,
    HostUnreachable,
    NetworkUnreachable,
    ConnectReset,
    ConnectFailed,          ///< for any other reason
    NoLocalPort,            ///< the gateway's own want
    HeaderNotTaken,         ///< not all of it was taken in one send
    NoGreeting,             ///< in time
    NoHandshake,            ///< TLS: in time
    NoStartTlsInTime,       ///< it has greeted, and nothing more
    ClosedWithoutGreeting,  ///< an end of file instead of a word
    ResetWithoutGreeting,
    ClosedInHandshake,  ///< TLS
    ClosedInGreeting,
    Foreign,             ///< what it says is no greeting of the listener's protocol
    SystemNotAccepting,  ///< a greeting about the server itself (RFC 3463 X.3.X); about the client it is no failure
    // In its TLS handshake.
    CertificateExpired,  ///< or not valid yet
    CertificateForOthers,
    CertificateUntrusted,  ///< nobody whom the upstream's `ca` names has issued it
    CertificateBad,        ///< for any other reason
    NotTls,
    HandshakeFailed,  ///< for any other reason
    NoStartTls,       ///< it does not consent to STARTTLS, or speaks out of turn
};

/// Which failures of sessions count towards a server's health.
enum class FailureCounts : std::uint8_t {
    Always,          ///< nobody was reached: whoever the client is, it would be the same
    WhereUnchecked,  ///< it may be about this client; health checks decide where there are any
    Never,           ///< it is about the client, or the gateway
};

/// A phrase for the log.
std::string_view toString(ServerFailure failure) noexcept;
FailureCounts countsOf(ServerFailure failure) noexcept;
/// The server was there and said, or showed, that it will not serve. An end without a word is no answer: so end the connections
/// that wait to be accepted by a server that stops, and may be back in a moment.
bool answered(ServerFailure failure) noexcept;
/// `error`: errno of a connection attempt, or of the first write on it.
ServerFailure connectFailure(int error) noexcept;
ServerFailure handshakeFailure(TlsFailure failure) noexcept;

}  // namespace mailgate
