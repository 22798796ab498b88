// SPDX-License-Identifier: Apache-2.0
/// \file  A connection over TLS as Poco's HTTP takes it: its calls block, within a limit for each.
#pragma once

#include "gateway/tls/tls_transport.h"

#include <Poco/Net/StreamSocket.h>

#include <memory>
#include <string>

namespace mailgate::http {

/// The handshake with one client, and the head of its request, without waiting for either: the owner polls descriptor() for
/// what there is to be read, and calls advance(). One thread at a time.
class TlsConnection {
  public:
    /// Takes over `fd`, which is non-blocking. Null when there is no memory.
    static std::unique_ptr<TlsConnection> accept(int fd,
                                                 const std::shared_ptr<const TlsServerContext>& context);

    int descriptor() const noexcept { return fd_; }

    /// Goes on as far as that is possible now; `most`: how much is read ahead. False: the peer is gone, or does not speak TLS.
    bool advance(std::size_t most);
    /// Whether nothing comes behind what has been read ahead.
    bool hasEnded() const noexcept { return has_ended_; }
    /// What has been read ahead.
    const std::string& received() const noexcept { return received_; }

    // Blocking, for at most so many milliseconds in all, or, of what is sent, between two bytes. As recv(2) and send(2) with errors as exceptions:
    // Poco::TimeoutException, Poco::Net::NetException.

    int receive(char* into, int size, int limit_ms);
    int send(const char* bytes, int size, int limit_ms);
    /// Says that nothing more comes.
    void finish() noexcept { transport_->shutdownWrite(); }

  private:
    TlsConnection(int fd, std::unique_ptr<TlsTransport> transport) noexcept
        : fd_(fd), transport_(std::move(transport)) {}
    void await(short events, int limit_ms);

    int fd_;  ///< the transport's
    std::unique_ptr<TlsTransport> transport_;
    std::string received_;
    bool has_ended_ = false;
};

/// Takes it over.
Poco::Net::StreamSocket socketOver(std::unique_ptr<TlsConnection> connection, int limit_ms);

}  // namespace mailgate::http
