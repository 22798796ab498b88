// SPDX-License-Identifier: Apache-2.0
/// \file  What a client of the load tool reads from and writes to: its socket, in the clear or in TLS.
///
/// Certificates are not verified: the gateway is measured, not trusted. Not thread-safe.
#pragma once

#include "tests/bench/load/event_loop.h"

#include <cstddef>
#include <memory>
#include <span>
#include <string_view>

struct ssl_ctx_st;
struct ssl_st;
struct ssl_session_st;

namespace mailgate::load {

enum class TlsUse : std::uint8_t {
    None,
    Full,     ///< each session's handshake in full
    Resumed,  ///< the first in full, the others with its tickets
};

/// What the clients of a run have in common.
class TlsClients {
  public:
    /// Throws std::runtime_error when OpenSSL does not do what is needed.
    explicit TlsClients(TlsUse use);

    TlsUse use() const { return use_; }
    /// A session can be resumed, or nobody is to resume one.
    bool isReady() const { return use_ != TlsUse::Resumed || ticket_; }
    std::shared_ptr<ssl_st> connect(const Descriptor& socket);

  private:
    static int onTicket(ssl_st* ssl, ssl_session_st* session) noexcept;

    TlsUse use_;
    std::shared_ptr<ssl_ctx_st> context_;
    std::shared_ptr<ssl_session_st> ticket_;  ///< the latest
};

class Stream {
  public:
    enum class State : std::uint8_t { Moved, Later, Ended, Failed };
    struct Result {
        State state;
        std::size_t bytes = 0;
        std::string_view error{};  ///< of Failed
    };

    void open(Descriptor socket);
    void close();
    /// What follows is in TLS; the handshake is done by the reads and writes to come.
    void secure(TlsClients& clients) { tls_ = clients.connect(socket_); }

    Result read(std::span<char> into);
    Result write(std::string_view bytes);

    const Descriptor& socket() const { return socket_; }
    bool isOpen() const { return socket_.isOpen(); }
    bool isSecure() const { return tls_ != nullptr; }
    bool wasResumed() const;

  private:
    Result tlsResult(int result, std::size_t bytes) const;

    Descriptor socket_;
    std::shared_ptr<ssl_st> tls_;
};

}  // namespace mailgate::load
