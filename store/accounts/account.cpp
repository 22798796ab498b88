// SPDX-License-Identifier: Apache-2.0
#include "store/accounts/account.h"

#include <algorithm>
#include <array>

namespace mailgate::store {

namespace {

constexpr std::array<std::string_view, 3> kRoles{"viewer", "operator", "admin"};
constexpr std::size_t kMaxNameLength = 64;

bool isOfNames(char character) noexcept {
    return (character >= 'a' && character <= 'z') || (character >= 'A' && character <= 'Z') ||
           (character >= '0' && character <= '9') ||
           std::string_view("._@-").find(character) != std::string_view::npos;
}

}  // namespace

std::string_view toString(Role role) noexcept {
    return kRoles[static_cast<std::size_t>(role)];
}

std::optional<Role> roleOf(std::string_view word) noexcept {
    const auto* const found = std::find(kRoles.begin(), kRoles.end(), word);
    if (found == kRoles.end()) return std::nullopt;
    return static_cast<Role>(found - kRoles.begin());
}

bool isAccountName(std::string_view name) noexcept {
    return !name.empty() && name.size() <= kMaxNameLength && std::all_of(name.begin(), name.end(), isOfNames);
}

}  // namespace mailgate::store
