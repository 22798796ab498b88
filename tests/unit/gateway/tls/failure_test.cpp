// SPDX-License-Identifier: Apache-2.0
#include "gateway/tls/failure.h"

#include <gtest/gtest.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509_vfy.h>

#include <algorithm>
#include <set>
#include <string>
#include <utility>

namespace mailgate {
namespace {

using Reason = TlsFailure::Reason;

std::string wordOf(Reason reason, int alert = 0) {
    return std::string(toString(TlsFailure{reason, static_cast<std::uint8_t>(alert)}));
}

bool isWord(const std::string& text) {
    return !text.empty() &&
           std::all_of(text.begin(), text.end(), [](char c) { return (c >= 'a' && c <= 'z') || c == '_'; });
}

/// What is made of one error of OpenSSL's.
TlsFailure failureOf(int reason, long verify_result = X509_V_OK) {
    ERR_clear_error();
    ERR_raise(ERR_LIB_SSL, reason);
    const TlsFailure failure = takeErrors(verify_result);
    EXPECT_EQ(ERR_peek_error(), 0u);
    return failure;
}

TEST(TlsFailure, HasAWordOfAFixedList) {
    EXPECT_EQ(wordOf(Reason::None), "");
    EXPECT_FALSE(TlsFailure{});
    std::set<std::string> words;
    for (int number = 1; number <= static_cast<int>(Reason::ProtocolError); ++number) {
        const TlsFailure failure{static_cast<Reason>(number)};
        EXPECT_TRUE(failure);
        EXPECT_TRUE(isWord(std::string(toString(failure)))) << number;
        words.insert(std::string(toString(failure)));
    }
    EXPECT_EQ(words.size(), static_cast<std::size_t>(Reason::ProtocolError)) << "one each";
    EXPECT_EQ(toString(TlsFailure{static_cast<Reason>(200)}), "");
}

TEST(TlsFailure, AnAlertIsNamedAndOneThatNobodyKnowsIsNot) {
    EXPECT_EQ(wordOf(Reason::Alert, SSL3_AD_BAD_CERTIFICATE), "alert_bad_certificate");
    EXPECT_EQ(wordOf(Reason::Alert, TLS1_AD_UNKNOWN_CA), "alert_unknown_ca");
    EXPECT_EQ(wordOf(Reason::Alert, 255), "alert_unknown");
    std::set<std::string> words;
    for (int alert = 0; alert < 256; ++alert) {
        const std::string word = wordOf(Reason::Alert, alert);
        EXPECT_TRUE(isWord(word) && word.starts_with("alert_")) << alert;
        words.insert(word);
    }
    EXPECT_LT(words.size(), 40u) << "a peer chooses the number, and must not choose how many words there are";
    EXPECT_GT(words.size(), 25u);
}

TEST(TakeErrors, SaysWhatCouldNotBeAgreedOn) {
    for (const auto& [error, reason] : {std::pair{SSL_R_HTTP_REQUEST, Reason::NotTls},
                                        {SSL_R_UNSUPPORTED_PROTOCOL, Reason::UnsupportedVersion},
                                        {SSL_R_NO_SHARED_CIPHER, Reason::NoSharedCipher},
                                        {SSL_R_NO_SUITABLE_KEY_SHARE, Reason::NoSharedGroup},
                                        {SSL_R_NO_APPLICATION_PROTOCOL, Reason::NoSharedProtocol},
                                        {SSL_R_PACKET_LENGTH_TOO_LONG, Reason::TooLarge},
                                        {SSL_R_TOO_MANY_KEY_UPDATES, Reason::Flood},
                                        {SSL_R_BAD_EXTENSION, Reason::ProtocolError}})
        EXPECT_EQ(failureOf(error), TlsFailure{reason}) << error;
}

TEST(TakeErrors, SaysWhatIsWrongWithACertificate) {
    for (const auto& [result, reason] : {std::pair{X509_V_ERR_CERT_HAS_EXPIRED, Reason::CertificateExpired},
                                         {X509_V_ERR_CERT_NOT_YET_VALID, Reason::CertificateExpired},
                                         {X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY, Reason::UnknownCa},
                                         {X509_V_ERR_DEPTH_ZERO_SELF_SIGNED_CERT, Reason::UnknownCa},
                                         {X509_V_ERR_HOSTNAME_MISMATCH, Reason::WrongName},
                                         {X509_V_ERR_IP_ADDRESS_MISMATCH, Reason::WrongName},
                                         {X509_V_ERR_CERT_REVOKED, Reason::BadCertificate}})
        EXPECT_EQ(failureOf(SSL_R_CERTIFICATE_VERIFY_FAILED, result), TlsFailure{reason}) << result;
    EXPECT_EQ(failureOf(SSL_R_NO_SHARED_CIPHER, X509_V_ERR_CERT_HAS_EXPIRED),
              TlsFailure{Reason::NoSharedCipher})
        << "the result may be an older one";
    EXPECT_EQ(failureOf(SSL_R_PEER_DID_NOT_RETURN_A_CERTIFICATE),
              TlsFailure{Reason::ClientCertificateMissing});
}

TEST(TakeErrors, KeepsThePeersAlert) {
    const TlsFailure failure = failureOf(SSL_AD_REASON_OFFSET + TLS1_AD_UNKNOWN_CA);
    EXPECT_EQ(failure, (TlsFailure{Reason::Alert, TLS1_AD_UNKNOWN_CA}));
    EXPECT_EQ(toString(failure), "alert_unknown_ca");
}

TEST(TakeErrors, BelievesTheFirstErrorUnlessMemoryWasShort) {
    ERR_clear_error();
    ERR_raise(ERR_LIB_SSL, SSL_R_NO_SHARED_CIPHER);
    ERR_raise(ERR_LIB_SSL, SSL_R_BAD_EXTENSION);
    EXPECT_EQ(takeErrors(X509_V_OK), TlsFailure{Reason::NoSharedCipher});
    ERR_raise(ERR_LIB_SSL, SSL_R_BAD_EXTENSION);
    ERR_raise(ERR_LIB_EVP, ERR_R_MALLOC_FAILURE);
    ERR_raise(ERR_LIB_SSL, SSL_R_BAD_EXTENSION);
    EXPECT_EQ(takeErrors(X509_V_OK), TlsFailure{Reason::NoMemory});
    EXPECT_EQ(ERR_peek_error(), 0u);
}

TEST(TakeErrors, WithoutAnErrorOfTlsItIsThePeersFault) {
    ERR_clear_error();
    EXPECT_EQ(takeErrors(X509_V_OK), TlsFailure{Reason::ProtocolError});
    ERR_raise(ERR_LIB_ASN1, 100);
    EXPECT_EQ(takeErrors(X509_V_OK), TlsFailure{Reason::ProtocolError});
}

}  // namespace
}  // namespace mailgate
