// SPDX-License-Identifier: Apache-2.0
/// \file  SMTP reply lines.
#pragma once

#include <optional>
#include <string_view>

namespace mailgate {

/// The code of a reply line: three digits, then a space, a hyphen or the end.
std::optional<int> smtpReplyCode(std::string_view line) noexcept;

namespace smtp {

constexpr bool isPositive(int code) noexcept {
    return code / 100 == 2;
}

/// More lines of the reply follow this one, which has a code.
constexpr bool isContinued(std::string_view line) noexcept {
    return line.size() > 3 && line[3] == '-';
}

/// The keyword in a line of EHLO's reply, whatever stands around it.
std::string_view keywordOf(std::string_view line) noexcept;

/// The queue id in the reply that accepted a message, or nothing. Found only after the words that servers put before
/// it, because a reply may quote what the client sent.
std::string_view queueIdOf(std::string_view reply) noexcept;

}  // namespace smtp
}  // namespace mailgate
