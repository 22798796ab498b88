// SPDX-License-Identifier: Apache-2.0
/// \file  What of the configuration a change of access rules is judged by.
#pragma once

#include "gateway/config/config.h"
#include "store/rules/service.h"

namespace mailgate {

rules::Site siteOf(const Config& config);

}  // namespace mailgate
