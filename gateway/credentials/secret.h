// SPDX-License-Identifier: Apache-2.0
/// \file  Secrets that the gateway makes itself: tokens, sessions. 256 random bits each, so a fast digest is all that has to be
/// kept of them. Any thread.
#pragma once

#include <string>
#include <string_view>

namespace mailgate::credentials {

/// What a token begins with, by which people, and programs that look for leaked secrets, know it.
inline constexpr std::string_view kTokenPrefix = "mgt_";

/// 43 characters of base64url (RFC 4648 5). Throws std::system_error.
std::string newSecret();

/// SHA-256, in hexadecimal.
std::string digestOf(std::string_view secret);

}  // namespace mailgate::credentials
