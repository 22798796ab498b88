// SPDX-License-Identifier: Apache-2.0
/// \file  The differences between two configurations, for the report of a reload.
#pragma once

#include "gateway/config/config.h"

#include <string>
#include <vector>

namespace mailgate {

/// One short phrase a change, with every key that differs ("listener smtp: access, tls", "upstream mx: added",
/// "timeouts.greeting"); empty when nothing changed. New addresses of a host name do not count as a change.
std::vector<std::string> describeChanges(const Config& before, const Config& after);

/// The keys that differ and can only change with a restart ("gateway.workers").
std::vector<std::string> restartOnlyChanges(const Config& before, const Config& after);

}  // namespace mailgate
