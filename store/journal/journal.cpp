// SPDX-License-Identifier: Apache-2.0
#include "store/journal/journal.h"

#include "store/journal/fields.h"
#include "store/journal/packed_records.h"
#include "store/store_error.h"

#include <fmt/format.h>

#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <mutex>
#include <new>
#include <span>
#include <thread>
#include <type_traits>
#include <utility>

namespace mailgate::store {

namespace {

using namespace std::chrono_literals;
using Clock = std::chrono::steady_clock;

constexpr auto kGather = 100ms;         ///< how long records may wait for company
constexpr std::size_t kWakeAt = 4'096;  ///< this many do not wait
constexpr auto kRetry = 1s;             ///< after a failure
constexpr auto kMaintenance = 1s;       ///< how often retention is looked at
constexpr auto kStopWithin = 4s;        ///< a last attempt may wait a second for a lock

/// Records that the sink gets at once, in one transaction.
constexpr std::size_t kMostAtOnce = kWakeAt;
constexpr std::size_t kKeptUnpacked = 512;  ///< after a burst, memory goes back
constexpr std::size_t kMostUnpacked = std::size_t{8} << 20;
/// Packed, a record takes at least a sixteenth of what its texts and lists take: only larger ones can be too large.
constexpr std::size_t kSurelySmall = kMaxRecordBytes / 16;

std::int64_t unixMillis() {
    return std::chrono::duration_cast<std::chrono::milliseconds>(
               std::chrono::system_clock::now().time_since_epoch())
        .count();
}

/// Of a text's own memory; short ones have none.
std::size_t bytesOf(const std::string& text) noexcept {
    constexpr std::size_t kInside = 15;
    return text.capacity() > kInside ? text.capacity() + 1 : 0;
}

std::size_t bytesOf(const JournalRefusal& refusal) noexcept {
    return bytesOf(refusal.to) + bytesOf(refusal.reply);
}

std::size_t bytesOf(const std::pair<std::string, std::string>& named) noexcept {
    return bytesOf(named.first) + bytesOf(named.second);
}

/// Of numbers, addresses.
template <typename Value>
requires std::is_trivially_copyable_v<Value> std::size_t bytesOf(const Value&)
noexcept {
    return 0;
}

std::size_t bytesOf(const JournalMail& mail) noexcept;

template <typename Item>
std::size_t bytesOf(const std::vector<Item>& items) noexcept {
    std::size_t bytes = items.capacity() * sizeof(Item);
    for (const Item& item : items)
        bytes += bytesOf(item);
    return bytes;
}

template <typename Record>
std::size_t bytesOfFields(const Record& record) noexcept {
    std::size_t bytes = 0;
    journal::eachField<Record>([&](const auto& field) {
        if (!field.again) bytes += bytesOf(record.*field.member);
    });
    return bytes;
}

std::size_t bytesOf(const JournalMail& mail) noexcept {
    return bytesOfFields(mail);
}

std::size_t bytesOf(const JournalSession& session) noexcept {
    return sizeof session + bytesOfFields(session);
}

/// Leaves recipients out, those of the last mails first, until the record is small enough. What has gone
/// through the protocol's own bound is. True: some were.
bool cutToSize(JournalSession& session, std::size_t bytes) noexcept {
    const bool cut = bytes > kMaxRecordBytes;
    for (auto mail = session.mail.rbegin(); mail != session.mail.rend() && bytes > kMaxRecordBytes; ++mail) {
        bytes -= bytesOf(mail->recipients) + bytesOf(mail->refused) + bytesOf(mail->replies);
        mail->recipients = {};
        mail->refused = {};
        mail->replies = {};
        mail->truncated = true;
    }
    return cut;
}

}  // namespace

struct Journal::Impl {
    JournalOptions options;
    journal::OpenSink open;
    Events events;

    mutable std::mutex mutex;  // guards what follows
    std::condition_variable wake_writer, settled_changed;
    journal::PackedRecords queue;
    std::size_t batch_bytes = 0;              ///< of what the writer has taken
    std::uint64_t accepted = 0, settled = 0;  ///< handed over; written or given up
    bool stopping = false;
    Clock::time_point stop_deadline{};
    bool flushing = false;
    Trouble in_trouble;

    std::atomic<std::size_t> in_flight{0};
    std::atomic<std::uint64_t> written{0}, lost{0}, bytes{0};
    std::atomic<std::int64_t> oldest_ms{0};

    std::thread thread;
    // The writer's own:
    std::unique_ptr<journal::Sink> sink;
    journal::PackedRecords batch;
    std::size_t batch_written = 0, batch_place = 0;  ///< of its records; and where the next one is
    std::vector<JournalSession> unpacked;            ///< used again and again
    std::size_t unpacked_bytes = 0;  ///< that have been in there, of which it may keep the memory
    Clock::time_point next_maintenance{};
    bool maintenance_failed = false;
    std::optional<std::uint64_t> lost_before_trouble;  ///< set while in trouble
    std::uint64_t lost_seen = 0;

