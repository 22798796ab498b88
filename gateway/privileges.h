/// \file  As whom the gateway serves.
#pragma once

#include <string>

namespace mailgate {

/// Becomes `user` (gateway.user), with that user's groups, when this process is root's; does nothing for
/// another's, nor for an empty name. Throws ConfigError.
void dropPrivileges(const std::string& user);

}  // namespace mailgate
