// SPDX-License-Identifier: Apache-2.0
#include "gateway/worker/acceptor.h"

#include "gateway/base/memory_reserve.h"
#include "gateway/io/socket_address.h"

#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <exception>
#include <new>
#include <system_error>
#include <utility>

namespace mailgate {

Acceptor::Acceptor(Reactor& reactor, SessionSet& set, Owner& owner, ListeningSocket listening)
    : reactor_(reactor),
      set_(set),
      owner_(owner),
      listening_(std::move(listening)),
      socket_(listening_.descriptor.get()),
      observer_(*this, &Acceptor::onReadable) {
    if (!begin()) throw std::system_error(errno, std::generic_category(), "epoll_ctl");
}

Acceptor::~Acceptor() {
    rest();
    if (told_) owner_.onResumed(listening_, true);
}

void Acceptor::onReadable(const Poco::AutoPtr<Poco::Net::ReadableNotification>&) {
    acceptClients();
    owner_.onTurnOver();  // nothing of this may be needed any more
}

void Acceptor::acceptWaiting() noexcept {
    try {
        // No more than a queue holds: a flood of new clients is no reason to keep it open.
        for (int turn = 0; turn < kListenBacklog / kAcceptsPerTurn && acceptClients(); ++turn) {
        }
    } catch (const std::exception&) {
        // Even pausing takes memory. A new configuration must come into force wholly all the same.
    }
}

/// Whether there may be more who wait.
bool Acceptor::acceptClients() {
    set_.readClock();
    if (memory_reserve::low()) return pause(ENOMEM), false;
    for (int count = 0; count < kAcceptsPerTurn; ++count) {
        sockaddr_storage from{};
        socklen_t size = sizeof from;
        const int fd = ::accept4(listening_.descriptor.get(), reinterpret_cast<sockaddr*>(&from), &size,
                                 SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (fd < 0) return failed(errno);
        try {
            owner_.onAccepted(listening_, Descriptor(fd), SocketAddress::toEndpoint(from));
        } catch (const std::bad_alloc&) {
            return pause(ENOMEM), false;
        }
    }
    return true;
}

bool Acceptor::failed(int error) {
    if (error == EMFILE || error == ENFILE || error == ENOBUFS || error == ENOMEM) return pause(error), false;
    // The client was gone before we came; the next turn sees whether there are others.
    return error != EAGAIN;
}

void Acceptor::pause(int error) {
    rest();
    set_.arm(*this, set_.now() + kPause);
    if (!std::exchange(told_, true)) owner_.onPaused(listening_, error);
}

void Acceptor::onTimer() {
    if (!memory_reserve::refill() || !begin()) return set_.arm(*this, set_.now() + kPause);
    // A listener that can accept again says so once; one that cannot is back here before anybody reads it.
    const int probe = ::dup(listening_.descriptor.get());
    if (probe < 0) return;
    ::close(probe);
    if (std::exchange(told_, false)) owner_.onResumed(listening_, false);
}

bool Acceptor::begin() {
    if (!set_.wakeFor(listening_.descriptor.get())) return false;
    reactor_.addEventHandler(socket_, observer_);
    resting_ = false;
    return true;
}

void Acceptor::rest() {
    if (std::exchange(resting_, true)) return;
    set_.forget(listening_.descriptor.get());
    reactor_.removeEventHandler(socket_, observer_);
}

}  // namespace mailgate
