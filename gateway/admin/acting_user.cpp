// SPDX-License-Identifier: Apache-2.0
#include "gateway/admin/acting_user.h"

#include "protocols/values/text.h"

#include <fmt/format.h>

#include <pwd.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstdlib>

namespace mailgate::admin {

std::string userName(uid_t uid) {
    std::array<char, 4096> buffer{};
    passwd entry{};
    passwd* found = nullptr;
    if (::getpwuid_r(uid, &entry, buffer.data(), buffer.size(), &found) == 0 && found) return found->pw_name;
    return fmt::format("uid {}", uid);
}

std::string actingUser() {
    const char* sudo_user = ::getuid() == 0 ? std::getenv("SUDO_USER") : nullptr;
    return sudo_user == nullptr || *sudo_user == '\0' ? userName(::getuid())
                                                      : fmt::format("{} (sudo)", sudo_user);
}

std::string orderingUser(uid_t uid, std::string_view header) {
    constexpr std::size_t kLongest = 100;
    const bool is_name =
        !header.empty() && header.size() <= kLongest && std::none_of(header.begin(), header.end(), isControl);
    return uid == 0 && is_name ? std::string(header) : userName(uid);
}

}  // namespace mailgate::admin
