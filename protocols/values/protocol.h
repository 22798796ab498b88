// SPDX-License-Identifier: Apache-2.0
/// \file  The protocols that a listener can carry.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

namespace mailgate {

enum class Protocol : std::uint8_t { Smtp, Imap, Pop3, Lmtp, Sieve, Tcp };

/// The word used in the configuration file and in the log.
constexpr std::string_view toString(Protocol protocol) noexcept {
    switch (protocol) {
        case Protocol::Smtp:
            return "smtp";
        case Protocol::Imap:
            return "imap";
        case Protocol::Pop3:
            return "pop3";
        case Protocol::Lmtp:
            return "lmtp";
        case Protocol::Sieve:
            return "sieve";
        case Protocol::Tcp:
            return "tcp";
    }
    return "";
}

constexpr std::optional<Protocol> protocolFromString(std::string_view word) noexcept {
    for (const Protocol protocol :
         {Protocol::Smtp, Protocol::Imap, Protocol::Pop3, Protocol::Lmtp, Protocol::Sieve, Protocol::Tcp}) {
        if (word == toString(protocol)) return protocol;
    }
    return std::nullopt;
}

}  // namespace mailgate
