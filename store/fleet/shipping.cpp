// SPDX-License-Identifier: Apache-2.0
#include "store/fleet/shipping.h"

#include "protocols/values/text.h"

#include <fmt/format.h>

#include <algorithm>
#include <iterator>
#include <limits>
#include <string>
#include <string_view>
#include <vector>

namespace mailgate::store {

namespace {

using journal::Spool;
using journal::SpoolPlace;
using journal::SpoolPosition;

constexpr JournalKind kEach[] = {JournalKind::Session, JournalKind::Refused, JournalKind::Mail};

/// The least id of a session that starts then (a ULID).
std::string leastId(std::int64_t unix_ms) {
    constexpr std::string_view kDigits = "0123456789ABCDEFGHJKMNPQRSTVWXYZ";
    std::string id(10, '0');
    for (auto digit = id.rbegin(); digit != id.rend(); ++digit, unix_ms /= 32)
        *digit = kDigits[static_cast<std::size_t>(unix_ms % 32)];
    return id;
}

/// What the database has of the records of a spool.
class Shared {
  public:
    /// `has_any`: the gateway has had a journal there.
    Shared(SharedJournal& fleet, Spool& spool, bool has_any)
        : fleet_(fleet), spool_(spool), has_any_(has_any) {}

    bool goesOnAt(const SpoolPosition& position) {
        return std::all_of(std::begin(kEach), std::end(kEach), [&](JournalKind kind) {
            return spool_.find(kind, position.of(kind)) != Spool::Standing::Other;
        });
    }
    /// What is before these places is there, and what comes after them is not.
    bool agreesWith(const SpoolPosition& position) {
        return std::all_of(std::begin(kEach), std::end(kEach), [&](JournalKind kind) {
            return isReached(kind, position.of(kind)) && !anyIsThere(kind, after(kind, position.of(kind)));
        });
    }
    /// From where on it has something new.
    SpoolPosition firstPlaces() {
        SpoolPosition position;
        for (const JournalKind kind : kEach)
            position.of(kind) = lastShared(kind);
        spool_.settle(position);  // what it has lost before is no news
        return position;
    }
    /// In which these places are the last ones; none: in none.
    std::optional<std::int64_t> journalThatEndsAt(const SpoolPosition& position) {
        std::optional<std::int64_t> journal;
        for (const JournalKind kind : kEach) {
            const SpoolPlace& place = position.of(kind);
            if (const auto there = place.key > 0 ? fleet_.journalOf(kind, place) : std::nullopt)
                journal = std::max(journal.value_or(0), *there);
        }
        const bool ends = journal && std::all_of(std::begin(kEach), std::end(kEach), [&](JournalKind kind) {
                              return fleet_.lastKey(*journal, kind) <= position.of(kind).key;
                          });
        return ends ? journal : std::nullopt;
    }
    /// What is taken to have come though nothing shows it; empty: nothing is.
    std::string unseenBefore(const SpoolPosition& position) {
        for (const JournalKind kind : kEach)
            if (const SpoolPlace& place = position.of(kind);
                place.key > 0 && isTooOld(kind, place) && !fleet_.has(kind, place))
                return fmt::format(
                    ", and what is there from before {}, which is too old to be kept at the database, is "
                    "taken "
                    "to have come: this gateway's own journal has it (sessions --here)",
                    formatUtc(fleet_.keptSinceMs(kind) / 1'000));
        return {};
    }

  private:
    /// Enough to look beyond one that the database could not have, and that was left out.
    static constexpr std::size_t kNext = 3;

    std::vector<SpoolPlace> after(JournalKind kind, SpoolPlace place) {
        std::vector<SpoolPlace> next;
        spool_.read(kind, place, [&](std::int64_t key, JournalSession& record) {
            next.push_back({key, record.id});
            return next.size() < kNext;
        });
        return next;
    }
    bool anyIsThere(JournalKind kind, const std::vector<SpoolPlace>& records) {
        return std::any_of(records.begin(), records.end(),
                           [&](const SpoolPlace& record) { return fleet_.has(kind, record); });
    }
    /// Nothing is known of a record that was removed here, or that is too old to be kept there.
    bool isReached(JournalKind kind, const SpoolPlace& place) {
        if (place.key == 0 || spool_.find(kind, place) != Spool::Standing::Same || isTooOld(kind, place))
            return true;
        const SpoolPlace before = spool_.lastUpTo(kind, place.key - 1);
        return fleet_.has(kind, place) || before.key == 0 || isTooOld(kind, before) ||
               fleet_.has(kind, before);
    }
    bool isTooOld(JournalKind kind, const SpoolPlace& place) const {
        return has_any_ && place.id < leastId(std::max<std::int64_t>(fleet_.keptSinceMs(kind), 0));
    }
    /// The last record that is there already: with it are all before it, and none is that was written later. What is too old to
    /// be kept there was, unless nothing ever came.
    SpoolPlace lastShared(JournalKind kind) {
        std::int64_t shared = 0,
                     beyond = spool_.lastUpTo(kind, std::numeric_limits<std::int64_t>::max()).key + 1;
        while (beyond - shared > 1) {
            const std::int64_t middle = shared + (beyond - shared) / 2;
            const SpoolPlace here = spool_.lastUpTo(kind, middle);
            if (here.key <= shared || isTooOld(kind, here) || fleet_.has(kind, here) ||
                anyIsThere(kind, after(kind, here)))
                shared = middle;
            else
                beyond = here.key;
        }
        return spool_.lastUpTo(kind, shared);
    }

    SharedJournal& fleet_;
    Spool& spool_;
    const bool has_any_;
};

/// Whether it is a position at all.
bool isPosition(const std::string& text) {
    return journal::spoolText(journal::spoolPosition(text)) == text;
}

}  // namespace

void claimJournal(SharedJournal& fleet, const JournalOwner& owner, Lineage& lineage) {
    constexpr int kTries = 3;
    for (int left = kTries; left > 0; --left) {
        const auto writer = fleet.writer();
        const Claim claim = writer ? claimOf(*writer, owner.process, lineage.processes()) : Claim::Inherited;
        if (claim == Claim::Held) return;
        if (claim == Claim::Retired)
            throw StoreError(StoreError::Kind::Other,
                             fmt::format("another process of {} goes on with its journal", owner.gateway));
        if (claim == Claim::None)
            throw StoreError(
                StoreError::Kind::Other,
                fmt::format(
                    "another gateway called {} writes its journal there, heard of {} s ago: each "
                    "needs a gateway.name of its own. Where there is no other, and this one's files "
                    "are from a backup, or the one beside its rules that ends in -fleet did not go along "
                    "with them: mailgate fleet join",
                    owner.gateway, writer->silent_secs));
        lineage.add(owner.process);  // before the database has it: whoever comes next has to know
        if (fleet.claim(writer, lineage.processes())) return;
    }
    throw StoreError(StoreError::Kind::Other,
                     fmt::format("gateways called {} come and go there: each needs a gateway.name of its own",
                                 owner.gateway));
}

void requireOnlyWriter(SharedJournal& fleet, const std::string& gateway, const Lineage& lineage) {
    constexpr std::int64_t kJustNow = 20;  // seconds: it says every fifteen that it has all of its journal
    const auto writer = fleet.writer();
    if (!writer || writer->silent_secs >= kJustNow) return;
    const std::vector<std::string> processes = lineage.processes();
    if (claimOf(*writer, processes.empty() ? "" : processes.back(), processes) != Claim::None) return;
    throw StoreError(
        StoreError::Kind::Other,
        fmt::format("nothing was changed: another gateway called {} was heard of {} s ago, and would lose "
                    "its place: each needs a gateway.name of its own. Where that one has ended for good, "
                    "try again in {} s",
                    gateway, writer->silent_secs, kJustNow - writer->silent_secs));
}

TakenUp takeUp(SharedJournal& fleet, Spool& spool) {
    const auto known = fleet.journals();
    Shared shared(fleet, spool, !known.empty());
    for (const SharedJournal::Journal& one : known) {
        const SpoolPosition position = journal::spoolPosition(one.position);
        if (isPosition(one.position) && shared.goesOnAt(position) && shared.agreesWith(position))
            return {one};
    }
    const SpoolPosition position = shared.firstPlaces();
    const std::string text = journal::spoolText(position);
    const auto id = shared.journalThatEndsAt(position);
    const std::string unseen = shared.unseenBefore(position);
    const auto found = std::find_if(known.begin(), known.end(),
                                    [&](const SharedJournal::Journal& one) { return one.id == id; });
    if (found != known.end()) {
        fleet.place(found->id, text);
        return {{found->id, found->number, text},
                "how far it has come had been altered there: it goes on behind its last record" + unseen};
    }
    const std::int64_t number = known.empty() ? 1 : known.front().number + 1;
    const auto fresh = fleet.create(number, text, id);
    if (id)
        return {fresh, "its row in mailgate.journal was gone: it goes on behind its last record" + unseen};
    const bool is_new = std::all_of(position.places.begin(), position.places.end(),
                                    [](const SpoolPlace& place) { return place.key == 0; });
    if (known.empty() && is_new) return {fresh};
    if (known.empty())
        return {fresh, "what it has there already came under another name: it goes on behind that"};
    return {fresh,
            "it is another one than before, made anew or from a backup: it goes on where they part" + unseen};
}

}  // namespace mailgate::store
