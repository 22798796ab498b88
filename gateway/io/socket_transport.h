// SPDX-License-Identifier: Apache-2.0
/// \file  A TCP connection in the worker's SessionSet, or in none: then its owner polls it.
#pragma once

#include "gateway/io/readiness.h"
#include "gateway/io/session_set.h"
#include "gateway/io/transport.h"
#include "protocols/values/address.h"

#include <memory>

namespace mailgate {

class SocketTransport final : public Transport {
  public:
    /// Takes over `fd`, which is non-blocking, and registers it: events go to `handler` with `slot`.
    /// `no_delay`: whether the socket inherited TCP_NODELAY. Null (and `fd` closed) when the kernel will not
    /// watch one more descriptor.
    static std::unique_ptr<SocketTransport> adopt(SessionSet& set, int fd, EventHandler& handler,
                                                  unsigned slot, bool no_delay) noexcept;

    /// Begins to connect. Null with `error` set when even that fails. The result of connecting shows at the
    /// first write: WouldBlock while it is under way, Error when it failed. Not registered until watch().
    /// `speaks_first`: that write brings bytes, with which the acknowledgement that ends TCP's handshake may travel.
    static std::unique_ptr<SocketTransport> connect(SessionSet& set, const Endpoint& to,
                                                    EventHandler& handler, unsigned slot, bool speaks_first,
                                                    int& error) noexcept;

    /// The same in no set: watch() and notifyWritable() are its owner's matter, who polls descriptor() and notes
    /// what poll(2) says.
    static std::unique_ptr<SocketTransport> connect(const Endpoint& to, int& error) noexcept;

    /// An accepted connection, likewise in no set. Null (and `fd` closed) when there is no memory.
    static std::unique_ptr<SocketTransport> adopt(int fd) noexcept;

    ~SocketTransport() override;
    SocketTransport(const SocketTransport&) = delete;
    SocketTransport& operator=(const SocketTransport&) = delete;

    int descriptor() const noexcept { return fd_; }
    /// Known from connect() on, before the connection is made.
    Endpoint localEnd() const noexcept;

    bool watch(bool writable) noexcept override;
    void note(std::uint32_t events) noexcept override { readiness_.note(events); }
    bool readable() const noexcept override { return readiness_.readable(); }
    IoResult read(std::span<char> into) noexcept override;
    IoResult write(std::string_view bytes) noexcept override { return send(bytes, 0); }
    IoResult writeLast(std::string_view bytes) noexcept override;
    IoResult spliceTo(Pipe& pipe) noexcept override;
    IoResult spliceFrom(Pipe& pipe) noexcept override;
    int peek() noexcept override;
    void shutdownWrite() noexcept override;
    void resetOnClose() noexcept override;
    void notifyWritable() noexcept override;
    std::size_t unacknowledged() const noexcept override;
    void acknowledge() noexcept override;
    void noDelay() noexcept override;
    void keepAlive() noexcept override;

  private:
    SocketTransport(SessionSet* set, int fd, EventHandler* handler, unsigned slot, bool no_delay) noexcept
        : handler_(handler), fd_(fd), slot_(slot), no_delay_(no_delay) {
        if (set) handler->join(*set);
    }

    IoResult send(std::string_view bytes, int flags) noexcept;

    static std::unique_ptr<SocketTransport> connect(SessionSet* set, const Endpoint& to,
                                                    EventHandler* handler, unsigned slot, bool speaks_first,
                                                    int& error) noexcept;

    // Every session keeps two of these.
    EventHandler* handler_;  ///< in whose set it is; null: in none
    int fd_;
    Readiness readiness_;
    std::uint8_t slot_ : 2;
    bool no_delay_ : 1;
    bool writable_events_ : 1 = false;
};

}  // namespace mailgate
