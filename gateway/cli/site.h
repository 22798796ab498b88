// SPDX-License-Identifier: Apache-2.0
/// \file  The names in the configuration.
#pragma once

#include "gateway/config/config.h"

#include <string>
#include <vector>

namespace mailgate::cli {

std::vector<std::string> serverNames(const Config& config);  ///< "upstream/server"

}  // namespace mailgate::cli
