/// \file  What distinguishes two configurations, for whoever reloads.
#pragma once

#include "gateway/config/config.h"

#include <string>
#include <vector>

namespace mailgate {

/// One short phrase a change ("listener smtp: access", "upstream mx: added"); empty when nothing changed.
std::vector<std::string> describeChanges(const Config& before, const Config& after);

/// The keys that differ and can only change with a restart ("gateway.workers").
std::vector<std::string> restartOnlyChanges(const Config& before, const Config& after);

}  // namespace mailgate
