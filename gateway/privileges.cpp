#include "gateway/privileges.h"

#include "gateway/config/load.h"

#include <fmt/format.h>

#include <grp.h>
#include <pwd.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

namespace mailgate {

void dropPrivileges(const std::string& user) {
    if (user.empty() || ::geteuid() != 0) return;
    const passwd* entry = ::getpwnam(user.c_str());
    if (!entry) throw ConfigError(fmt::format("gateway.user: there is no user \"{}\" on this machine", user));
    if (::initgroups(user.c_str(), entry->pw_gid) != 0 || ::setgid(entry->pw_gid) != 0 ||
        ::setuid(entry->pw_uid) != 0) {
        throw ConfigError(fmt::format("gateway.user: cannot become \"{}\": {}", user, std::strerror(errno)));
    }
}

}  // namespace mailgate
