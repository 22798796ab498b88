// SPDX-License-Identifier: Apache-2.0
/// \file  How TLS is spoken with mail servers. May be shared by threads; nothing changes but the sessions that it
/// keeps, one for each server, so that the next connection to it need not shake hands in full.
#pragma once

#include "gateway/tls/certificate.h"
#include "gateway/tls/context_options.h"

#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <utility>

struct ssl_ctx_st;
struct ssl_session_st;
struct ssl_st;

namespace mailgate {

struct TlsClientOptions : TlsOptions {
    bool verify = true;         ///< false: whoever answers is believed
    std::string ca = "system";  ///< or a PEM file
    /// With `verify`: a certificate that is refused does not end the handshake; TlsTransport::verdict() says why.
    bool judge_only = false;

    friend bool operator==(const TlsClientOptions&, const TlsClientOptions&) = default;
};

class TlsClientContext {
  public:
    /// `certificate`: what servers get that ask for one; may be null. Throws TlsError.
    static std::shared_ptr<const TlsClientContext> build(
        const TlsClientOptions& options, const std::shared_ptr<const Certificate>& certificate);
    TlsClientContext(const TlsClientContext&) = delete;
    TlsClientContext& operator=(const TlsClientContext&) = delete;

    bool verifies() const noexcept { return verifies_; }
    ssl_ctx_st* context() const noexcept { return context_.get(); }

    /// Lets a connection that has not begun go on with what an earlier one with the same `peer` has agreed on, and
    /// keeps what it agrees on. Sessions are used for an hour: then the certificate is verified anew.
    void resume(ssl_st* ssl, const std::string& peer) const noexcept;

  private:
    struct Kept {
        std::shared_ptr<ssl_session_st> session;
        UnixSeconds since = 0;
    };

    TlsClientContext(std::shared_ptr<ssl_ctx_st> context, bool verifies) noexcept
        : context_(std::move(context)), verifies_(verifies) {}
    static int onSession(ssl_st* ssl, ssl_session_st* session) noexcept;
    void keep(Kept& kept, const ssl_session_st* session, bool resumed) const noexcept;

    std::shared_ptr<ssl_ctx_st> context_;
    bool verifies_;
    mutable std::mutex mutex_;
    mutable std::map<std::string, Kept, std::less<>> kept_;  ///< by peer; none is taken out
};

}  // namespace mailgate
