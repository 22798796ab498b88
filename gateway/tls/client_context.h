// SPDX-License-Identifier: Apache-2.0
/// \file  How TLS is spoken with mail servers. Immutable; may be shared by threads.
#pragma once

#include "gateway/tls/certificate.h"
#include "gateway/tls/context_options.h"

#include <memory>
#include <string>
#include <utility>

struct ssl_ctx_st;

namespace mailgate {

struct TlsClientOptions : TlsOptions {
    bool verify = true;         ///< false: whoever answers is believed
    std::string ca = "system";  ///< or a PEM file

    friend bool operator==(const TlsClientOptions&, const TlsClientOptions&) = default;
};

class TlsClientContext {
  public:
    /// `certificate`: what servers get that ask for one; may be null. Throws TlsError.
    static std::shared_ptr<const TlsClientContext> build(const TlsClientOptions& options,
                                                         std::shared_ptr<const Certificate> certificate);
    TlsClientContext(const TlsClientContext&) = delete;
    TlsClientContext& operator=(const TlsClientContext&) = delete;

    bool verifies() const noexcept { return verifies_; }
    ssl_ctx_st* context() const noexcept { return context_.get(); }

  private:
    TlsClientContext(std::shared_ptr<ssl_ctx_st> context, bool verifies) noexcept
        : context_(std::move(context)), verifies_(verifies) {}

    std::shared_ptr<ssl_ctx_st> context_;
    bool verifies_;
};

}  // namespace mailgate
