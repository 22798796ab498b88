// SPDX-License-Identifier: Apache-2.0
#include "gateway/daemon/service_manager.h"

#include <systemd/sd-daemon.h>

#include <cerrno>
#include <cstddef>
#include <cstdlib>
#include <string_view>

namespace mailgate {

ServiceManager::ServiceManager() {
    const char* set = std::getenv("NOTIFY_SOCKET");
    const std::string_view name = set ? set : "";
    const bool is_abstract = name.starts_with('@');
    if ((!is_abstract && !name.starts_with('/')) || name.size() >= sizeof address_.sun_path) return;
    address_.sun_family = AF_UNIX;
    name.copy(address_.sun_path, name.size());
    if (is_abstract) address_.sun_path[0] = '\0';
    // Of an abstract name each byte counts, and none ends it (unix(7)).
    address_size_ = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + name.size() + !is_abstract);
    socket_ = Descriptor(::socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0));
}

void ServiceManager::tell(const std::string& words) const noexcept {
    if (socket_.get() < 0) {
        ::sd_notify(0, words.c_str());
        return;
    }
    while (::sendto(socket_.get(), words.data(), words.size(), MSG_NOSIGNAL,
                    reinterpret_cast<const sockaddr*>(&address_), address_size_) < 0 &&
           errno == EINTR) {
    }
}

}  // namespace mailgate
