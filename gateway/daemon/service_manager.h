// SPDX-License-Identifier: Apache-2.0
/// \file  Who started the gateway as a service, and wants to hear how it is (sd_notify(3)).
#pragma once

#include "gateway/base/descriptor.h"

#include <sys/socket.h>
#include <sys/un.h>

#include <string>

namespace mailgate {

/// sd_notify(3) opens a socket for each word, and says nothing when no descriptor is left: systemd's watchdog would then kill a
/// gateway that only has more clients than it may. This one has its socket from the start.
class ServiceManager {
  public:
    /// That of $NOTIFY_SOCKET; where it is not set, nobody is told anything.
    ServiceManager();

    /// "READY=1"; several are lines. As sd_notify(3) it waits where the manager has not read what came before.
    void tell(const std::string& words) const noexcept;

  private:
    // Not connected: a manager that begins anew has another socket of the same name.
    Descriptor socket_;  ///< none: of another kind (a virtual machine's), which is left to sd_notify(3)
    sockaddr_un address_{};
    socklen_t address_size_ = 0;
};

}  // namespace mailgate
