// SPDX-License-Identifier: Apache-2.0
#include "store/fleet/shipper.h"

#include "store/fleet/shipping.h"
#include "store/fleet/thread.h"

#include <algorithm>
#include <map>
#include <mutex>
#include <optional>
#include <set>
#include <string>
#include <utility>

namespace mailgate::store {

namespace {

using journal::SpoolPosition;
using std::chrono::milliseconds;
using std::chrono::steady_clock;

/// Pieces of 16,384 records.
constexpr std::size_t kMostSeen = 20'000;

constexpr JournalKind kInTurn[] = {JournalKind::Session, JournalKind::Mail, JournalKind::Refused};

std::int64_t unixMs() {
    return std::chrono::duration_cast<milliseconds>(std::chrono::system_clock::now().time_since_epoch())
        .count();
}

/// Of a session, in Unix milliseconds, by its id (a ULID); 0: it is none.
std::int64_t beginOf(std::string_view id) {
    constexpr std::string_view kDigits = "0123456789ABCDEFGHJKMNPQRSTVWXYZ";
    constexpr std::size_t kOfTime = 10;
    if (id.size() <= kOfTime) return 0;
    std::int64_t time = 0;
    for (const char character : id.substr(0, kOfTime)) {
        const std::size_t digit = kDigits.find(character);
        if (digit == std::string_view::npos) return 0;
        time = time * 32 + static_cast<std::int64_t>(digit);
    }
    return time;
}

}  // namespace

struct JournalShipper::Impl {
    Impl(std::unique_ptr<SharedJournal> fleet_, JournalOwner owner_, std::string lineage_, OpenSpool open_,
         MemberOf member_of_, Options options_, Events events_)
        : fleet(std::move(fleet_)),
          owner(std::move(owner_)),
          lineage(std::move(lineage_)),
          open(std::move(open_)),
          member_of(std::move(member_of_)),
          options(options_),
          events(std::move(events_)),
          most_records(options.most_records),
          next_upkeep(steady_clock::now()),
          thread({[this] { turn(); }, [this](const StoreError* error) { return abandon(error); },
                  [this] { fleet->interrupt(); }, events.lost}) {
        state.configured = true;
    }

    void turn();
    bool abandon(const StoreError* error);
    void openSpool();
    void requireMembership();
    void takeUpJournal();
    std::size_t gather(SpoolPosition& reached);
    std::size_t gatherKind(JournalKind kind, journal::SpoolPlace& place);
    bool shipNext();
    bool ship();
    void rememberPieces();
    std::vector<SharedJournal::Missed> missedOf(const std::vector<std::int64_t>& pieces);
    bool write(const SpoolPosition& reached, std::size_t records,
               const std::vector<SharedJournal::Missed>& missed);
    void makeSmaller(std::size_t records, const SpoolPosition& reached,
                     const std::vector<SharedJournal::Missed>& missed, const StoreError& why);
    bool commit(const SpoolPosition& reached, const std::vector<SharedJournal::Missed>& missed);
    void noteMissed(const std::vector<SharedJournal::Missed>& missed);
    void noteRejected(const std::string& session, const std::string& why);
    void lookAfter();
    void noteBehind();
    void reportSuccess(std::size_t records);

    const std::unique_ptr<SharedJournal> fleet;
    const JournalOwner owner;
    Lineage lineage;
    const OpenSpool open;
    const MemberOf member_of;
    const Options options;
    const Events events;

    // The thread's own.
    std::unique_ptr<journal::Spool> spool;             ///< none after a failure of its own
    std::string fleet_id;                              ///< as last known
    std::optional<SharedJournal::Journal> journal;     ///< at the database; none: it has to be taken up
    std::optional<SpoolPosition> position;             ///< as last known
    std::size_t most_records;                          ///< fewer after one that the database could not have
    std::uint64_t behind = 0;                          ///< records, after what was gathered
    std::map<std::int64_t, journal::SpoolPiece> seen;  ///< by number, as it was last
    std::set<std::int64_t> told_missed;
    steady_clock::time_point next_upkeep, next_sign;

    mutable std::mutex mutex;  ///< of what follows
    ShipperStatus state;       ///< but for what `thread` knows
    steady_clock::time_point current_at = steady_clock::now();

