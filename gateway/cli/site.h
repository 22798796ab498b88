// SPDX-License-Identifier: Apache-2.0
/// \file  The configuration as the access rules see it.
#pragma once

#include "gateway/config/config.h"
#include "store/rules/service.h"

namespace mailgate::cli {

rules::Site siteOf(const Config& config);

}  // namespace mailgate::cli
