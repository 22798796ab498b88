// SPDX-License-Identifier: Apache-2.0
/// \file  A fleet's database in memory, which several gateways may have at once.
#pragma once

#include "store/fleet/fleet.h"

#include <algorithm>
#include <condition_variable>
#include <cstdint>
#include <functional>
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
struct FleetDatabase {
    std::mutex mutex;
    std::condition_variable news;
    FleetState state{.fleet = "f1"};
    std::vector<SharedEntry> log;
    std::map<std::int64_t, std::string> tokens{{0, ""}};  ///< by version
    std::map<std::int64_t, SharedRule> rules;
    std::vector<SharedSet> sets;
    std::map<std::string, Member> members;
    std::vector<std::string> released;
    std::vector<FleetDrain> drains;
    std::map<std::pair<std::string, std::int64_t>, std::string>
        ticket_keys;                            ///< sealed, by secret and period
    std::function<void()> before_everything{};  ///< done once, before all is read
    int locks = 0;                              ///< so often it was locked
    bool gone = false;                          ///< it cannot be reached
    bool keeps_changes = false;                 ///< none may be removed from the log
    bool loses_answer = false;                  ///< it commits, and nobody hears of it
};

class FakeFleet final : public FleetStore {
  public:
    explicit FakeFleet(std::shared_ptr<FleetDatabase> database) : database_(std::move(database)) {}

    FleetState state() override {
        const auto guard = reached();
        return database_->state;
    }
    std::optional<std::string> tokenOf(std::int64_t version) override {
        const auto guard = reached();
        const auto found = database_->tokens.find(version);
        return found == database_->tokens.end() ? std::nullopt : std::optional(found->second);
    }
    SharedChanges changesSince(std::int64_t version) override {
        const auto guard = reached();
        if (version < database_->state.log_from) throw StoreError(StoreError::Kind::Locked, "try again");
        SharedChanges changes{.version = database_->state.version,
                              .next_id = database_->state.next_id,
                              .token = database_->state.token};
        std::set<std::int64_t> ids;
        for (const SharedEntry& entry : database_->log) {
            if (entry.version <= version) continue;
            changes.entries.push_back(entry);
            ids.insert(entry.rule_id);
            if (entry.rule_id == 0) changes.sets = database_->sets;
        }
        for (const auto& [id, rule] : database_->rules)
            if (ids.contains(id)) changes.rules.push_back(rule);
        return changes;
    }
    SharedChanges everything() override {
        if (const auto meanwhile = std::exchange(database_->before_everything, {})) meanwhile();
        const auto guard = reached();
        SharedChanges all{.version = database_->state.version,
                          .next_id = database_->state.next_id,
                          .token = database_->state.token};
        for (const auto& [id, rule] : database_->rules)
            all.rules.push_back(rule);
        all.sets = database_->sets;
        return all;
    }
    std::vector<SharedSet> sets() override {
        const auto guard = reached();
        return database_->sets;
    }
    std::optional<OldestChange> oldestChange() override {
        const auto guard = reached();
        if (database_->log.empty()) return std::nullopt;
        return OldestChange{database_->log.front().version, database_->log.front().at};
    }
    void forgetChanges() override {
        const auto guard = reached();
        if (database_->keeps_changes) throw StoreError(StoreError::Kind::Other, "permission denied");
        std::erase_if(database_->log,
                      [&](const SharedEntry& entry) { return entry.version < database_->state.log_from; });
        std::erase_if(database_->tokens,
                      [&](const auto& token) { return token.first < database_->state.log_from; });
    }
    std::optional<std::int64_t> announce(const Member& self) override {
        const auto guard = reached();
        const auto before = std::exchange(database_->members[self.name], self);
        return before.name.empty() || before.started == self.started ? std::nullopt
                                                                     : std::optional(before.started);
    }
    void forget(const std::string& member) override {
        const auto guard = reached();
        database_->members.erase(member);
    }
    void release(const std::string& member) override {
        const auto guard = reached();
        database_->released.push_back(member);
    }
    std::vector<Member> members() override {
        const auto guard = reached();
        std::vector<Member> all;
        for (const auto& [name, member] : database_->members)
            all.push_back(member);
        return all;
    }
    std::vector<FleetDrain> drains() override {
        const auto guard = reached();
        return database_->drains;
    }
    bool setDrain(const FleetDrain& drain, bool is_drained) override {
        const auto guard = reached();
        const bool was = std::erase_if(database_->drains, [&](const FleetDrain& one) {
                             return one.upstream == drain.upstream && one.server == drain.server;
                         }) > 0;
        if (is_drained) database_->drains.push_back(drain);
        ++database_->state.drains;
        database_->news.notify_all();
        return was || is_drained;
    }
    std::vector<SealedTicketKey> ticketKeys(const std::string& secret, std::int64_t from,
                                            std::int64_t to) override {
        const auto guard = reached();
        std::vector<SealedTicketKey> keys;
        for (const auto& [of, sealed] : database_->ticket_keys)
            if (of.first == secret && of.second >= from && of.second <= to)
                keys.push_back({of.second, sealed});
        return keys;
    }
    void addTicketKeys(const std::string& secret, const std::vector<SealedTicketKey>& keys,
                       std::int64_t oldest) override {
        const auto guard = reached();
        std::erase_if(database_->ticket_keys, [&](const auto& one) { return one.first.second < oldest; });
        for (const SealedTicketKey& key : keys)
            database_->ticket_keys.try_emplace({secret, key.period}, key.sealed);
    }
    void wait(std::chrono::milliseconds at_most) override {
        std::unique_lock lock(database_->mutex);
        const std::int64_t seen = database_->state.version;
        database_->news.wait_for(lock, at_most, [&] {
            return database_->gone || interrupted_ || database_->state.version != seen;
        });
    }
    bool listens() const noexcept override { return true; }
    void interrupt() noexcept override {
        {
            const std::lock_guard guard(database_->mutex);
            interrupted_ = true;
        }
        database_->news.notify_all();
    }

