// SPDX-License-Identifier: Apache-2.0
/// \file  Poco's SocketReactor, kept to what it does well: few sockets, on one thread.
#pragma once

#include <Poco/Net/Socket.h>
#include <Poco/Net/SocketImpl.h>
#include <Poco/Net/SocketNotification.h>
#include <Poco/Net/SocketReactor.h>

namespace mailgate {

/// A descriptor of ours that the reactor polls. It stays ours: this never closes it.
class PolledDescriptor : public Poco::Net::Socket {
  public:
    explicit PolledDescriptor(int fd) : Poco::Net::Socket(new Impl(fd)) {}

  private:
    // NOLINTNEXTLINE(cppcoreguidelines-virtual-class-destructor): it counts its references, and is deleted by them alone.
    class Impl : public Poco::Net::SocketImpl {
      public:
        explicit Impl(int fd) : Poco::Net::SocketImpl(fd) {}

      protected:
        ~Impl() override { reset(); }
    };
};

class Reactor : public Poco::Net::SocketReactor {
  public:
    // The session set brings its own clock, so the reactor waits for events alone.
    Reactor() : Poco::Net::SocketReactor(Poco::Timespan(3600, 0)) {}

  protected:
    // As shipped this visits every registered socket.
    void onTimeout() override {}
};

}  // namespace mailgate
