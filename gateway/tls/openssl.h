// SPDX-License-Identifier: Apache-2.0
/// \file  OpenSSL's objects with owners, and its errors as text. For the sources of this room.
#pragma once

#include <openssl/bio.h>
#include <openssl/evp.h>
#include <openssl/ocsp.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>

#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace mailgate::openssl {

template <auto Free>
struct Deleter {
    template <typename T>
    void operator()(T* object) const noexcept {
        Free(object);
    }
};
inline void freeChain(STACK_OF(X509) * chain) noexcept {
    sk_X509_pop_free(chain, X509_free);
}

using Bio = std::unique_ptr<BIO, Deleter<BIO_free>>;
using Certificate = std::unique_ptr<X509, Deleter<X509_free>>;
using Chain = std::unique_ptr<STACK_OF(X509), Deleter<freeChain>>;
using Context = std::unique_ptr<SSL_CTX, Deleter<SSL_CTX_free>>;
using Key = std::unique_ptr<EVP_PKEY, Deleter<EVP_PKEY_free>>;
using Names = std::unique_ptr<GENERAL_NAMES, Deleter<GENERAL_NAMES_free>>;
using OcspBasic = std::unique_ptr<OCSP_BASICRESP, Deleter<OCSP_BASICRESP_free>>;
using Session = std::unique_ptr<SSL_SESSION, Deleter<SSL_SESSION_free>>;
using OcspResponse = std::unique_ptr<OCSP_RESPONSE, Deleter<OCSP_RESPONSE_free>>;

/// What OpenSSL says of its last failure in this thread, in its own words, and forgets it.
std::string lastError();

/// For d2i_ and PEM functions; reads `text` where it is.
Bio reader(std::string_view text) noexcept;

/// RFC 2253, ASCII only, cut to what fits a log line.
std::string subjectOf(const X509* certificate);
std::string issuerOf(const X509* certificate);
/// The host names among its alternative names, in lower case. `any`: whether it has alternative names at all.
std::vector<std::string> hostNamesOf(const X509* certificate, bool& any);
/// The last common name of its subject; empty when there is none, or it is none fit for a line.
std::string commonNameOf(const X509* certificate);
/// Of the DER form, in hexadecimal digits.
std::string sha256Of(const X509* certificate);
/// Seconds since the epoch.
std::int64_t seconds(const ASN1_TIME* time) noexcept;

}  // namespace mailgate::openssl
