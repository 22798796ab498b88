// SPDX-License-Identifier: Apache-2.0
/// \file  Who may use the console and its API: people's accounts, and tokens for programs.
#pragma once

#include "protocols/values/time.h"

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace mailgate::store {

/// What somebody may do. A larger role may do what a smaller one may.
enum class Role : std::uint8_t {
    Viewer,    ///< look, at masked client addresses
    Operator,  ///< look, change rules, drain servers, end sessions
    Admin,     ///< likewise, and see the configuration
};
std::string_view toString(Role role) noexcept;
/// None for any other word.
std::optional<Role> roleOf(std::string_view word) noexcept;

/// 1 to 64 of letters, digits, '.', '-', '_' and '@'. Case matters.
bool isAccountName(std::string_view name) noexcept;

struct Account {
    std::string name;
    Role role = Role::Viewer;
    std::string password;         ///< as crypt(3) hashes it
    UnixSeconds password_at = 0;  ///< when it was set
    UnixSeconds created_at = 0;
    std::string created_by;  ///< a Unix user
};

/// What a program shows instead of a password.
struct Token {
    std::string name;
    Role role = Role::Viewer;
    std::string account;  ///< whose it is: it goes with the account, and may do no more; empty: nobody's
    UnixSeconds created_at = 0;
    std::string created_by;
    std::optional<UnixSeconds> expires_at;  ///< from this second on it is of no use
};

inline bool isLive(const Token& token, UnixSeconds now) noexcept {
    return !token.expires_at || *token.expires_at > now;
}

}  // namespace mailgate::store
