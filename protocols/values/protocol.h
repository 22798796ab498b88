// SPDX-License-Identifier: Apache-2.0
/// \file  The protocols that a listener can carry, by name: what they are is in protocols/mail_protocol.h.
#pragma once

#include <cstddef>
#include <cstdint>
#include <iterator>
#include <optional>
#include <string_view>

namespace mailgate {

enum class Protocol : std::uint8_t { Smtp, Imap, Pop3, Lmtp, Sieve, Tcp };

/// The words used in the configuration file and in the log, by Protocol.
inline constexpr std::string_view kProtocolWords[] = {"smtp", "imap", "pop3", "lmtp", "sieve", "tcp"};

constexpr std::string_view toString(Protocol protocol) noexcept {
    return kProtocolWords[static_cast<std::size_t>(protocol)];
}

/// Its sessions carry messages (RFC 5321, RFC 2033); the others read mailboxes.
constexpr bool transfersMail(Protocol protocol) noexcept {
    return protocol == Protocol::Smtp || protocol == Protocol::Lmtp;
}

constexpr std::optional<Protocol> protocolFromString(std::string_view word) noexcept {
    for (std::size_t at = 0; at < std::size(kProtocolWords); ++at) {
        if (word == kProtocolWords[at]) return static_cast<Protocol>(at);
    }
    return std::nullopt;
}

}  // namespace mailgate
