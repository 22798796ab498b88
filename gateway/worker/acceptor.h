// SPDX-License-Identifier: Apache-2.0
/// \file  Accepts on one listening socket, and pauses when there are no descriptors or no memory.
#pragma once

#include "gateway/base/descriptor.h"
#include "gateway/io/session_set.h"
#include "gateway/worker/listening_sockets.h"
#include "gateway/worker/reactor.h"

#include <Poco/AutoPtr.h>
#include <Poco/NObserver.h>
#include <Poco/Net/SocketNotification.h>

#include <cstddef>

namespace mailgate {

/// Of one thread, which runs the reactor.
class Acceptor final : private Timer {
  public:
    /// Connections accepted in one turn, so that a flood of new clients leaves time for those who are in.
    static constexpr int kAcceptsPerTurn = 64;
    /// How long it rests.
    static constexpr Millis kPause = 500;

    /// The owner that it accepts for.
    class Owner {
      public:
        virtual ~Owner() = default;
        /// May throw std::bad_alloc.
        virtual void onAccepted(const ListeningSocket& listening, Descriptor client,
                                const Endpoint& peer) = 0;
        /// It has paused for the reason in `error`; called once, until onResumed().
        virtual void onPaused(const ListeningSocket& listening, int error) = 0;
        /// It has accepted all that it will in this turn, and may be destroyed in this call.
        virtual void onTurnOver() {}
        /// It can accept again, or (`closed`) never will.
        virtual void onResumed(const ListeningSocket& listening, bool closed) = 0;
    };

    /// All of these outlive it. `set` has the clock and the timers, and lets the reactor accept. Throws std::system_error
    /// when the kernel polls no more descriptors.
    Acceptor(Reactor& reactor, SessionSet& set, Owner& owner, ListeningSocket listening);
    ~Acceptor() override;

    const Endpoint& local() const noexcept { return listening_.local; }
    /// The same address, as listener `index` of its owner's new configuration.
    void moveTo(std::size_t index, const ListenerConfig& listener) noexcept {
        listening_.listener = index;
        setInheritable(listening_.descriptor.get(), listener);
    }
    /// Accepts those who wait, as the kernel resets them once the socket is closed; for want of memory not all of them.
    void acceptWaiting() noexcept;

  private:
    using Observer = Poco::NObserver<Acceptor, Poco::Net::ReadableNotification>;

    void onReadable(const Poco::AutoPtr<Poco::Net::ReadableNotification>& notification);
    bool acceptClients();
    void onTimer() override;
    bool failed(int error);
    void pause(int error);
    bool begin();
    void rest();

    Reactor& reactor_;
    SessionSet& set_;
    Owner& owner_;
    ListeningSocket listening_;
    PolledDescriptor socket_;
    Observer observer_;
    bool resting_ = false;
    bool told_ = false;  ///< of the pause
};

}  // namespace mailgate