    FleetThread thread;
};

/// Who has no part in the fleet, or none any more, tells it nothing.
void JournalShipper::Impl::requireMembership() {
    const auto joined = member_of();
    if (!joined)
        throw StoreError(StoreError::Kind::Other,
                         "this gateway has not joined the fleet yet: mailgate fleet join");
    if (!journal) fleet_id = fleet->fleet();
    if (*joined != fleet_id)
        throw StoreError(
            StoreError::Kind::Other,
            "this gateway has joined another fleet than the one that fleet.url names: mailgate fleet "
            "join joins this one");
}

void JournalShipper::Impl::openSpool() {
    if (spool && !spool->isReplaced()) return;
    // Nobody writes to what was removed any more: the rest of it goes first, once the database is there.
    if (spool)
        while (!thread.stops() && shipNext()) {
        }
    journal.reset();
    // After a failure of its own it is the same file, as far as is known, and what has come of it counts on.
    if (spool) {
        position.reset();
        seen.clear();
        told_missed.clear();
    }
    spool.reset();
    spool = open();
}

/// Every kind has its share: what there is much of does not hold up the others.
std::size_t JournalShipper::Impl::gather(SpoolPosition& reached) {
    fleet->discard();
    std::size_t records = 0;
    for (const JournalKind kind : kInTurn)
        if (records == 0 || most_records > 1) records += gatherKind(kind, reached.of(kind));
    return records;
}

std::size_t JournalShipper::Impl::gatherKind(JournalKind kind, journal::SpoolPlace& place) {
    const std::size_t share = std::max<std::size_t>(most_records / std::size(kInTurn), 1);
    std::size_t records = 0, bytes = 0;
    spool->read(kind, place, [&](std::int64_t key, JournalSession& record) {
        bytes += fleet->add(journal->id, key, record);
        return ++records < share && bytes < options.most_bytes / std::size(kInTurn);
    });
    return records;
}

/// True: there is more.
bool JournalShipper::Impl::ship() {
    SpoolPosition reached = *position;
    std::size_t records = 0;
    std::vector<std::int64_t> gone;
    spool->inSnapshot([&] {
        // What is gone of where a place stands is no more to be seen once that has gone on behind it.
        gone = spool->settle(reached);
        records = gather(reached);
        const auto behind_it = spool->settle(reached);
        gone.insert(gone.end(), behind_it.begin(), behind_it.end());
        behind = spool->behind(reached);
    });
    const auto missed = missedOf(gone);
    const bool is_due = steady_clock::now() >= next_sign || !missed.empty();
    if (records > 0 || is_due) {
        if (!write(reached, records, missed)) return true;
        position = reached;  // what the next failure, whatever fails, is behind of
        next_sign = steady_clock::now() + options.seen;
    }
    reportSuccess(records);
    return behind > 0;
}

/// False: with fewer records, or once it is known where to go on.
bool JournalShipper::Impl::write(const SpoolPosition& reached, std::size_t records,
                                 const std::vector<SharedJournal::Missed>& missed) {
    try {
        if (!commit(reached, missed)) return false;
    } catch (const StoreError& error) {
        if (error.kind() != StoreError::Kind::BadRow) {
            // A database that is too slow for so many gets there with fewer.
            most_records = std::max<std::size_t>(most_records / 2, 1);
            throw;
        }
        makeSmaller(records, reached, missed, error);
        return false;
    }
    most_records = std::min(most_records * 2, options.most_records);
    return true;
}

/// Until it is known which record the database cannot have: that one is left out.
void JournalShipper::Impl::makeSmaller(std::size_t records, const SpoolPosition& reached,
                                       const std::vector<SharedJournal::Missed>& missed,
                                       const StoreError& why) {
    if (records > 1) {
        most_records = records > 3 ? records / 3 : 1;
        return;
    }
    if (!commit(reached, missed)) return;
    for (std::size_t at = 0; at < reached.places.size(); ++at)
        if (reached.places[at].key != position->places[at].key)
            noteRejected(reached.places[at].id, why.what());
    position = reached;
}

/// False: another process has written.
bool JournalShipper::Impl::commit(const SpoolPosition& reached,
                                  const std::vector<SharedJournal::Missed>& missed) {
    std::string to = journal::spoolText(reached);
    if (!fleet->commit({journal->id, journal->position, to, missed, behind == 0})) {
        journal.reset();
        return false;
    }
    journal->position = std::move(to);
    noteMissed(missed);
    return true;
}

void JournalShipper::Impl::noteMissed(const std::vector<SharedJournal::Missed>& missed) {
    std::uint64_t pieces = 0;
    MissedRecords records;
    for (const SharedJournal::Missed& one : missed) {
        if (!told_missed.insert(one.piece).second) continue;
        ++pieces;
        records.add(one.records);
    }
    if (pieces == 0) return;
    {
        const std::lock_guard lock(mutex);
        state.missed += pieces;
        state.missing.add(records);
    }
    if (events.missed) events.missed(pieces, records);
}

/// What is removed later is known by this.
void JournalShipper::Impl::rememberPieces() {
    for (const journal::SpoolPiece& piece : spool->pieces())
        seen[piece.number] = piece;
    while (seen.size() > kMostSeen)
        seen.erase(seen.begin());
}

std::vector<SharedJournal::Missed> JournalShipper::Impl::missedOf(const std::vector<std::int64_t>& pieces) {
    std::vector<SharedJournal::Missed> missed;
    if (pieces.empty()) return missed;
    // Of one that was never looked at: all that has come ended before.
    std::int64_t earliest = 0;
    for (const journal::SpoolPlace& place : position->places)
        if (const std::int64_t began = beginOf(place.id); began > 0)
            earliest = earliest == 0 ? began : std::min(earliest, began);
    for (const std::int64_t piece : pieces) {
        const auto known = seen.find(piece);
        if (known == seen.end()) {
            missed.push_back({piece, {journal::kMostInPiece, false, earliest, unixMs()}});
            continue;
        }
        const journal::SpoolPiece& was = known->second;
        const std::int64_t come = std::max<std::int64_t>(position->of(was.kind).key - was.first_key + 1, 0);
        const std::int64_t left = was.records - std::min(come, was.records);
        if (left > 0)
            missed.push_back({piece, {static_cast<std::uint64_t>(left), true, was.first_ms, was.last_ms}});
    }
    return missed;
}

void JournalShipper::Impl::noteRejected(const std::string& session, const std::string& why) {
    constexpr std::uint64_t kTold = 20;
    std::uint64_t rejected = 0;
    {
        const std::lock_guard lock(mutex);
        rejected = ++state.rejected;
    }
    if (events.rejected && rejected <= kTold) events.rejected(session, why);
}

void JournalShipper::Impl::lookAfter() {
    if (steady_clock::now() < next_upkeep) return;
    next_upkeep = steady_clock::now() + thread.between(options.upkeep / 2, options.upkeep);
    try {
        while (fleet->maintain() && !thread.stops()) {
        }
    } catch (const StoreError& error) {
        if (error.kind() != StoreError::Kind::Locked) throw;  // somebody reads what is to go: it is due again
    }
}

/// Whether the database answers or not.
void JournalShipper::Impl::noteBehind() {
    rememberPieces();
    if (!position) return;
    const std::uint64_t records = spool->behind(*position);
    const std::lock_guard lock(mutex);
    state.behind = records;
}

void JournalShipper::Impl::takeUpJournal() {
    claimJournal(*fleet, owner, lineage);
    TakenUp taken = takeUp(*fleet, *spool);
    if (!taken.doubt.empty() && events.placed) events.placed(taken.doubt);
    journal = std::move(taken.journal);
    next_sign = steady_clock::now();
}

/// True: there is more.
bool JournalShipper::Impl::shipNext() {
    requireMembership();
    if (!journal) takeUpJournal();
    position = journal::spoolPosition(journal->position);
    return ship();
}

void JournalShipper::Impl::turn() {
    openSpool();
    noteBehind();
    const bool more = shipNext();
    lookAfter();
    if (!more) thread.wait(options.poll);
}

void JournalShipper::Impl::reportSuccess(std::size_t records) {
    {
        const std::lock_guard lock(mutex);
        state.behind = behind;
        state.shipped += records;
        if (behind == 0) current_at = steady_clock::now();
    }
    if (thread.reached() && events.found) events.found(behind);
}

/// A database that cannot be reached says nothing of the file; were that removed meanwhile, nobody else would have it any more.
bool JournalShipper::Impl::abandon(const StoreError* error) {
    const auto kind = error == nullptr ? StoreError::Kind::Damaged : error->kind();
    const bool is_last_hold = spool && kind != StoreError::Kind::Damaged && spool->isReplaced();
    if (kind != StoreError::Kind::Open && !is_last_hold) spool.reset();
    journal.reset();
    fleet->discard();
    return true;
}

JournalShipper::JournalShipper(std::unique_ptr<SharedJournal> fleet, JournalOwner owner, std::string lineage,
                               OpenSpool spool, MemberOf member_of, Options options, Events events)
    : impl_(std::make_unique<Impl>(std::move(fleet), std::move(owner), std::move(lineage), std::move(spool),
                                   std::move(member_of), options, std::move(events))) {}

JournalShipper::~JournalShipper() {
    stop();
}

void JournalShipper::start() {
    impl_->thread.start();
}

void JournalShipper::stop() noexcept {
    impl_->thread.stop();
}

ShipperStatus JournalShipper::status() const {
    // First: what else is known of a look that went well is written before.
    FleetReach reach = impl_->thread.reach();
    ShipperStatus status;
    {
        const std::lock_guard lock(impl_->mutex);
        status = impl_->state;
        status.lag_seconds = std::chrono::duration<double>(steady_clock::now() - impl_->current_at).count();
    }
    status.connected = reach.connected;
    status.failure = std::move(reach.failure);
    status.since_ms = reach.since_ms;
    return status;
}

}  // namespace mailgate::store
