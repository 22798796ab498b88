// SPDX-License-Identifier: Apache-2.0
#include "store/rules/watcher.h"

#include "protocols/values/text.h"
#include "store/rules/store.h"

#include <fmt/format.h>

#include <algorithm>
#include <condition_variable>
#include <mutex>
#include <new>
#include <thread>
#include <unordered_map>
#include <utility>

namespace mailgate::store {

namespace {

using std::chrono::milliseconds;
using std::chrono::steady_clock;

constexpr int kPollsPerHitsWritten = 10;
/// Short, because the thread that waits is the one that notices changes; what did not go through is tried
/// again.
constexpr milliseconds kLockTimeout{250};

/// Counters that wait to be written.
class PendingHits {
  public:
    void take(const AccessTable& table) {
        table.takeHits([this](std::int64_t rule_id, std::uint32_t hits, UnixSeconds last) {
            AccessStore::HitCount& count =
                counts_.try_emplace(rule_id, AccessStore::HitCount{rule_id, 0, 0}).first->second;
            count.hits += hits;
            count.last = std::max(count.last, last);
        });
    }
    /// Keeps what it holds when this throws.
    void write(AccessStore& store) {
        std::vector<AccessStore::HitCount> counts;
        counts.reserve(counts_.size());
        for (const auto& [id, count] : counts_)
            counts.push_back(count);
        store.addHits(counts);
        counts_.clear();
    }
    std::size_t size() const noexcept { return counts_.size(); }

  private:
    std::unordered_map<std::int64_t, AccessStore::HitCount> counts_;
};

}  // namespace

struct AccessWatcher::Impl {
    Impl(std::string url_, std::vector<std::string> listeners_, Events events_, milliseconds poll_)
        : url(std::move(url_)), listeners(std::move(listeners_)), events(std::move(events_)), poll(poll_) {}

    void run();
    bool turn();
    void refresh();
    void load();
    void releaseRetired();
    void collectHits();
    void writeHits();
    void tellFailure(const std::string& cause);
    void tellRecovery();

    const std::string url;
    const std::vector<std::string> listeners;
    const Events events;
    const milliseconds poll;

    Snapshot<AccessTable> tables;

    // The watcher thread's own, or start()'s and stop()'s while it does not run.
    std::unique_ptr<AccessStore> store;  ///< none while the file is missing or bad
    std::optional<std::int64_t> seen;    ///< data version that was read, well or badly
    bool must_load = false;              ///< the table in force is not what the file says
    bool other_file = false;  ///< its rule ids are none of the next file's: its hits belong nowhere
    std::string told;         ///< the failure told last; empty while all is well
    std::vector<std::shared_ptr<const AccessTable>> retired;  ///< workers may still count hits in them
    PendingHits hits;
    steady_clock::time_point next_hits;

    std::mutex stop_mutex;
    std::condition_variable stop_signal;
    bool stopping = false;
    std::thread thread;
};

void AccessWatcher::Impl::load() {
    const auto begin = steady_clock::now();
    auto fresh = store->load(listeners);
    const std::chrono::duration<double> took = steady_clock::now() - begin;
    auto before = tables.share();
    if (before && !other_file) retired.push_back(std::move(before));
    tables.swap(fresh);
    must_load = other_file = false;
    if (events.changed) events.changed(*fresh, took.count());
}

void AccessWatcher::Impl::refresh() {
    if (store && store->fileReplaced()) {
        store.reset();
        must_load = other_file = true;
        retired.clear();
        hits = {};
    }
    if (!store) {
        seen.reset();
        store = std::make_unique<AccessStore>(url, AccessStore::Use::Resume, kLockTimeout);
    }
    std::int64_t now = store->dataVersion();
    if (seen == now) {
        if (!store->fileWritten()) return;
        // SQLite reads what it has in memory for as long as nobody commits; opening anew reads, and checks,
        // what is there.
        store.reset();
        store = std::make_unique<AccessStore>(url, AccessStore::Use::Resume, kLockTimeout);
        now = store->dataVersion();
    }
    try {
        store->checkTriggers();
    } catch (const StoreError&) {
        must_load = true;  // what was changed without them has not raised the version
        throw;
    }
    if (must_load || store->rulesVersion() != tables.share()->version()) {
        must_load = true;
        try {
            load();
        } catch (const StoreError& error) {
            // A bad row stays bad until somebody writes; anything else may pass by itself.
            if (error.kind() == StoreError::Kind::BadRow) seen = now;
            throw;
        }
    }
    seen = now;
    store->checkpoint();
}

/// False: the rules cannot be read.
bool AccessWatcher::Impl::turn() {
    bool well = false;
    try {
        refresh();
        well = true;
        if (!must_load) tellRecovery();
    } catch (const StoreError& error) {
        tellFailure(error.what());
    } catch (const std::bad_alloc&) {
        tellFailure("out of memory");
    }
    releaseRetired();
    if (steady_clock::now() < next_hits) return well;
    next_hits = steady_clock::now() + kPollsPerHitsWritten * poll;
    collectHits();
    try {
        writeHits();
    } catch (const StoreError&) {
        // Kept, and tried again in a while. A lock held that long hinders no look-up: nothing to tell.
    }
    return well;
}

void AccessWatcher::Impl::run() {
    std::unique_lock lock(stop_mutex);
    milliseconds pause = poll;
    while (!stop_signal.wait_for(lock, pause, [this] { return stopping; })) {
        lock.unlock();
        const auto begin = steady_clock::now();
        bool well = false;
        try {
            well = turn();
        } catch (const std::bad_alloc&) {
            // The rules in force stay; the next turn may find more memory.
        }
        const auto took = std::chrono::duration_cast<milliseconds>(steady_clock::now() - begin);
        // A file that takes long to read, and fails, must not keep a core busy.
        pause = well ? poll : std::max(poll, took);
        lock.lock();
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
    if (!other_file) hits.take(*tables.share());
}

void AccessWatcher::Impl::writeHits() {
    if (!store || hits.size() == 0 || store->fileReplaced()) return;
    hits.write(*store);
    store->checkpoint();
}

void AccessWatcher::Impl::tellFailure(const std::string& cause) {
    if (told == cause) return;
    told = cause;
    if (events.failed)
        events.failed(
            fmt::format("{}; the {} rules read before stay in force", cause, tables.share()->size()));
}

void AccessWatcher::Impl::tellRecovery() {
    if (std::exchange(told, {}).empty()) return;
    if (events.recovered) events.recovered();
}

AccessWatcher::AccessWatcher(std::string url, std::vector<std::string> listeners, Events events,
                             milliseconds poll)
    : impl_(std::make_unique<Impl>(std::move(url), std::move(listeners), std::move(events), poll)) {}

AccessWatcher::~AccessWatcher() {
    stop();
}

void AccessWatcher::start() {
    impl_->store = std::make_unique<AccessStore>(impl_->url, AccessStore::Use::Serve, kLockTimeout);
    impl_->seen = impl_->store->dataVersion();
    impl_->load();
    impl_->store->checkpoint();
    impl_->next_hits = steady_clock::now() + kPollsPerHitsWritten * impl_->poll;
    impl_->thread = std::thread([impl = impl_.get()] { impl->run(); });
}

void AccessWatcher::stop() {
    if (!impl_->thread.joinable()) return;
    {
        const std::lock_guard lock(impl_->stop_mutex);
        impl_->stopping = true;
    }
    impl_->stop_signal.notify_all();
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

std::uint64_t AccessWatcher::generation() const noexcept {
    return impl_->tables.version();
}

}  // namespace mailgate::store
