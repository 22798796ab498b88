// SPDX-License-Identifier: Apache-2.0
/// \file  The fleet's database in PostgreSQL 15 or later. Internal to store/.
#pragma once

#include "store/fleet/fleet.h"

#include <memory>
#include <string>

namespace mailgate::store::postgres {

/// Connects to nobody yet. `notifies`: wait() is told of changes where that works, which is tried once for each connection.
/// Throws StoreError(BadInput) for what is no such URL.
std::unique_ptr<FleetStore> openFleet(const std::string& url, const FleetStore::Patience& patience,
                                      bool notifies);

}  // namespace mailgate::store::postgres
