// SPDX-License-Identifier: Apache-2.0
/// \file  The files of a configuration on this machine's disk.
#pragma once

#include "gateway/config/documents.h"

#include <filesystem>
#include <string>

namespace mailgate::config {

/// Throws ConfigError, without the file's name.
std::string readFile(const std::filesystem::path& file);

/// For what is included.
FileSource filesOnDisk();

}  // namespace mailgate::config
