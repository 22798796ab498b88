// SPDX-License-Identifier: Apache-2.0
/// \file  What distinguishes two configurations, for whoever reloads.
#pragma once

#include "gateway/config/config.h"

#include <string>
#include <vector>

namespace mailgate {

/// One short phrase a change, with every key that differs ("listener smtp: access, tls", "upstream mx: added",
/// "timeouts.greeting"); empty when nothing changed. What names stand for at the moment is no change.
std::vector<std::string> describeChanges(const Config& before, const Config& after);

/// The keys that differ and can only change with a restart ("gateway.workers").
std::vector<std::string> restartOnlyChanges(const Config& before, const Config& after);

}  // namespace mailgate
