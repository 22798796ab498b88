// SPDX-License-Identifier: Apache-2.0
#include "store/fleet/shipping.h"

#include <fmt/format.h>

#include <algorithm>

namespace mailgate::store {

namespace {

using journal::Spool;
using journal::SpoolPlace;
using journal::SpoolPosition;

constexpr JournalKind kEach[] = {JournalKind::Session, JournalKind::Refused, JournalKind::Mail};

/// A gateway that runs says at the database that it does, four times as often.
constexpr std::int64_t kSilentSecs = 60;

bool goesOnAt(Spool& spool, const SpoolPosition& position) {
    return std::all_of(std::begin(kEach), std::end(kEach), [&](JournalKind kind) {
        return spool.find(kind, position.of(kind)) != Spool::Standing::Other;
    });
}

/// The last record up to `place` that is the same on both sides: up to there all are, and none beyond it. What the database
/// has dropped was.
SpoolPlace lastShared(SharedJournal& fleet, Spool& spool, std::int64_t journal, JournalKind kind,
                      const SpoolPlace& place) {
    const std::int64_t first_there = fleet.firstKey(journal, kind);
    const auto isShared = [&](const SpoolPlace& here) {
        return here.key == 0 || here.key < first_there || fleet.idAt(journal, kind, here.key) == here.id;
    };
    std::int64_t shared = 0, beyond = place.key + 1;
    while (beyond - shared > 1) {
        const std::int64_t middle = shared + (beyond - shared) / 2;
        const SpoolPlace here = spool.lastUpTo(kind, middle);
        if (here.key <= shared || isShared(here))
            shared = middle;
        else
            beyond = here.key;
    }
    return spool.lastUpTo(kind, shared);
}

bool isEmpty(const SpoolPosition& position) {
    return std::all_of(position.places.begin(), position.places.end(),
                       [](const SpoolPlace& place) { return place.key == 0; });
}

/// From where a journal that is none of `known` has something new: the latest of them from which it parts.
SpoolPosition firstPlaces(SharedJournal& fleet, Spool& spool,
                          const std::vector<SharedJournal::Journal>& known) {
    SpoolPosition position;
    for (const SharedJournal::Journal& one : known) {
        const SpoolPosition there = journal::spoolPosition(one.position);
        for (const JournalKind kind : kEach)
            position.of(kind) = lastShared(fleet, spool, one.id, kind, there.of(kind));
        if (!isEmpty(position)) break;
    }
    spool.settle(position);  // what it has lost before is no news
    return position;
}

}  // namespace

SharedJournal::Journal takeUp(SharedJournal& fleet, Spool& spool, const JournalOwner& owner) {
    const auto known = fleet.journals();
    for (const SharedJournal::Journal& one : known)
        if (goesOnAt(spool, journal::spoolPosition(one.position))) return one;
    for (const SharedJournal::Journal& one : known)
        if (one.process != owner.process && one.silent_secs < kSilentSecs)
            throw StoreError(
                StoreError::Kind::Other,
                fmt::format(
                    "another gateway called {} writes its journal there: each needs a gateway.name of "
                    "its own (where this one has a new journal, or an older one from a backup: it goes on "
                    "within a minute)",
                    owner.gateway));
    const std::int64_t number = known.empty() ? 1 : known.front().number + 1;
    return fleet.create(number, journal::spoolText(firstPlaces(fleet, spool, known)));
}

}  // namespace mailgate::store
