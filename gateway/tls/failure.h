// SPDX-License-Identifier: Apache-2.0
/// \file  Why TLS failed, in words of a fixed list that are fit for logs and metrics.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

namespace mailgate {

struct TlsFailure {
    enum class Reason : std::uint8_t {
        None,
        NotTls,              ///< what came first is no handshake: text, or another protocol
        UnsupportedVersion,  ///< the peer speaks none of the versions allowed here
        NoSharedCipher,
        NoSharedGroup,
        NoSharedSignature,
        NoSharedProtocol,  ///< ALPN: it offered protocols, and ours is not among them
        PeerClosed,        ///< its end came in the middle of the handshake
        ConnectionLost,    ///< a reset, or another error of the connection
        Timeout,           ///< for the owner, who has the clock
        ClientCertificateMissing,
        BadCertificate,
        UnknownCa,
        CertificateExpired,  ///< or not valid yet
        WrongName,           ///< the server's certificate is for other names
        Alert,               ///< the peer gave up, and said why: `alert`
        TooLarge,            ///< a record, or a handshake, beyond any limit
        Flood,               ///< messages after the handshake without end (key updates, renegotiation)
        NoMemory,
        ProtocolError,  ///< anything else that no peer should send
    };

    Reason reason = Reason::None;
    std::uint8_t alert = 0;  ///< RFC 8446 6

    explicit operator bool() const noexcept { return reason != Reason::None; }
    friend bool operator==(const TlsFailure&, const TlsFailure&) = default;
};

inline constexpr std::size_t kTlsFailureReasons =
    static_cast<std::size_t>(TlsFailure::Reason::ProtocolError) + 1;

/// "not_tls", "unknown_ca", "alert_bad_certificate", …; empty for None.
std::string_view toString(TlsFailure failure) noexcept;

/// The same without the peer's alert: for counters.
std::string_view toString(TlsFailure::Reason reason) noexcept;

/// What OpenSSL's errors of this thread say, and forgets them. `verify_result`: of the connection (X509_V_…).
TlsFailure takeErrors(long verify_result) noexcept;

}  // namespace mailgate
