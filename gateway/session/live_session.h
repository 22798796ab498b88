// SPDX-License-Identifier: Apache-2.0
/// \file  What an administrator sees of a session that is under way.
#pragma once

#include "protocols/values/address.h"

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace mailgate {

/// One live session.
struct LiveSession {
    std::string id, listener, protocol, state;
    std::optional<Endpoint> client;  ///< none: its header has not been read
    std::optional<IpAddress> balancer;
    std::string upstream, server;  ///< empty: none yet
    std::string helo, user, tls;
    std::string from;  ///< envelope sender of the last transaction
    std::uint32_t mail_count = 0;
    std::uint64_t bytes_in = 0, bytes_out = 0;
    std::int64_t started_ms = 0;  ///< Unix time, milliseconds
    std::int64_t idle_ms = 0;
};

/// The newest of those that there are.
struct LiveSessions {
    std::size_t found = 0;  ///< all of them
    std::vector<LiveSession> sessions;
};

}  // namespace mailgate
