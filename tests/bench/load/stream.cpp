// SPDX-License-Identifier: Apache-2.0
#include "tests/bench/load/stream.h"

#include <openssl/err.h>
#include <openssl/ssl.h>

#include <sys/socket.h>

#include <cerrno>
#include <cstring>
#include <stdexcept>

namespace mailgate::load {

TlsClients::TlsClients(TlsUse use) : use_(use), context_(SSL_CTX_new(TLS_client_method()), SSL_CTX_free) {
    SSL_CTX* const context = context_.get();
    if (!context || SSL_CTX_set_min_proto_version(context, TLS1_2_VERSION) != 1)
        throw std::runtime_error("OpenSSL has no context for clients");
    SSL_CTX_set_options(context, SSL_OP_IGNORE_UNEXPECTED_EOF);
    SSL_CTX_set_mode(context, SSL_MODE_RELEASE_BUFFERS | SSL_MODE_ENABLE_PARTIAL_WRITE |
                                  SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
    SSL_CTX_set_read_ahead(context, 1);
    SSL_CTX_set_app_data(context, this);
    SSL_CTX_set_session_cache_mode(context, use == TlsUse::Resumed
                                                ? SSL_SESS_CACHE_CLIENT | SSL_SESS_CACHE_NO_INTERNAL
                                                : SSL_SESS_CACHE_OFF);
    SSL_CTX_sess_set_new_cb(context, &TlsClients::onTicket);
}

int TlsClients::onTicket(SSL* ssl, SSL_SESSION* session) noexcept {
    auto& self = *static_cast<TlsClients*>(SSL_CTX_get_app_data(SSL_get_SSL_CTX(ssl)));
    self.ticket_.reset(session, SSL_SESSION_free);
    return 1;  // it is ours now
}

std::shared_ptr<SSL> TlsClients::connect(const Descriptor& socket) {
    std::shared_ptr<SSL> ssl(SSL_new(context_.get()), SSL_free);
    if (!ssl || SSL_set_fd(ssl.get(), socket.number()) != 1)
        throw std::runtime_error("OpenSSL has no connection");
    if (use_ == TlsUse::Resumed && ticket_) {
        // OpenSSL resumes each but once in TLS 1.3; servers do not mind.
        const std::shared_ptr<SSL_SESSION> copy(SSL_SESSION_dup(ticket_.get()), SSL_SESSION_free);
        SSL_set_session(ssl.get(), copy.get());
    }
    SSL_set_connect_state(ssl.get());
    return ssl;
}

void Stream::open(Descriptor socket) {
    close();
    socket_ = std::move(socket);
}

void Stream::close() {
    // OpenSSL takes a session whose end has not been said for a bad one, which cannot be resumed.
    if (tls_) SSL_set_shutdown(tls_.get(), SSL_SENT_SHUTDOWN | SSL_RECEIVED_SHUTDOWN);
    tls_.reset();
    socket_.close();
}

bool Stream::wasResumed() const {
    return tls_ && SSL_session_reused(tls_.get()) == 1;
}

Stream::Result Stream::read(std::span<char> into) {
    if (tls_) {
        std::size_t bytes = 0;
        ERR_clear_error();
        const int result = SSL_read_ex(tls_.get(), into.data(), into.size(), &bytes);
        return tlsResult(result, bytes);
    }
    const ssize_t count = recv(socket_.number(), into.data(), into.size(), 0);
    if (count < 0) return {errno == EAGAIN ? State::Later : State::Failed, 0, std::strerror(errno)};
    return {count == 0 ? State::Ended : State::Moved, static_cast<std::size_t>(count)};
}

Stream::Result Stream::write(std::string_view bytes) {
    if (tls_) {
        std::size_t written = 0;
        ERR_clear_error();
        const int result = SSL_write_ex(tls_.get(), bytes.data(), bytes.size(), &written);
        return tlsResult(result, written);
    }
    const ssize_t count = send(socket_.number(), bytes.data(), bytes.size(), MSG_NOSIGNAL);
    if (count < 0) return {errno == EAGAIN ? State::Later : State::Failed, 0, std::strerror(errno)};
    return {State::Moved, static_cast<std::size_t>(count)};
}

Stream::Result Stream::tlsResult(int result, std::size_t bytes) const {
    if (result == 1) return {State::Moved, bytes};
    switch (SSL_get_error(tls_.get(), result)) {
        case SSL_ERROR_WANT_READ:
        case SSL_ERROR_WANT_WRITE:
            return {State::Later};
        case SSL_ERROR_ZERO_RETURN:
            return {State::Ended};
        case SSL_ERROR_SSL: {
            const char* reason = ERR_reason_error_string(ERR_peek_error());
            return {State::Failed, 0, reason ? reason : "TLS"};
        }
        default:
            return {State::Failed, 0, std::strerror(errno)};
    }
}

}  // namespace mailgate::load
