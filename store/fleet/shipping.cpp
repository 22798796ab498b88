// SPDX-License-Identifier: Apache-2.0
#include "store/fleet/shipping.h"

#include <fmt/format.h>

#include <algorithm>
#include <iterator>
#include <limits>
#include <string>
#include <string_view>

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

/// The least id of a session that starts then (a ULID).
std::string leastId(std::int64_t unix_ms) {
    constexpr std::string_view kDigits = "0123456789ABCDEFGHJKMNPQRSTVWXYZ";
    std::string id(10, '0');
    for (auto digit = id.rbegin(); digit != id.rend(); ++digit, unix_ms /= 32)
        *digit = kDigits[static_cast<std::size_t>(unix_ms % 32)];
    return id;
}

/// The last record that is there already: with it are all before it, and none is that was written later. What is too old to be
/// kept there was.
SpoolPlace lastShared(SharedJournal& fleet, Spool& spool, JournalKind kind) {
    const std::string oldest = leastId(std::max<std::int64_t>(fleet.keptSinceMs(kind), 0));
    std::int64_t shared = 0, beyond = spool.lastUpTo(kind, std::numeric_limits<std::int64_t>::max()).key + 1;
    while (beyond - shared > 1) {
        const std::int64_t middle = shared + (beyond - shared) / 2;
        const SpoolPlace here = spool.lastUpTo(kind, middle);
        if (here.key <= shared || here.id < oldest || fleet.has(kind, here))
            shared = middle;
        else
            beyond = here.key;
    }
    return spool.lastUpTo(kind, shared);
}

/// From where on a journal that goes on in none of those at the database has something new. `has_any`: the gateway has some there.
SpoolPosition firstPlaces(SharedJournal& fleet, Spool& spool, bool has_any) {
    SpoolPosition position;
    if (has_any)
        for (const JournalKind kind : kEach)
            position.of(kind) = lastShared(fleet, spool, kind);
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
    return fleet.create(number, journal::spoolText(firstPlaces(fleet, spool, !known.empty())));
}

}  // namespace mailgate::store
