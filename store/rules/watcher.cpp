// SPDX-License-Identifier: Apache-2.0
#include "store/rules/watcher.h"

#include <fmt/format.h>

#include <algorithm>
#include <atomic>
#include <ctime>
#include <new>
#include <thread>
#include <unordered_map>
#include <utility>

namespace mailgate::store {

namespace {

using std::chrono::milliseconds;
using std::chrono::steady_clock;

constexpr std::chrono::hours kUpkeepEvery{1};
constexpr std::chrono::seconds kUpkeepAfterChange{5};  ///< so that many changes have it look once
constexpr std::chrono::minutes kUpkeepAfterFailure{1};
/// How often all rules are read where changes alone have been: a change that left no trace does not stay unseen for longer.
constexpr std::chrono::hours kReadAllEvery{1};

/// Counters that wait to be written.
class PendingHits {
  public:
    void take(const AccessTable& table) {
        table.takeHits([this](std::int64_t rule_id, std::uint32_t hits, UnixSeconds last) {
            RuleStore::HitCount& count =
                counts_.try_emplace(rule_id, RuleStore::HitCount{rule_id, 0, 0}).first->second;
            count.hits += hits;
            count.last = std::max(count.last, last);
        });
    }
    /// Keeps what it holds when this throws, or when the store does not take it.
    void write(RuleStore& store) {
        std::vector<RuleStore::HitCount> counts;
        counts.reserve(counts_.size());
        for (const auto& [id, count] : counts_)
            counts.push_back(count);
        if (store.addHits(counts)) counts_.clear();
    }
    std::size_t size() const noexcept { return counts_.size(); }

  private:
    std::unordered_map<std::int64_t, RuleStore::HitCount> counts_;
};

}  // namespace

struct AccessWatcher::Impl {
    Impl(std::unique_ptr<RuleStore> store_, std::vector<std::string> listeners_, Events events_,
         milliseconds hits_every_, const UpkeepOptions& upkeep_options)
        : store(std::move(store_)),
          listeners(std::move(listeners_)),
          events(std::move(events_)),
          hits_every(hits_every_),
          upkeep(upkeep_options, events.upkeep) {}

    void run();
    void turn();
    void refresh();
    void load();
    void requireSuccessor(const AccessTable& fresh);
    void readAll();
    void releaseRetired();
    std::vector<std::string> noteClosed();
    void collectHits();
    void writeHits();
    void lookAfter();
    void reportFailure(const std::string& cause);
    void reportRecovery();

    const std::unique_ptr<RuleStore> store;
    const std::vector<std::string> listeners;
    const Events events;
    const milliseconds hits_every;

    Snapshot<AccessTable> tables;

    // The watcher thread's own, or start()'s and stop()'s while it does not run.
    bool must_load = false;    ///< the table in force is not what the store says
    std::vector<bool> open;    ///< by listener: somebody is let in, as far as has been noted
    bool other_rules = false;  ///< its rule ids are none of the store's: its hits belong nowhere
    bool began_empty = false;  ///< the store's file, which is in the place of one that had rules
    std::string reported;      ///< the failure reported last; empty while all is well
    std::vector<std::shared_ptr<const AccessTable>> retired;  ///< workers may still count hits in them
    PendingHits hits;
    steady_clock::time_point next_hits;
    Upkeep upkeep;
    steady_clock::time_point next_upkeep;  ///< the epoch: at once
    steady_clock::time_point next_reading;
    std::int64_t read_version = 0;  ///< of the rules when all were read

