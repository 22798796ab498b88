// SPDX-License-Identifier: Apache-2.0
/// \file  TCP keep-alive, the same towards clients and servers.
#pragma once

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

namespace mailgate {

/// A peer that has vanished without a FIN must not hold an idle session for ever, and a silent one must not be
/// forgotten by devices on the way: the interval is below the 350 s after which an AWS NLB, and many a NAT, forgets
/// an idle connection (IPVS: 900 s). It counts from what the connection received last, also where it is older than this.
inline void keepAlive(int fd) noexcept {
    constexpr int kOn = 1, kIdleSeconds = 120;
    ::setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &kOn, sizeof kOn);
    ::setsockopt(fd, IPPROTO_TCP, TCP_KEEPIDLE, &kIdleSeconds, sizeof kIdleSeconds);
}

}  // namespace mailgate
