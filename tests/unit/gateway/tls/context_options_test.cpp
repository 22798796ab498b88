// SPDX-License-Identifier: Apache-2.0
#include "gateway/tls/context_options.h"

#include "gateway/tls/error.h"
#include "gateway/tls/openssl.h"

#include <gtest/gtest.h>
#include <openssl/err.h>

#include <string>
#include <utility>

namespace mailgate {
namespace {

class ContextOptionsTest : public ::testing::Test {
  protected:
    /// Why they are refused; empty when they are not.
    std::string sentence(const TlsOptions& options) {
        context_.reset(SSL_CTX_new(TLS_method()));
        try {
            apply(options, context_.get());
        } catch (const TlsError& error) {
            return error.what();
        }
        EXPECT_EQ(ERR_peek_error(), 0u) << "whoever calls OpenSSL next would take it for theirs";
        return "";
    }
    std::string sentence(std::string TlsOptions::*option, const std::string& value) {
        TlsOptions options;
        options.*option = value;
        return sentence(options);
    }
    /// "ECDHE-RSA-AES128-GCM-SHA256 …", without the suites of TLS 1.3.
    std::string ciphers() const {
        std::string names;
        const STACK_OF(SSL_CIPHER)* all = SSL_CTX_get_ciphers(context_.get());
        for (int i = 0; i < sk_SSL_CIPHER_num(all); ++i) {
            const std::string name = SSL_CIPHER_get_name(sk_SSL_CIPHER_value(all, i));
            if (!name.starts_with("TLS_")) names += (names.empty() ? "" : " ") + name;
        }
        return names;
    }

    openssl::Context context_;
};

TEST_F(ContextOptionsTest, WithoutAWordForwardSecrecyIsNeeded) {
    ASSERT_EQ(sentence({}), "");
    EXPECT_EQ(SSL_CTX_get_min_proto_version(context_.get()), TLS1_2_VERSION);
    const STACK_OF(SSL_CIPHER)* all = SSL_CTX_get_ciphers(context_.get());
    EXPECT_GT(sk_SSL_CIPHER_num(all), 4);
    for (int i = 0; i < sk_SSL_CIPHER_num(all); ++i) {
        const SSL_CIPHER* cipher = sk_SSL_CIPHER_value(all, i);
        if (SSL_CIPHER_get_kx_nid(cipher) == NID_kx_any) continue;  // TLS 1.3
        EXPECT_EQ(SSL_CIPHER_get_kx_nid(cipher), NID_kx_ecdhe) << SSL_CIPHER_get_name(cipher);
        EXPECT_NE(SSL_CIPHER_get_auth_nid(cipher), NID_auth_null) << SSL_CIPHER_get_name(cipher);
        EXPECT_GE(SSL_CIPHER_get_bits(cipher, nullptr), 128) << SSL_CIPHER_get_name(cipher);
    }
}

TEST_F(ContextOptionsTest, TheLeastVersionIsOneOfTwo) {
    EXPECT_EQ(sentence(&TlsOptions::min_version, "1.3"), "");
    EXPECT_EQ(SSL_CTX_get_min_proto_version(context_.get()), TLS1_3_VERSION);
    EXPECT_EQ(sentence(&TlsOptions::min_version, "1.1"),
              "min_version: must be \"1.2\" or \"1.3\", not \"1.1\"");
    EXPECT_NE(sentence(&TlsOptions::min_version, ""), "");
    EXPECT_NE(sentence(&TlsOptions::min_version, "TLSv1.2"), "");
}

TEST_F(ContextOptionsTest, CiphersAreThoseThatAreNamed) {
    EXPECT_EQ(sentence(&TlsOptions::ciphers, "ECDHE-RSA-AES128-GCM-SHA256:ECDHE-ECDSA-AES128-GCM-SHA256"),
              "");
    EXPECT_EQ(ciphers(), "ECDHE-RSA-AES128-GCM-SHA256 ECDHE-ECDSA-AES128-GCM-SHA256");
    EXPECT_EQ(sentence(&TlsOptions::ciphers, "ECDHE-RSA-AES128-GCM-SHA256, ECDHE-ECDSA-AES128-GCM-SHA256 "),
              "");
    EXPECT_EQ(ciphers(), "ECDHE-RSA-AES128-GCM-SHA256 ECDHE-ECDSA-AES128-GCM-SHA256");
    EXPECT_EQ(sentence(&TlsOptions::ciphers, "ECDHE+AESGCM:!AES256:!aRSA"), "");
    EXPECT_EQ(ciphers(), "ECDHE-ECDSA-AES128-GCM-SHA256");
}

TEST_F(ContextOptionsTest, SuitesOfTls13AloneTurnTheOlderVersionOff) {
    EXPECT_EQ(sentence(&TlsOptions::ciphers, "TLS_AES_128_GCM_SHA256"), "");
    EXPECT_EQ(SSL_CTX_get_min_proto_version(context_.get()), TLS1_3_VERSION);
    EXPECT_EQ(sentence(&TlsOptions::ciphers, "TLS_AES_128_GCM_SHA256:ECDHE+AESGCM"), "");
    EXPECT_EQ(SSL_CTX_get_min_proto_version(context_.get()), TLS1_2_VERSION);
}

TEST_F(ContextOptionsTest, AWordThatOpenSslSkipsIsRefused) {
    EXPECT_EQ(sentence(&TlsOptions::ciphers, "ECDHE-ECDSA-AES128-GCM-SHA256:NO-SUCH-CIPHER"),
              "ciphers: OpenSSL knows no NO-SUCH-CIPHER");
    EXPECT_EQ(sentence(&TlsOptions::ciphers, "TLS_AES_128_GCM_SHA256:TLS_NOTHING"),
              "ciphers: OpenSSL knows no TLS_NOTHING");
    EXPECT_EQ(sentence(&TlsOptions::ciphers, "ECDHE+AESGCM:!ECDHE"),
              "ciphers: none is left of ECDHE+AESGCM:!ECDHE");
    EXPECT_EQ(sentence(&TlsOptions::groups, "X25519:P-257"), "groups: OpenSSL knows no P-257");
    EXPECT_EQ(sentence(&TlsOptions::groups, "X25519:P-256"), "");
}

TEST_F(ContextOptionsTest, AWordIsToldInOneLine) {
    for (const auto& [option, value] : {std::pair{&TlsOptions::min_version, "1\n2"},
                                        {&TlsOptions::ciphers, "A\x1b[2J"},
                                        {&TlsOptions::groups, "X\r\nY"}}) {
        const std::string why = sentence(option, value);
        EXPECT_NE(why, "");
        EXPECT_EQ(why.find_first_of("\r\n\x1b"), std::string::npos) << why;
    }
}

}  // namespace
}  // namespace mailgate
