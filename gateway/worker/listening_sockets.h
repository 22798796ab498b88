// SPDX-License-Identifier: Apache-2.0
/// \file  Binds the configuration's listeners, one socket for each address and worker.
#pragma once

#include "gateway/base/descriptor.h"
#include "gateway/config/config.h"
#include "gateway/io/listen_error.h"
#include "protocols/values/address.h"

#include <sys/types.h>

#include <cstddef>
#include <string>
#include <utility>
#include <vector>

namespace mailgate {

/// A sentence for each address of `config` that this machine does not have at present; addresses in use, and those
/// that only another user may bind, are not reported. Nothing listens meanwhile.
std::vector<std::string> addressesNotHere(const Config& config);

/// How many may wait to be accepted; the kernel caps it at net.core.somaxconn.
constexpr int kListenBacklog = 4096;

/// One socket that listens, non-blocking.
struct ListeningSocket {
    Descriptor descriptor;
    std::size_t listener = 0;  ///< index into Config::listeners
    Endpoint local;            ///< as configured
    bool wildcard = false;     ///< the address that a client connected to has to be asked for
    bool shared = false;       ///< an inherited one, which all workers have and systemd keeps
};

/// What the connections inherit that `fd`, which listens, accepts from now on, so that it costs them no system call: TCP_NODELAY,
/// and, where the gateway or its server speaks first, that what a client has sent first is acknowledged with those words.
void setInheritable(int fd, const ListenerConfig& listener) noexcept;

/// [worker][address].
using ListeningSockets = std::vector<std::vector<ListeningSocket>>;

/// Sockets that systemd holds for us (sd_listen_fds(3)): bound, listening, named like their listener. They
/// outlive a restart, so that what connects meanwhile waits in their queue. Taken once, at start; the
/// environment variables are cleared. Kept for as long as there may be a reload that wants one back: nobody else
/// can bind their ports meanwhile.
class InheritedSockets {
  public:
    static InheritedSockets take();
    /// One that listens.
    void add(std::string name, Descriptor descriptor);
    /// Whom the kernel goes on letting in, where systemd has let go of them too, would wait for nobody.
    void letGo() noexcept { sockets_.clear(); }

    /// The socket for `at` of the listener, -1 if there is none. It stays this object's.
    int find(const std::string& listener, const Endpoint& at) const;
    /// A sentence for each that is no listener's of `config`: whom it lets in nobody answers.
    std::vector<std::string> unusedWarnings(const Config& config) const;
    /// The one that keeps `at` from being bound: "NAME (ADDRESS)"; empty: none.
    std::string holding(const Endpoint& at) const;

  private:
    struct Inherited {
        std::string name;
        Endpoint local;
        Descriptor descriptor;
        std::string text() const;
    };
    std::vector<Inherited> sockets_;
};

/// Whether a socket that listens there for the configuration `before` goes on for `next` as it is.
bool staysBound(const Config& before, const Config& next, const Endpoint& at);

/// Binds what `config` names, but for what goes on as it is for the configuration in force (`before`). The
/// kernel spreads connections over a listener's sockets (SO_REUSEPORT), yet no other process can join them:
/// the first socket is bound and listens without the option, which fails when anybody listens there, and
/// gets it only then. Where nobody does but sockets of `before` that will be closed (a wildcard takes the
/// place of an address, or the other way round), it has the option from the beginning, as they do. An inherited
/// socket is shared by the workers instead. Nobody connects to them yet. Throws ListenError.
ListeningSockets bindListeners(const Config& config, unsigned workers, const InheritedSockets& inherited = {},
                               const Config* before = nullptr);

/// From now on those of bindListeners(), called with the same, may draw to themselves whom the ones in force would let
/// in. Throws ListenError where another process has come in between.
void startListening(const ListeningSockets& sockets, const Config& config,
                    const InheritedSockets& inherited = {}, const Config* before = nullptr);

/// Both.
ListeningSockets openListeners(const Config& config, unsigned workers,
                               const InheritedSockets& inherited = {});

/// Makes them those of the user whose process will open the later ones: where sockets of two users would collide,
/// the kernel lets neither have SO_REUSEPORT. Those that systemd keeps stay its own.
void giveListeners(const ListeningSockets& sockets, uid_t user) noexcept;

}  // namespace mailgate
