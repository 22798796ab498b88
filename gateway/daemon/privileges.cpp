// SPDX-License-Identifier: Apache-2.0
#include "gateway/daemon/privileges.h"

#include "gateway/base/config_error.h"

#include <fmt/format.h>

#include <grp.h>
#include <pwd.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

namespace mailgate {

namespace {

const passwd& entryOf(const std::string& user) {
    const passwd* entry = ::getpwnam(user.c_str());
    if (!entry) throw ConfigError(fmt::format("gateway.user: there is no user \"{}\" on this machine", user));
    return *entry;
}

}  // namespace

void requireUser(const std::string& user) {
    if (!user.empty()) entryOf(user);
}

void dropPrivileges(const std::string& user) {
    if (user.empty() || ::geteuid() != 0) return;
    const passwd& entry = entryOf(user);
    if (::initgroups(user.c_str(), entry.pw_gid) != 0 || ::setgid(entry.pw_gid) != 0 ||
        ::setuid(entry.pw_uid) != 0) {
        throw ConfigError(fmt::format("gateway.user: cannot become \"{}\": {}", user, std::strerror(errno)));
    }
}

bool actsAs(const std::string& user) {
    return user.empty() || entryOf(user).pw_uid == ::geteuid();
}

}  // namespace mailgate
