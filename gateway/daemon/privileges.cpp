// SPDX-License-Identifier: Apache-2.0
#include "gateway/daemon/privileges.h"

#include "gateway/base/config_error.h"

#include <fmt/format.h>

#include <grp.h>
#include <pwd.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <cstdint>
#include <cstring>
#include <optional>
#include <stdexcept>
#include <string_view>
#include <system_error>
#include <vector>

namespace mailgate {

namespace {

const passwd& entryOf(const std::string& user) {
    const passwd* entry = ::getpwnam(user.c_str());
    if (!entry) throw ConfigError(fmt::format("gateway.user: there is no user \"{}\" on this machine", user));
    return *entry;
}

/// Units name users and groups by number, too.
std::optional<std::uint32_t> idOf(const std::string& name) {
    std::uint32_t number = 0;
    const auto [end, error] = std::from_chars(name.data(), name.data() + name.size(), number);
    return error == std::errc() && end == name.data() + name.size() ? std::optional(number) : std::nullopt;
}

}  // namespace

void requireUser(const std::string& user) {
    if (!user.empty()) entryOf(user);
}

std::optional<uid_t> userToBecome(const std::string& user) {
    if (user.empty() || ::geteuid() != 0) return std::nullopt;
    return entryOf(user).pw_uid;
}

void dropPrivileges(const std::string& user) {
    if (!userToBecome(user)) return;
    const passwd& entry = entryOf(user);
    if (::initgroups(user.c_str(), entry.pw_gid) != 0 || ::setgid(entry.pw_gid) != 0 ||
        ::setuid(entry.pw_uid) != 0) {
        throw ConfigError(fmt::format("gateway.user: cannot become \"{}\": {}", user, std::strerror(errno)));
    }
}

void dropPrivileges(const ServiceUser& service) {
    if (::geteuid() != 0) return;
    const auto failed = [](std::string_view key, const std::string& name) {
        // getpwnam(3): what it leaves there when there is no such entry.
        const bool is_none = errno == 0 || errno == ENOENT || errno == ESRCH || errno == EBADF;
        return ConfigError(
            fmt::format("mailgate.service: {}={}: {}", key, name,
                        is_none ? "there is none of that name on this machine" : std::strerror(errno)));
    };
    const auto groupOf = [&](std::string_view key, const std::string& name) {
        errno = 0;
        const auto id = idOf(name);
        const group* entry = id ? ::getgrgid(*id) : ::getgrnam(name.c_str());
        if (!entry) throw failed(key, name);
        return entry->gr_gid;
    };
    errno = 0;
    const auto id = idOf(service.user);
    const passwd* entry = id ? ::getpwuid(*id) : ::getpwnam(service.user.c_str());
    if (!entry) throw failed("User", service.user);
    const std::string name = entry->pw_name;
    const uid_t user = entry->pw_uid;
    const gid_t group = service.group.empty() ? entry->pw_gid : groupOf("Group", service.group);
    if (::initgroups(name.c_str(), group) != 0) throw failed("User", service.user);
    std::vector<gid_t> groups(static_cast<std::size_t>(std::max(::getgroups(0, nullptr), 0)));
    if (::getgroups(static_cast<int>(groups.size()), groups.data()) < 0) throw failed("User", service.user);
    for (const std::string& each : service.groups)
        groups.push_back(groupOf("SupplementaryGroups", each));
    if (::setgroups(groups.size(), groups.data()) != 0 || ::setgid(group) != 0 || ::setuid(user) != 0)
        throw failed("User", service.user);
}

void refuseServingByHand(const std::filesystem::path& config, const std::filesystem::path& root) {
    std::error_code ignored;
    // sd_booted(3). In a container nobody but root may be there to serve.
    if (::geteuid() != 0 || !std::filesystem::exists(root / "run/systemd/system", ignored)) return;
    const auto service = serviceUser(config, root);
    if (!service) return;
    throw std::runtime_error(fmt::format(
        "mailgate.service serves with {} as {}, to whom files that root makes now would be closed: "
        "systemctl start mailgate; what it says: journalctl -u mailgate",
        config.string(), service->user));
}

bool actsAs(const std::string& user) {
    return user.empty() || entryOf(user).pw_uid == ::geteuid();
}

}  // namespace mailgate
