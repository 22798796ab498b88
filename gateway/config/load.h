// SPDX-License-Identifier: Apache-2.0
/// \file  Reads the configuration file (TOML).
#pragma once

#include "gateway/base/config_error.h"
#include "gateway/config/config.h"
#include "gateway/io/resolve.h"

#include <filesystem>
#include <stdexcept>
#include <stop_token>
#include <string>
#include <string_view>
#include <vector>

namespace mailgate {

/// The file that --config names, or the first of ./mailgate.toml and /etc/mailgate/mailgate.toml that exists.
/// Throws ConfigError naming both when there is none.
std::filesystem::path findConfig(const std::string& given);

/// Reads, checks and resolves. All errors are reported at once, in the file's order. Names that have no answer
/// within kNamePatience, or when `stop` is requested, are a warning. Throws ConfigError.
Config loadConfig(const std::filesystem::path& file, const std::stop_token& stop = {});

/// The same from text, for tests; `file` is used in messages and as the base of relative paths.
Config parseConfig(std::string_view toml, const std::filesystem::path& file,
                   const Resolver& resolve = resolveHost, const std::stop_token& stop = {});

/// Every key that a configuration may hold, dotted ("timeouts.idle.smtp"), sorted.
std::vector<std::string> configKeys();

}  // namespace mailgate
