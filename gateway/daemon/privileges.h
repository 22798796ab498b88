// SPDX-License-Identifier: Apache-2.0
/// \file  The user that the gateway runs as.
#pragma once

#include "gateway/daemon/service_unit.h"

#include <string>

namespace mailgate {

/// Throws ConfigError unless there is such a user, or `user` (gateway.user) is empty.
void requireUser(const std::string& user);

/// Becomes `user`, with that user's groups, if this process runs as root; does nothing otherwise, nor for an empty
/// name. Throws ConfigError.
void dropPrivileges(const std::string& user);

/// The same as systemd does it before `serve`, with the groups that its unit names.
void dropPrivileges(const ServiceUser& service);

/// Whether this process runs as `user`; always true for an empty name.
bool actsAs(const std::string& user);

}  // namespace mailgate