    FleetState lock() override {
        const auto guard = reached();
        ++database_->locks;
        return database_->state;
    }
    std::vector<SharedEntry> commit(const SharedChanges& changes, const std::string&) override {
        const auto guard = reached();
        if (changes.version != database_->state.version + 1)
            throw StoreError(StoreError::Kind::Other, "a version was left out");
        for (SharedEntry entry : changes.entries) {
            if (entry.rule_id != 0) database_->rules.erase(entry.rule_id);
            entry.version = changes.version;
            database_->log.push_back(std::move(entry));
        }
        std::vector<SharedEntry> made_room;
        for (const SharedRule& rule : changes.rules)
            makeRoom(rule, changes, made_room);
        for (const SharedRule& rule : changes.rules)
            database_->rules.insert_or_assign(rule.id, rule);
        if (changes.sets) database_->sets = *changes.sets;
        database_->state.version = changes.version;
        database_->state.token = changes.token;
        database_->tokens.insert_or_assign(changes.version, changes.token);
        database_->state.next_id = changes.next_id;
        database_->news.notify_all();
        if (database_->loses_answer) throw StoreError(StoreError::Kind::Unknown, "the connection broke");
        return made_room;
    }
    void rollback() noexcept override {}
    Migration migrate(const std::string&) override { return {1, 1}; }

  private:
    void makeRoom(const SharedRule& rule, const SharedChanges& changes, std::vector<SharedEntry>& made_room) {
        const auto key = [](const SharedRule& one) {
            return std::tie(one.network, one.listener, one.verdict, one.set);
        };
        const auto other = std::find_if(database_->rules.begin(), database_->rules.end(),
                                        [&](const auto& there) { return key(there.second) == key(rule); });
        if (other == database_->rules.end()) return;
        SharedEntry entry = removalOf(other->second, changes);
        entry.version = changes.version;
        made_room.push_back(entry);
        database_->log.push_back(std::move(entry));
        database_->rules.erase(other);
    }

    std::unique_lock<std::mutex> reached() {
        std::unique_lock guard(database_->mutex);
        if (database_->gone || interrupted_) throw StoreError(StoreError::Kind::Open, "the database is gone");
        return guard;
    }

    const std::shared_ptr<FleetDatabase> database_;
    bool interrupted_ = false;  ///< guarded by the database's mutex
};

}  // namespace mailgate::store
