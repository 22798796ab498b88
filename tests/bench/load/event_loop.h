// SPDX-License-Identifier: Apache-2.0
/// \file  The load tool's event loop: epoll, one thread, and the few socket calls that both its sides need.
///
/// Errors: what cannot be set up (a descriptor, an address) throws std::system_error and ends the tool. What
/// a peer does is a value. Not thread-safe.
#pragma once

#include <netinet/in.h>

#include <chrono>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>

namespace mailgate::load {

/// Owns a descriptor. Closing it also ends its watch.
class Descriptor {
  public:
    explicit Descriptor(int number = -1) : number_(number) {}
    Descriptor(Descriptor&& other) noexcept : number_(std::exchange(other.number_, -1)) {}
    Descriptor& operator=(Descriptor&& other) noexcept {
        std::swap(number_, other.number_);
        other.close();
        return *this;
    }
    ~Descriptor() { close(); }

    void close() noexcept;
    int number() const { return number_; }
    bool isOpen() const { return number_ >= 0; }

  private:
    int number_;
};

class Handler {
  public:
    virtual ~Handler() = default;
    /// `events` as epoll gives them. A handler may close its own descriptor in here; it must not be destroyed
    /// before EventLoop::runOnce() has returned.
    virtual void onReady(std::uint32_t events) = 0;
};

class EventLoop {
  public:
    EventLoop();

    /// `events` as epoll takes them; the handler must outlive the descriptor.
    void watch(const Descriptor& descriptor, Handler& handler, std::uint32_t events);
    /// Serves one batch. False: nothing happened for that long.
    bool runOnce(std::chrono::milliseconds wait);

  private:
    Descriptor epoll_;
};

struct Endpoint {
    sockaddr_in address{};

    /// From "127.0.0.1:2525". Throws std::invalid_argument.
    static Endpoint parse(std::string_view text);
    static Endpoint ofSocket(const Descriptor& socket);
    std::string toString() const;
};

/// A listening socket; what it accepts has TCP_NODELAY.
Descriptor listenOn(const Endpoint& endpoint);
/// Begins to connect, from any port of `source`.
Descriptor connectTo(const Endpoint& endpoint, const Endpoint& source);

/// Throws std::system_error with errno when `result` is negative.
int check(int result, const char* call);

}  // namespace mailgate::load
