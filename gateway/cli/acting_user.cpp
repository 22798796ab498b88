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
    const char* sudo_user = ::getuid() == 0 ? std::getenv("SUDO_USER") : nullptr;
    return sudo_user == nullptr || *sudo_user == '\0' ? userName(::getuid())
                                                      : fmt::format("{} (sudo)", sudo_user);
}

}  // namespace mailgate::cli
