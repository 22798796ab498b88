// SPDX-License-Identifier: Apache-2.0
/// \file  To which of its journals at the fleet's database a gateway's journal belongs, and from where on it goes there.
/// Internal to store/.
#pragma once

#include "store/fleet/shared_journal.h"

namespace mailgate::store {

/// The one that goes on at its place. A journal that was restored from a backup parts from what has come of it: from there on
/// it is a new one. Throws StoreError; Other where it is another gateway of the same name that writes there.
SharedJournal::Journal takeUp(SharedJournal& fleet, journal::Spool& spool, const JournalOwner& owner);

}  // namespace mailgate::store
