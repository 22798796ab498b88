// SPDX-License-Identifier: Apache-2.0
/// \file  Questions to the journals of a fleet, as its database has them. Internal to store/.
///
/// SQL finds candidates by the columns made for that, the newest first; what a filter means store/journal/filter.h says, of
/// these as of a file's. Each question is one transaction that can only read.
#pragma once

#include "store/fleet/journal.h"

#include <memory>
#include <string>

namespace mailgate::store::postgres {

/// Connects to nobody yet. Throws StoreError(BadInput) for what is no such URL.
std::unique_ptr<FleetJournal> openJournal(const std::string& url, const FleetJournal::Options& options);

}  // namespace mailgate::store::postgres