    void run();
    bool isFinished() const;
    bool hasRoomFor(std::size_t bytes) const;  ///< with the mutex
    void takeBatch(bool ok);
    bool writeBatch();
    void writeSome();
    std::size_t batchLeft() const noexcept { return batch.count() - batch_written; }
    void maintain();
    void settle(std::size_t records);
    void trouble(const std::string& what);
    void noticeOverflow();
    void noticeRecovery();
    void giveUp();
};

void Journal::Impl::run() {
    bool ok = true;
    while (!isFinished()) {
        takeBatch(ok);
        try {
            ok = writeBatch();
            if (ok) maintain();
        } catch (const std::bad_alloc&) {
            ok = false;  // no memory even to tell of it
        }
    }
    giveUp();
}

bool Journal::Impl::isFinished() const {
    const std::lock_guard lock(mutex);
    return stopping && ((batchLeft() == 0 && queue.empty()) || Clock::now() >= stop_deadline);
}

bool Journal::Impl::hasRoomFor(std::size_t bytes) const {
    return !stopping && queue.count() + in_flight < options.max_queued &&
           queue.bytes() + batch_bytes + bytes <= options.max_queued_bytes;
}

/// Waits for records and takes what is queued; a batch that could not be written is left to be tried again. `ok`: the last
/// one could.
void Journal::Impl::takeBatch(bool ok) {
    std::unique_lock lock(mutex);
    const bool retry = batchLeft() > 0;
    // Where no sessions end, nothing but maintenance is to be done.
    if (ok)
        wake_writer.wait_until(lock, std::max(next_maintenance, Clock::now() + kGather),
                               [&] { return stopping || !queue.empty(); });
    if (retry && stopping)
        wake_writer.wait_for(lock, kGather);
    else if (!ok || !queue.empty())
        wake_writer.wait_for(lock, ok ? Clock::duration(kGather) : Clock::duration(kRetry), [&] {
            return stopping || (!retry && (queue.count() >= kWakeAt || (flushing && !queue.empty())));
        });
    flushing = false;
    if (retry) return;
    batch.swap(queue);
    batch_bytes = batch.bytes();
    in_flight = batch.count();
}

bool Journal::Impl::writeBatch() {
    try {
        if (!sink) sink = open(options);
        while (batchLeft() > 0)
            writeSome();
    } catch (const std::bad_alloc&) {
        // What waits would hold the memory that writing it takes.
        sink.reset();
        lost += batchLeft();
        settle(batchLeft());
        noticeOverflow();
        return false;
    } catch (const std::exception& error) {
        sink.reset();
        trouble(error.what());
        return false;
    }
    noticeOverflow();
    noticeRecovery();
    return true;
}

void Journal::Impl::writeSome() {
    const std::size_t records = std::min(batchLeft(), kMostAtOnce);
    if (unpacked.size() < records) unpacked.resize(records);
    std::size_t place = batch_place;
    for (std::size_t at = 0; at < records; ++at)
        batch.read(place, unpacked[at]);
    sink->append(std::span(unpacked).first(records));
    batch_place = place;
    written += records;
    settle(records);
}

/// The next `records` of the batch are in the file, or lost.
void Journal::Impl::settle(std::size_t records) {
    batch_written += records;
    const bool over = batchLeft() == 0;
    {
        const std::lock_guard lock(mutex);
        settled += records;
        in_flight -= records;
        if (over) batch_bytes = 0;
    }
    settled_changed.notify_all();
    if (!over) return;
    unpacked_bytes += batch.bytes();
    batch.clear();
    batch_written = batch_place = 0;
    if (unpacked.size() <= kKeptUnpacked && unpacked_bytes <= kMostUnpacked) return;
    std::vector<JournalSession>().swap(unpacked);
    unpacked_bytes = 0;
}

void Journal::Impl::maintain() {
    if (Clock::now() < next_maintenance) return;
    try {
        // One piece at a time: the queue comes first.
        const journal::Maintenance left = sink->maintain(unixMillis());
        if (left == journal::Maintenance::Reopen) {
            sink.reset();  // the next batch goes to the new one
            return;
        }
        bytes = sink->bytes();
        oldest_ms = sink->oldestMs();
        if (left == journal::Maintenance::Done) next_maintenance = Clock::now() + kMaintenance;
        maintenance_failed = false;
    } catch (const std::exception& error) {
        sink.reset();
        next_maintenance = Clock::now() + kMaintenance;
        maintenance_failed = true;
        trouble(error.what());
    }
}

void Journal::Impl::trouble(const std::string& what) {
    if (lost_before_trouble) return;
    lost_before_trouble = lost_seen;
    {
        const std::lock_guard lock(mutex);
        in_trouble = {what, unixMillis()};
    }
    if (events.failed) events.failed(what);
}

void Journal::Impl::noticeOverflow() {
    const std::uint64_t now = lost;
    if (now == lost_seen) return;
    trouble(fmt::format(
        "the journal cannot keep up: at most {} records or {} MiB are queued; the others are in the log only",
        options.max_queued, options.max_queued_bytes >> 20));
    lost_seen = now;
}

void Journal::Impl::noticeRecovery() {
    if (!lost_before_trouble || maintenance_failed) return;
    {
        const std::lock_guard lock(mutex);
        if (queue.count() > options.max_queued / 2 || queue.bytes() > options.max_queued_bytes / 2) return;
        in_trouble = {};
    }
    lost_seen = lost;
    const std::uint64_t lost_meanwhile = lost_seen - *lost_before_trouble;
    lost_before_trouble.reset();
    if (events.recovered) events.recovered(lost_meanwhile);
}

void Journal::Impl::giveUp() {
    std::size_t left = batchLeft();
    {
        const std::lock_guard lock(mutex);
        left += queue.count();
        queue.clear();
        settled += left;
        in_flight = batch_bytes = 0;
    }
    batch.clear();
    batch_written = batch_place = 0;
    lost += left;
    settled_changed.notify_all();
    if (left > 0) trouble(fmt::format("the journal stopped before {} sessions were written", left));
    sink.reset();
}

Journal::Journal(JournalOptions options, journal::OpenSink open, Events events)
    : impl_(std::make_unique<Impl>()) {
    impl_->options = std::move(options);
    impl_->open = std::move(open);
    impl_->events = std::move(events);
}

Journal::~Journal() {
    stop();
}

void Journal::start() {
    try {
        impl_->sink = impl_->open(impl_->options);
        impl_->bytes = impl_->sink->bytes();
        impl_->oldest_ms = impl_->sink->oldestMs();
    } catch (const StoreError& error) {
        if (!startsWithout(error)) throw;
        impl_->trouble(error.what());
    }
    impl_->thread = std::thread([this] { impl_->run(); });
}

bool Journal::startsWithout(const StoreError& error) noexcept {
    using Kind = StoreError::Kind;
    return error.kind() == Kind::DiskFull || error.kind() == Kind::Locked || error.kind() == Kind::Damaged ||
           error.kind() == Kind::Other;
}

void Journal::stop() {
    if (!impl_->thread.joinable()) return;
    {
        const std::lock_guard lock(impl_->mutex);
        impl_->stopping = true;
        impl_->stop_deadline = Clock::now() + kStopWithin;
    }
    impl_->wake_writer.notify_one();
    impl_->thread.join();
}

bool Journal::record(JournalSession&& session) noexcept {
    // Of the thread, as others wait for the lock.
    thread_local journal::PackedRecords packed;
    try {
        bool wake = false;
        packed.clear();
        packed.add(session);
        if (packed.bytes() > kSurelySmall && cutToSize(session, bytesOf(session))) {
            packed.clear();
            packed.add(session);
        }
        {
            const std::lock_guard lock(impl_->mutex);
            if (!impl_->hasRoomFor(packed.bytes())) {
                ++impl_->lost;
                return false;
            }
            impl_->queue.append(packed);
            ++impl_->accepted;
            // By the first, and once on the way up: a waiting thread is not woken per record.
            wake = impl_->queue.count() == 1 || impl_->queue.count() == kWakeAt;
        }
        if (wake) impl_->wake_writer.notify_one();
        return true;
    } catch (const std::bad_alloc&) {
        ++impl_->lost;
        return false;
    }
}

void Journal::recordFailed() noexcept {
    ++impl_->lost;
}

bool Journal::flush(std::chrono::milliseconds at_most) {
    std::unique_lock lock(impl_->mutex);
    const std::uint64_t target = impl_->accepted;
    const std::uint64_t lost_before = impl_->lost;
    impl_->flushing = true;
    impl_->wake_writer.notify_one();
    const bool settled =
        impl_->settled_changed.wait_for(lock, at_most, [&] { return impl_->settled >= target; });
    return settled && (!impl_->stopping || impl_->lost == lost_before);
}

Journal::Trouble Journal::trouble() const {
    const std::lock_guard lock(impl_->mutex);
    return impl_->in_trouble;
}

std::size_t Journal::queued() const noexcept {
    const std::lock_guard lock(impl_->mutex);
    return impl_->queue.count() + impl_->in_flight;
}

std::uint64_t Journal::written() const noexcept {
    return impl_->written;
}

std::uint64_t Journal::lost() const noexcept {
    return impl_->lost;
}

std::uint64_t Journal::bytes() const noexcept {
    return impl_->bytes;
}

std::int64_t Journal::oldestMs() const noexcept {
    return impl_->oldest_ms;
}

}  // namespace mailgate::store
