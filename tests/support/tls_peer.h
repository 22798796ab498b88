// SPDX-License-Identifier: Apache-2.0
/// \file  OpenSSL itself as the far end of a connection, without a socket: what it sends is a string.
#pragma once

#include <openssl/err.h>
#include <openssl/ssl.h>

#include <functional>
#include <memory>
#include <string>
#include <string_view>

namespace mailgate::test {

class TlsPeer {
  public:
    using Setup = std::function<void(SSL_CTX*)>;

    static std::shared_ptr<SSL_CTX> clientContext(const Setup& setup = nullptr) {
        std::shared_ptr<SSL_CTX> context(SSL_CTX_new(TLS_client_method()), SSL_CTX_free);
        SSL_CTX_set_session_cache_mode(context.get(),
                                       SSL_SESS_CACHE_CLIENT | SSL_SESS_CACHE_NO_INTERNAL_STORE);
        if (setup) setup(context.get());
        return context;
    }

    /// A client, with a context of its own.
    explicit TlsPeer(const Setup& setup = nullptr) : TlsPeer(clientContext(setup)) {}
    explicit TlsPeer(std::shared_ptr<SSL_CTX> context)
        : context_(std::move(context)), ssl_(SSL_new(context_.get())) {
        in_ = BIO_new(BIO_s_mem());
        out_ = BIO_new(BIO_s_mem());
        BIO_set_mem_eof_return(in_, -1);
        SSL_set_bio(ssl_, in_, out_);
        SSL_set_connect_state(ssl_);
    }
    ~TlsPeer() {
        // A session whose connection has not been shut down is not resumed.
        SSL_set_shutdown(ssl_, SSL_SENT_SHUTDOWN | SSL_RECEIVED_SHUTDOWN);
        SSL_free(ssl_);
    }
    TlsPeer(const TlsPeer&) = delete;
    TlsPeer& operator=(const TlsPeer&) = delete;

    SSL* ssl() { return ssl_; }
    void asksFor(const std::string& name) { SSL_set_tlsext_host_name(ssl_, name.c_str()); }

    /// Goes on with the handshake; whether it is done.
    bool advance() {
        ERR_clear_error();
        return SSL_do_handshake(ssl_) == 1;
    }
    void writes(std::string_view text) {
        ERR_clear_error();
        std::size_t put = 0;
        if (SSL_write_ex(ssl_, text.data(), text.size(), &put) != 1) std::abort();
    }
    std::string reads() {
        ERR_clear_error();
        std::string all;
        char buffer[16384];
        std::size_t got = 0;
        while (SSL_read_ex(ssl_, buffer, sizeof buffer, &got) == 1)
            all.append(buffer, got);
        error = ERR_GET_REASON(ERR_peek_error());
        return all;
    }
    /// What it has sent since the last time.
    std::string sent() {
        char* bytes = nullptr;
        const long size = BIO_get_mem_data(out_, &bytes);
        std::string copy(bytes, static_cast<std::size_t>(size));
        (void)BIO_reset(out_);
        return copy;
    }
    void gets(std::string_view bytes) {
        if (!bytes.empty()) BIO_write(in_, bytes.data(), static_cast<int>(bytes.size()));
    }

    int error = 0;  ///< OpenSSL's reason for the last read that failed

  private:
    std::shared_ptr<SSL_CTX> context_;
    SSL* ssl_;
    BIO* in_;
    BIO* out_;
};

}  // namespace mailgate::test
