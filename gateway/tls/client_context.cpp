// SPDX-License-Identifier: Apache-2.0
#include "gateway/tls/client_context.h"

#include "gateway/tls/authorities.h"
#include "gateway/tls/error.h"
#include "gateway/tls/openssl.h"

#include <openssl/err.h>

#include <ctime>
#include <new>
#include <utility>

namespace mailgate {
namespace {

// Beyond any configuration's servers.
constexpr std::size_t kMaxServers = 1024;
constexpr UnixSeconds kSessionLifetime = 3600;

/// Of a context: the TlsClientContext.
int contextSlot() noexcept {
    static const int slot = SSL_CTX_get_ex_new_index(0, nullptr, nullptr, nullptr, nullptr);
    return slot;
}

/// Of a connection: where its session is kept.
int keptSlot() noexcept {
    static const int slot = SSL_get_ex_new_index(0, nullptr, nullptr, nullptr, nullptr);
    return slot;
}

void trust(const std::string& ca, SSL_CTX* context) {
    if (ca == "system") {
        if (SSL_CTX_set_default_verify_paths(context) != 1)
            throw TlsError("ca: the system has no certificates");
    } else {
        trustAuthorities(ca, "servers", context);
    }
}

}  // namespace

std::shared_ptr<const TlsClientContext> TlsClientContext::build(
    const TlsClientOptions& options, const std::shared_ptr<const Certificate>& certificate) {
    std::shared_ptr<SSL_CTX> context = openssl::Context(SSL_CTX_new(TLS_client_method()));
    if (!context) throw std::bad_alloc();
    apply(options, context.get());
    if (options.verify) trust(options.ca, context.get());
    const bool verifies = options.verify && !options.judge_only;
    SSL_CTX_set_verify(context.get(), verifies ? SSL_VERIFY_PEER : SSL_VERIFY_NONE, nullptr);
    if (certificate && SSL_CTX_use_cert_and_key(context.get(), certificate->leaf(), certificate->key(),
                                                certificate->chain(), 1) != 1) {
        throw TlsError(certificate->files().certificate + ": cannot be used: " + openssl::lastError());
    }
    std::shared_ptr<const TlsClientContext> made(new TlsClientContext(context, verifies));
    if (SSL_CTX_set_ex_data(context.get(), contextSlot(), const_cast<TlsClientContext*>(made.get())) != 1) {
        throw std::bad_alloc();
    }
    SSL_CTX_set_session_cache_mode(context.get(), SSL_SESS_CACHE_CLIENT | SSL_SESS_CACHE_NO_INTERNAL);
    SSL_CTX_sess_set_new_cb(context.get(), &TlsClientContext::onSession);
    ERR_clear_error();
    return made;
}

void TlsClientContext::resume(SSL* ssl, const std::string& peer) const noexcept {
    try {
        const std::lock_guard lock(mutex_);
        if (kept_.size() >= kMaxServers && !kept_.contains(peer)) return;
        Kept& kept = kept_[peer];
        SSL_set_ex_data(ssl, keptSlot(), &kept);
        const UnixSeconds age = std::time(nullptr) - kept.since;
        if (!kept.session || age < 0 || age >= kSessionLifetime) return;
        // A copy: OpenSSL spoils the one in use when the connection is cut off, or, in TLS 1.3, at once.
        const openssl::Session copy(SSL_SESSION_dup(kept.session.get()));
        if (copy) SSL_set_session(ssl, copy.get());
    } catch (const std::bad_alloc&) {
        // Then it shakes hands in full.
    }
}

int TlsClientContext::onSession(SSL* ssl, SSL_SESSION* session) noexcept {
    auto* kept = static_cast<Kept*>(SSL_get_ex_data(ssl, keptSlot()));
    const auto* self =
        static_cast<const TlsClientContext*>(SSL_CTX_get_ex_data(SSL_get_SSL_CTX(ssl), contextSlot()));
    if (kept && self) self->keep(*kept, session, SSL_session_reused(ssl) == 1);
    return 0;  // the session stays OpenSSL's
}

void TlsClientContext::keep(Kept& kept, const SSL_SESSION* session, bool resumed) const noexcept {
    try {
        std::shared_ptr<SSL_SESSION> copy = openssl::Session(SSL_SESSION_dup(session));
        const std::lock_guard lock(mutex_);
        // A ticket that came with a resumed session proves nothing of the certificate: it gets no younger.
        kept = {std::move(copy), resumed ? kept.since : std::time(nullptr)};
    } catch (const std::bad_alloc&) {
        // The one before is still good.
    }
}

}  // namespace mailgate
