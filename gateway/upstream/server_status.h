// SPDX-License-Identifier: Apache-2.0
/// \file  What an administrator sees of a server, and can change.
#pragma once

#include "gateway/tls/handshake_counters.h"
#include "protocols/values/time.h"

#include <cstdint>
#include <string>
#include <vector>

namespace mailgate {

/// What an operator wants of a server.
enum class AdminState : std::uint8_t { Ready, Drain };

/// Who has drained a server, and when: so that it is not forgotten.
struct DrainOrder {
    UnixSeconds since = 0;  ///< 0: not known
    std::string by;         ///< empty: not known

    friend bool operator==(const DrainOrder&, const DrainOrder&) = default;
};

/// What is measured and the admin state are two things (a server can be healthy and drained).
struct ServerStatus {
    std::string upstream, server, address;
    bool healthy = true;
    bool draining = false;
    DrainOrder drained{};  ///< only where it is draining
    bool backup = false;
    std::uint32_t weight = 1;
    std::string reason;          ///< why it is down, in words; empty when healthy
    std::uint32_t sessions = 0;  ///< now
    std::uint64_t sessions_total = 0, failures_total = 0;
    std::int64_t changed_ms = 0;  ///< Unix time of the last change of health, milliseconds; 0: none yet
    std::vector<HandshakeCount> handshakes{};  ///< none: it is not spoken to in TLS
    UnixSeconds certificate_expires = 0;       ///< of the certificate shown last; 0: none was
};

}  // namespace mailgate
