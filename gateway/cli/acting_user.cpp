// SPDX-License-Identifier: Apache-2.0
#include "gateway/cli/acting_user.h"

#include <fmt/format.h>

#include <pwd.h>
#include <unistd.h>

#include <cstdlib>

namespace mailgate::cli {

namespace {

std::string userName(uid_t user) {
    const passwd* entry = ::getpwuid(user);
    return entry == nullptr ? fmt::format("uid {}", user) : entry->pw_name;
}

}  // namespace

std::string actingUser() {
    const char* sudo_user = std::getenv("SUDO_USER");
    std::string user = userName(::getuid());
    if (sudo_user == nullptr || *sudo_user == '\0') return user;
    // Anybody can set the variable, so that whoever is not root is named too.
    return ::getuid() == 0 ? fmt::format("{} (sudo)", sudo_user)
                           : fmt::format("{} (sudo -u {})", sudo_user, user);
}

}  // namespace mailgate::cli
