// SPDX-License-Identifier: Apache-2.0
/// \file  Poco's SocketReactor, kept to what it does well: few sockets, on one thread.
#pragma once

#include "gateway/io/session_set.h"

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

/// Of what its own sockets have, it never waits: the sessions' set does, and has those sockets too (SessionSet::wakeFor()).
/// With the set among its sockets it could wait as well, but then each event of a session had the kernel wake both.
class Reactor : public Poco::Net::SocketReactor {
  public:
    explicit Reactor(SessionSet& set) : Poco::Net::SocketReactor(Poco::Timespan(0)), set_(set) {}

    /// Has the set served: to be called, too, by what has had its turn and knows that nobody else here needs one. Does
    /// nothing once the reactor is stopped.
    void serve() {
        if (!stopped_) set_.serve();
    }
    /// Ends run() when the batch under way is over. The reactor's thread.
    void end() {
        stopped_ = true;
        stop();
        set_.leave();
    }

  protected:
    // None of its sockets has anything; as shipped this visits every one of them.
    void onTimeout() override { serve(); }
    // It has no sockets.
    void onIdle() override { serve(); }

  private:
    SessionSet& set_;
    bool stopped_ = false;
};

}  // namespace mailgate
