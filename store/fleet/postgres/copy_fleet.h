// SPDX-License-Identifier: Apache-2.0
/// \file  A fleet's rules, with their log of changes, from one database to another. Internal to store/.
#pragma once

#include "store/fleet/fleet.h"

#include <functional>
#include <string>

namespace mailgate::store::postgres {

FleetCopy copyFleet(const std::string& from, const std::string& to, const std::function<void()>& commits);

}  // namespace mailgate::store::postgres
