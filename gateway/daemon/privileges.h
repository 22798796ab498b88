// SPDX-License-Identifier: Apache-2.0
/// \file  The user that the gateway runs as.
#pragma once

#include "gateway/daemon/service_unit.h"

#include <sys/types.h>

#include <filesystem>
#include <optional>
#include <string>

namespace mailgate {

/// Throws ConfigError unless there is such a user, or `user` (gateway.user) is empty.
void requireUser(const std::string& user);

/// Whom dropPrivileges(user) will make of this process; none: it stays who it is. Throws ConfigError.
std::optional<uid_t> userToBecome(const std::string& user);

/// Becomes `user`, with that user's groups, if this process runs as root; does nothing otherwise, nor for an empty
/// name. Throws ConfigError.
void dropPrivileges(const std::string& user);

/// The same as systemd does it before `serve`, with the groups that its unit names.
void dropPrivileges(const ServiceUser& service);

/// Throws std::runtime_error where root would serve by hand with the file of mailgate.service, on a machine that systemd
/// runs: the log and the databases that it made would be closed to the unit's user. `root`: where the folders of units are.
void refuseServingByHand(const std::filesystem::path& config, const std::filesystem::path& root = "/");

/// Whether this process runs as `user`; always true for an empty name.
bool actsAs(const std::string& user);

}  // namespace mailgate
