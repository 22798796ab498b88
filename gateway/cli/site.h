// SPDX-License-Identifier: Apache-2.0
/// \file  The configuration as the access rules see it, and the names in it.
#pragma once

#include "gateway/config/config.h"
#include "store/rules/service.h"

#include <string>
#include <vector>

namespace mailgate::cli {

rules::Site siteOf(const Config& config);

std::vector<std::string> listenerNames(const Config& config);
std::vector<std::string> serverNames(const Config& config);  ///< "upstream/server"

}  // namespace mailgate::cli
