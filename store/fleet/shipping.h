// SPDX-License-Identifier: Apache-2.0
/// \file  To which of its journals at the fleet's database a gateway's journal belongs, and from where on it goes there.
/// Internal to store/.
#pragma once

#include "store/fleet/shared_journal.h"

#include <string>

namespace mailgate::store {

/// The owner's process writes for the gateway from now on. Throws StoreError: Other where another gateway of the same name does, or
/// one with a copy of this one's files.
void claimJournal(SharedJournal& fleet, const JournalOwner& owner, Lineage& lineage);

/// Throws StoreError where another gateway of that name, by what the files here remember, has written its journal there just now.
void requireOnlyWriter(SharedJournal& fleet, const std::string& gateway, const Lineage& lineage);

struct TakenUp {
    SharedJournal::Journal journal;
    std::string doubt{};  ///< why its place had to be looked for; empty: the database knew it
};
/// The one that goes on at its place. A journal that was restored from a backup parts from what has come of it: from there on
/// it is a new one. A place that was altered at the database, or is lost, is found again by the records that are there. Throws
/// StoreError.
TakenUp takeUp(SharedJournal& fleet, journal::Spool& spool);

}  // namespace mailgate::store