    std::atomic<bool> stopping{false};
    std::thread thread;
};

void AccessWatcher::Impl::load() {
    const auto begin = steady_clock::now();
    retired.reserve(retired.size() + 1);  // what has been loaded is not announced again
    auto fresh = store->load(listeners);
    requireSuccessor(*fresh);
    const std::chrono::duration<double> took = steady_clock::now() - begin;
    auto before = tables.share();
    if (before && !other_rules) retired.push_back(std::move(before));
    tables.swap(fresh);
    must_load = other_rules = false;
    if (events.changed) events.changed(*fresh, took.count());
    next_upkeep = std::min(next_upkeep, steady_clock::now() + kUpkeepAfterChange);
}

/// A file that was made anew because the one before was deleted, or was not mounted, is none to go by: not for what is put
/// into it afterwards either. Whoever wants to begin anew restarts the gateway.
void AccessWatcher::Impl::requireSuccessor(const AccessTable& fresh) {
    if (!other_rules) return;
    began_empty = began_empty || (fresh.empty() && !tables.share()->empty());
    if (!began_empty) return;
    must_load = true;
    throw StoreError(
        StoreError::Kind::Open,
        "the database of the access rules was deleted or replaced while the gateway ran, and the "
        "one in its place began without rules: put the right one back (docs/backup.md), or "
        "restart the gateway to go by this one");
}

/// What differs without a change is taken, too.
void AccessWatcher::Impl::readAll() {
    if (tables.share()->version() != read_version) {
        store->distrust();
        load();
    }
    read_version = tables.share()->version();
    next_reading = steady_clock::now() + kReadAllEvery;
}

/// Waits for what is new, no longer than until hits are due.
void AccessWatcher::Impl::refresh() {
    const auto left = std::chrono::ceil<milliseconds>(next_hits - steady_clock::now());
    const RuleStore::News news = store->waitForChange(std::max(left, milliseconds(0)));
    if (news == RuleStore::News::Replaced) {
        other_rules = true;
        began_empty = false;
        retired.clear();
        hits = {};
    }
    if (news != RuleStore::News::None) {
        must_load = true;
        load();
    }
    if (!must_load && !stopping) reportRecovery();
}

/// Those that were open before.
std::vector<std::string> AccessWatcher::Impl::noteClosed() {
    std::vector<std::string> closed;
    open.resize(listeners.size());
    for (std::size_t at = 0; at < listeners.size(); ++at) {
        const bool was_open = open[at];
        open[at] = tables.share()->letsSomebodyIn(static_cast<ListenerIndex>(at), std::time(nullptr));
        if (was_open && !open[at]) closed.push_back(listeners[at]);
    }
    return closed;
}

void AccessWatcher::Impl::turn() {
    try {
        refresh();
    } catch (const StoreError& error) {
        reportFailure(error.what());
    } catch (const std::bad_alloc&) {
        reportFailure("out of memory");
    }
    if (const auto closed = noteClosed(); !closed.empty() && events.closed) events.closed(closed);
    releaseRetired();
    if (steady_clock::now() < next_hits) return;
    next_hits = steady_clock::now() + hits_every;
    collectHits();
    try {
        writeHits();
    } catch (const StoreError&) {
        // Kept, and tried again in a while. A lock held that long hinders no look-up: nothing to tell.
    }
    // Not while something is wrong with the store: what a tampered trail would not record must not happen.
    if (steady_clock::now() >= next_upkeep && !must_load && reported.empty()) lookAfter();
}

void AccessWatcher::Impl::lookAfter() {
    try {
        const auto pruned = upkeep.run(*store, std::time(nullptr));
        if (pruned.rules > 0) load();
        if (steady_clock::now() >= next_reading) readAll();
        next_upkeep = steady_clock::now();
        if (!pruned.more) next_upkeep += kUpkeepEvery;
    } catch (const StoreError&) {
        // As with hits. A store that cannot be read is reported by whoever loads it.
        next_upkeep = steady_clock::now() + kUpkeepAfterFailure;
    }
}

void AccessWatcher::Impl::run() {
    while (!stopping) {
        try {
            turn();
        } catch (const std::bad_alloc&) {
            // The rules in force stay; the next turn may find more memory.
        }
    }
}

void AccessWatcher::Impl::releaseRetired() {
    // Once only this vector knows a table, nobody counts in it any more.
    std::erase_if(retired, [this](const auto& old) {
        if (old.use_count() > 1) return false;
        hits.take(*old);
        return true;
    });
}

void AccessWatcher::Impl::collectHits() {
    for (const auto& old : retired)
        hits.take(*old);
    if (!other_rules) hits.take(*tables.share());
}

void AccessWatcher::Impl::writeHits() {
    if (hits.size() > 0) hits.write(*store);
}

void AccessWatcher::Impl::reportFailure(const std::string& cause) {
    if (reported == cause) return;
    reported = cause;
    if (events.failed)
        events.failed(
            fmt::format("{}; the {} rules read before stay in force", cause, tables.share()->size()));
}

void AccessWatcher::Impl::reportRecovery() {
    if (std::exchange(reported, {}).empty()) return;
    if (events.recovered) events.recovered();
}

AccessWatcher::AccessWatcher(std::unique_ptr<RuleStore> store, std::vector<std::string> listeners,
                             Events events, milliseconds hits_every, const UpkeepOptions& upkeep)
    : impl_(std::make_unique<Impl>(std::move(store), std::move(listeners), std::move(events), hits_every,
                                   upkeep)) {}

AccessWatcher::~AccessWatcher() {
    stop();
}

void AccessWatcher::start() {
    impl_->load();
    impl_->read_version = impl_->tables.share()->version();
    impl_->next_reading = steady_clock::now() + kReadAllEvery;
    impl_->noteClosed();
    impl_->next_hits = steady_clock::now() + impl_->hits_every;
    impl_->thread = std::thread([impl = impl_.get()] { impl->run(); });
}

void AccessWatcher::stop() {
    if (!impl_->thread.joinable()) return;
    impl_->stopping = true;
    impl_->store->stopWaiting();
    impl_->thread.join();
    impl_->collectHits();
    try {
        impl_->writeHits();
    } catch (const StoreError& error) {
        if (impl_->events.failed)
            impl_->events.failed(fmt::format("{}; the last hits of {} rules are not counted", error.what(),
                                             impl_->hits.size()));
    }
}

const Snapshot<AccessTable>& AccessWatcher::tables() const noexcept {
    return impl_->tables;
}

std::shared_ptr<const AccessTable> AccessWatcher::current() const {
    return impl_->tables.share();
}

std::uint64_t AccessWatcher::version() const noexcept {
    return impl_->tables.version();
}

}  // namespace mailgate::store
