// SPDX-License-Identifier: Apache-2.0
/// \file  What a syslog daemon does with its socket.
#pragma once

#include "gateway/log/log_line.h"

#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <stdexcept>
#include <string>

namespace mailgate {

class SyslogSocket {
  public:
    explicit SyslogSocket(const std::filesystem::path& path)
        : fd_(::socket(AF_UNIX, SOCK_DGRAM, 0)), path_(path) {
        sockaddr_un address{};
        address.sun_family = AF_UNIX;
        path.native().copy(address.sun_path, sizeof address.sun_path - 1);
        const timeval limit{20, 0};
        ::setsockopt(fd_, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
        if (::bind(fd_, reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0)
            throw std::runtime_error("bind");
    }
    ~SyslogSocket() {
        ::close(fd_);
        std::filesystem::remove(path_);
    }
    std::string receive() const {
        std::string message(kMaxLogLineBytes + 100, '\0');
        message.resize(
            static_cast<std::size_t>(std::max<ssize_t>(0, ::recv(fd_, message.data(), message.size(), 0))));
        return message;
    }

  private:
    int fd_;
    std::filesystem::path path_;
};

}  // namespace mailgate
