// SPDX-License-Identifier: Apache-2.0
/// \file  The configuration that a command works with.
#pragma once

#include "gateway/cli/cli.h"
#include "gateway/config/config.h"

#include <filesystem>
#include <string>

namespace mailgate::cli {

/// The file for a command that says itself which one it is. Standard error gets why a mailgate.toml of the working folder
/// is not it. Throws ConfigError.
std::filesystem::path chosenFile(const Context& context);

/// For all others. Where nobody named it, and it is the working folder's and not the system's, standard error says which
/// configuration and which rules these are. Throws ConfigError.
Config chosenConfig(const Context& context);

}  // namespace mailgate::cli
