// SPDX-License-Identifier: Apache-2.0
/// \file  Writes a gateway's journal to the tables of its fleet. Internal to store/.
#pragma once

#include "store/fleet/shared_journal.h"

#include <memory>
#include <string>

namespace mailgate::store::postgres {

/// Connects to nobody yet. Throws StoreError(BadInput) for what is no such URL.
std::unique_ptr<SharedJournal> openSharedJournal(const std::string& url, const FleetStore::Patience& patience,
                                                 const JournalOwner& owner);

}  // namespace mailgate::store::postgres
