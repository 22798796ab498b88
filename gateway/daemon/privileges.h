// SPDX-License-Identifier: Apache-2.0
/// \file  As whom the gateway serves.
#pragma once

#include <string>

namespace mailgate {

/// Throws ConfigError unless there is such a user, or `user` (gateway.user) is empty.
void requireUser(const std::string& user);

/// Becomes `user`, with that user's groups, when this process is root's; does nothing for another's, nor for
/// an empty name. Throws ConfigError.
void dropPrivileges(const std::string& user);

/// Whether this process acts as `user` would; an empty name is anybody's.
bool actsAs(const std::string& user);

}  // namespace mailgate
