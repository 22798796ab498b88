// SPDX-License-Identifier: Apache-2.0
/// \file  Where the journals of a fleet's gateways meet, in memory; several gateways may have it at once.
#pragma once

#include "store/fleet/shared_journal.h"

#include <algorithm>
#include <cstdint>
#include <limits>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <set>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

namespace mailgate::store {

/// What is in the database. Any thread.
struct SharedJournals {
    struct Row {
        SharedJournal::Journal journal;
        std::string gateway;
    };
    using Key = std::tuple<std::int64_t, JournalKind, std::int64_t>;  ///< journal, kind, key

    std::mutex mutex;
    std::string fleet = "f1";
    std::vector<Row> rows;
    std::map<Key, std::string> records;  ///< their sessions
    std::map<std::string, JournalWriter> writers;
    std::vector<SharedJournal::Missed> missed;
    std::vector<std::size_t> sizes;  ///< of what was written at once, in records
    std::int64_t next_id = 1;
    std::int64_t kept_since_ms = 0;
    bool gone = false;                                           ///< it cannot be reached
    bool goes_at_upkeep = false;                                 ///< `gone` from its next upkeep on
    bool locked = false;                                         ///< what is old cannot be removed now
    std::set<std::string> bad;                                   ///< sessions that it cannot have
    std::size_t most = std::numeric_limits<std::size_t>::max();  ///< records; for more it takes too long

    /// The sessions whose records are there, each as often as it is there.
    std::vector<std::string> sessions() {
        const std::lock_guard guard(mutex);
        std::vector<std::string> ids;
        for (const auto& [key, id] : records)
            ids.push_back(id);
        std::sort(ids.begin(), ids.end());
        return ids;
    }
};

class FakeSharedJournal final : public SharedJournal {
  public:
    FakeSharedJournal(std::shared_ptr<SharedJournals> database, JournalOwner owner)
        : database_(std::move(database)), owner_(std::move(owner)) {}

    std::string fleet() override {
        const auto guard = reached();
        return database_->fleet;
    }
    std::vector<Journal> journals() override {
        const auto guard = reached();
        std::vector<Journal> own;
        for (auto row = database_->rows.rbegin(); row != database_->rows.rend(); ++row)
            if (row->gateway == owner_.gateway) own.push_back(row->journal);
        return own;
    }
    Journal create(std::int64_t number, const std::string& position,
                   std::optional<std::int64_t> id) override {
        const auto guard = reached();
        Journal journal{id ? *id : database_->next_id++, number, position};
        database_->rows.push_back({journal, owner_.gateway});
        return journal;
    }
    void place(std::int64_t journal, const std::string& position) override {
        const auto guard = reached();
        find(journal)->journal.position = position;
    }
    std::optional<JournalWriter> writer() override {
        const auto guard = reached();
        const auto found = database_->writers.find(owner_.gateway);
        return found == database_->writers.end() ? std::nullopt : std::optional(found->second);
    }
    bool claim(const std::optional<JournalWriter>& from, const std::vector<std::string>& lineage) override {
        const auto guard = reached();
        const auto found = database_->writers.find(owner_.gateway);
        if ((found != database_->writers.end()) != from.has_value()) return false;
        if (from && found->second.process != from->process) return false;
        database_->writers[owner_.gateway] = {owner_.process, from ? from->process : "", 0, lineage};
        return true;
    }
    std::optional<std::int64_t> journalOf(JournalKind kind, const journal::SpoolPlace& record) override {
        const auto guard = reached();
        for (const auto& [key, id] : database_->records) {
            const auto& [journal, of_kind, number] = key;
            if (of_kind != kind || number != record.key || id != record.id) continue;
            const Row* const row = find(journal);
            if (row == nullptr || row->gateway == owner_.gateway) return journal;
        }
        return std::nullopt;
    }
    bool has(JournalKind kind, const journal::SpoolPlace& record) override {
        const auto guard = reached();
        return std::any_of(database_->records.begin(), database_->records.end(), [&](const auto& one) {
            return std::get<1>(one.first) == kind && std::get<2>(one.first) == record.key &&
                   one.second == record.id;
        });
    }
    std::int64_t lastKey(std::int64_t journal, JournalKind kind) override {
        const auto guard = reached();
        std::int64_t last = 0;
        for (const auto& [key, id] : database_->records)
            if (std::get<0>(key) == journal && std::get<1>(key) == kind)
                last = std::max(last, std::get<2>(key));
        return last;
    }
    std::int64_t keptSinceMs(JournalKind) const override { return database_->kept_since_ms; }

    std::size_t add(std::int64_t journal, std::int64_t key, const JournalSession& record) override {
        added_.emplace_back(SharedJournals::Key{journal, record.kind, key}, record.id);
        return 100;
    }
    void discard() noexcept override { added_.clear(); }
    bool commit(const Progress& progress) override {
        const auto added = std::exchange(added_, {});
        const auto guard = reached();
        if (added.size() > database_->most)
            throw StoreError(StoreError::Kind::Open, "the database does not answer");
        Row* const row = find(progress.journal);
        if (row == nullptr || row->journal.position != progress.from ||
            database_->writers[owner_.gateway].process != owner_.process)
            return false;
        for (const auto& [key, id] : added)
            if (database_->bad.contains(id)) throw StoreError(StoreError::Kind::BadRow, "too long");
        for (const auto& [key, id] : added)
            if (!database_->records.emplace(key, id).second)
                throw StoreError(StoreError::Kind::Other, "twice the same key");
        row->journal.position = progress.to;
        database_->sizes.push_back(added.size());
        database_->missed.insert(database_->missed.end(), progress.missed.begin(), progress.missed.end());
        return true;
    }
    bool maintain() override {
        {
            const std::lock_guard guard(database_->mutex);
            if (database_->goes_at_upkeep) database_->gone = true;
        }
        const auto guard = reached();
        if (database_->locked) throw StoreError(StoreError::Kind::Locked, "somebody reads");
        return false;
    }
    void interrupt() noexcept override {
        const std::lock_guard guard(database_->mutex);
        interrupted_ = true;
    }

  private:
    using Row = SharedJournals::Row;

    std::unique_lock<std::mutex> reached() {
        std::unique_lock guard(database_->mutex);
        if (database_->gone || interrupted_) throw StoreError(StoreError::Kind::Open, "the database is gone");
        return guard;
    }
    Row* find(std::int64_t journal) {
        const auto found = std::find_if(database_->rows.begin(), database_->rows.end(),
                                        [&](const Row& row) { return row.journal.id == journal; });
        return found == database_->rows.end() ? nullptr : &*found;
    }

    const std::shared_ptr<SharedJournals> database_;
    const JournalOwner owner_;
    std::vector<std::pair<SharedJournals::Key, std::string>> added_;
    bool interrupted_ = false;  ///< guarded by the database's mutex
};

}  // namespace mailgate::store
