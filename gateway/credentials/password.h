// SPDX-License-Identifier: Apache-2.0
/// \file  Passwords of people, as crypt(3) hashes them: yescrypt, which takes some 20 ms and 16 MiB. So nothing here is for
/// a thread that others wait for. Any thread.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

namespace mailgate::credentials {

inline constexpr std::size_t kMinPassword = 12;   ///< characters (NIST SP 800-63B asks for 8 at least)
inline constexpr std::size_t kMaxPassword = 500;  ///< bytes; crypt(3) takes 512

/// Why it cannot be a password, the rest of a sentence that begins with "the password"; empty: it can.
std::string passwordError(std::string_view password);

/// With a salt of its own. Throws std::system_error.
std::string hashPassword(const std::string& password);

/// Whether `hash` is that of the password. A hash that crypt(3) does not know is nobody's.
bool isPassword(const std::string& password, const std::string& hash);

}  // namespace mailgate::credentials
