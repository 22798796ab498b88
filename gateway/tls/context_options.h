// SPDX-License-Identifier: Apache-2.0
/// \file  What the contexts of both roles have in common.
#pragma once

#include <string>

struct ssl_ctx_st;

namespace mailgate {

struct TlsOptions {
    std::string min_version = "1.2";  ///< or "1.3"
    /// As OpenSSL spells them, with ":" between; TLS_… are suites of TLS 1.3, and where there are
    /// no others, 1.2 is off. Empty: forward secrecy and AES or ChaCha20.
    std::string ciphers;
    std::string groups;  ///< with ":" between; empty: OpenSSL's own choice, which follows its releases

    friend bool operator==(const TlsOptions&, const TlsOptions&) = default;
};

/// Throws TlsError, which names the option and the word that is wrong.
void apply(const TlsOptions& options, ssl_ctx_st* context);

}  // namespace mailgate
