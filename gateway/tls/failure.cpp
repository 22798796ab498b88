// SPDX-License-Identifier: Apache-2.0
#include "gateway/tls/failure.h"

#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/sslerr.h>
#include <openssl/x509_vfy.h>

namespace mailgate {
namespace {

using Reason = TlsFailure::Reason;

std::string_view alertName(std::uint8_t alert) noexcept {
    switch (alert) {
        case SSL3_AD_CLOSE_NOTIFY:
            return "alert_close_notify";
        case SSL3_AD_UNEXPECTED_MESSAGE:
            return "alert_unexpected_message";
        case SSL3_AD_BAD_RECORD_MAC:
            return "alert_bad_record_mac";
        case TLS1_AD_DECRYPTION_FAILED:
            return "alert_decryption_failed";
        case TLS1_AD_RECORD_OVERFLOW:
            return "alert_record_overflow";
        case SSL3_AD_HANDSHAKE_FAILURE:
            return "alert_handshake_failure";
        case SSL3_AD_NO_CERTIFICATE:
            return "alert_no_certificate";
        case SSL3_AD_BAD_CERTIFICATE:
            return "alert_bad_certificate";
        case SSL3_AD_UNSUPPORTED_CERTIFICATE:
            return "alert_unsupported_certificate";
        case SSL3_AD_CERTIFICATE_REVOKED:
            return "alert_certificate_revoked";
        case SSL3_AD_CERTIFICATE_EXPIRED:
            return "alert_certificate_expired";
        case SSL3_AD_CERTIFICATE_UNKNOWN:
            return "alert_certificate_unknown";
        case SSL3_AD_ILLEGAL_PARAMETER:
            return "alert_illegal_parameter";
        case TLS1_AD_UNKNOWN_CA:
            return "alert_unknown_ca";
        case TLS1_AD_ACCESS_DENIED:
            return "alert_access_denied";
        case TLS1_AD_DECODE_ERROR:
            return "alert_decode_error";
        case TLS1_AD_DECRYPT_ERROR:
            return "alert_decrypt_error";
        case TLS1_AD_PROTOCOL_VERSION:
            return "alert_protocol_version";
        case TLS1_AD_INSUFFICIENT_SECURITY:
            return "alert_insufficient_security";
        case TLS1_AD_INTERNAL_ERROR:
            return "alert_internal_error";
        case TLS1_AD_INAPPROPRIATE_FALLBACK:
            return "alert_inappropriate_fallback";
        case TLS1_AD_USER_CANCELLED:
            return "alert_user_canceled";
        case TLS1_AD_NO_RENEGOTIATION:
            return "alert_no_renegotiation";
        case SSL_AD_MISSING_EXTENSION:
            return "alert_missing_extension";
        case TLS1_AD_UNSUPPORTED_EXTENSION:
            return "alert_unsupported_extension";
        case TLS1_AD_UNRECOGNIZED_NAME:
            return "alert_unrecognized_name";
        case TLS1_AD_BAD_CERTIFICATE_STATUS_RESPONSE:
            return "alert_bad_certificate_status_response";
        case TLS1_AD_UNKNOWN_PSK_IDENTITY:
            return "alert_unknown_psk_identity";
        case SSL_AD_CERTIFICATE_REQUIRED:
            return "alert_certificate_required";
        case TLS1_AD_NO_APPLICATION_PROTOCOL:
            return "alert_no_application_protocol";
        default:
            return "alert_unknown";
    }
}

Reason reasonOfVerification(long result) noexcept {
    switch (result) {
        case X509_V_ERR_CERT_HAS_EXPIRED:
        case X509_V_ERR_CERT_NOT_YET_VALID:
            return Reason::CertificateExpired;
        case X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT:
        case X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY:
        case X509_V_ERR_UNABLE_TO_VERIFY_LEAF_SIGNATURE:
        case X509_V_ERR_DEPTH_ZERO_SELF_SIGNED_CERT:
        case X509_V_ERR_SELF_SIGNED_CERT_IN_CHAIN:
        case X509_V_ERR_CERT_UNTRUSTED:
            return Reason::UnknownCa;
        case X509_V_ERR_HOSTNAME_MISMATCH:
        case X509_V_ERR_IP_ADDRESS_MISMATCH:
            return Reason::WrongName;
        default:
            return Reason::BadCertificate;
    }
}

Reason reasonOf(int reason, long verify_result) noexcept {
    switch (reason) {
        case SSL_R_WRONG_VERSION_NUMBER:
        case SSL_R_HTTP_REQUEST:
        case SSL_R_HTTPS_PROXY_REQUEST:
            return Reason::NotTls;
        case SSL_R_UNSUPPORTED_PROTOCOL:
        case SSL_R_UNKNOWN_PROTOCOL:
        case SSL_R_VERSION_TOO_LOW:
        case SSL_R_VERSION_TOO_HIGH:
        case SSL_R_WRONG_SSL_VERSION:
        case SSL_R_NO_PROTOCOLS_AVAILABLE:
        case SSL_R_INAPPROPRIATE_FALLBACK:
            return Reason::UnsupportedVersion;
        case SSL_R_NO_SHARED_CIPHER:
        case SSL_R_NO_CIPHERS_SPECIFIED:
        case SSL_R_NO_CIPHER_MATCH:
            return Reason::NoSharedCipher;
        case SSL_R_NO_SUITABLE_KEY_SHARE:
        case SSL_R_NO_SUITABLE_GROUPS:
        case SSL_R_NO_SHARED_GROUPS:
            return Reason::NoSharedGroup;
        case SSL_R_NO_SUITABLE_SIGNATURE_ALGORITHM:
        case SSL_R_NO_SHARED_SIGNATURE_ALGORITHMS:
            return Reason::NoSharedSignature;
        case SSL_R_NO_APPLICATION_PROTOCOL:
            return Reason::NoSharedProtocol;
        case SSL_R_PEER_DID_NOT_RETURN_A_CERTIFICATE:
            return Reason::ClientCertificateMissing;
        case SSL_R_CERTIFICATE_VERIFY_FAILED:
            return reasonOfVerification(verify_result);
        case SSL_R_BAD_SIGNATURE:
            return Reason::BadCertificate;
        case SSL_R_PACKET_LENGTH_TOO_LONG:
        case SSL_R_DATA_LENGTH_TOO_LONG:
        case SSL_R_ENCRYPTED_LENGTH_TOO_LONG:
        case SSL_R_EXCESSIVE_MESSAGE_SIZE:
            return Reason::TooLarge;
        case SSL_R_RECORD_TOO_SMALL:
        case SSL_R_TOO_MANY_WARN_ALERTS:
        case SSL_R_TOO_MANY_KEY_UPDATES:
            return Reason::Flood;
        default:
            return Reason::ProtocolError;
    }
}

}  // namespace

std::string_view toString(TlsFailure::Reason reason) noexcept {
    switch (reason) {
        case Reason::None:
            return "";
        case Reason::NotTls:
            return "not_tls";
        case Reason::UnsupportedVersion:
            return "unsupported_version";
        case Reason::NoSharedCipher:
            return "no_shared_cipher";
        case Reason::NoSharedGroup:
            return "no_shared_group";
        case Reason::NoSharedSignature:
            return "no_shared_signature";
        case Reason::NoSharedProtocol:
            return "no_shared_protocol";
        case Reason::PeerClosed:
            return "peer_closed";
        case Reason::ConnectionLost:
            return "connection_lost";
        case Reason::Timeout:
            return "timeout";
        case Reason::ClientCertificateMissing:
            return "client_certificate_missing";
        case Reason::BadCertificate:
            return "bad_certificate";
        case Reason::UnknownCa:
            return "unknown_ca";
        case Reason::CertificateExpired:
            return "certificate_expired";
        case Reason::WrongName:
            return "wrong_name";
        case Reason::Alert:
            return "alert";
        case Reason::TooLarge:
            return "too_large";
        case Reason::Flood:
            return "flood";
        case Reason::NoMemory:
            return "no_memory";
        case Reason::ProtocolError:
            return "protocol_error";
    }
    return "";
}

std::string_view toString(TlsFailure failure) noexcept {
    return failure.reason == Reason::Alert ? alertName(failure.alert) : toString(failure.reason);
}

TlsFailure takeErrors(long verify_result) noexcept {
    const unsigned long first = ERR_get_error();
    // Whoever finds no memory is often followed by those who make something else of it.
    bool no_memory = ERR_GET_REASON(first) == ERR_R_MALLOC_FAILURE;
    while (const unsigned long next = ERR_get_error()) {
        no_memory = no_memory || ERR_GET_REASON(next) == ERR_R_MALLOC_FAILURE;
    }
    if (no_memory) return {Reason::NoMemory};
    const int reason = ERR_GET_REASON(first);
    if (ERR_GET_LIB(first) != ERR_LIB_SSL) return {Reason::ProtocolError};
    if (reason > SSL_AD_REASON_OFFSET && reason < SSL_AD_REASON_OFFSET + 256) {
        return {Reason::Alert, static_cast<std::uint8_t>(reason - SSL_AD_REASON_OFFSET)};
    }
    return {reasonOf(reason, verify_result)};
}

}  // namespace mailgate
