// SPDX-License-Identifier: Apache-2.0
/// \file  Very many access rules at once, as they are put one by one, but at a fraction of the cost. Internal to store/.
/// Everything throws StoreError.
///
/// What triggers do for each row is done for all of them by one statement, made of the trigger's own text; new rules are
/// written in the order of the index, so that it only ever grows at its end. All of it is in the caller's transaction.
#pragma once

#include "store/rules/sqlite/rows.h"
#include "store/rules/store.h"
#include "store/sqlite/database.h"

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

namespace mailgate::store::rows {

/// For as long as it lives, no trigger fires on the connection. No other connection notices.
class WithoutTriggers {
  public:
    explicit WithoutTriggers(sqlite::Database& database);
    ~WithoutTriggers();
    WithoutTriggers(const WithoutTriggers&) = delete;
    WithoutTriggers& operator=(const WithoutTriggers&) = delete;

  private:
    void set(int enabled) noexcept;

    sqlite::Database& database_;
};

/// Lives inside one transaction: find() and put() for each rule, then remove() what has to go, then finish().
class Bulk {
  public:
    Bulk(sqlite::Database& database, std::string_view who, std::size_t rules, const Progress& progress);

    /// The rule with the set, network, listener and verdict of another, as it is or will be.
    std::optional<AccessRule> find(const AccessRule& like);
    /// As Putter::put(), of the rule that find() was asked for last. `found`: what that has told. A new rule has its id from finish() on, where `rule` must
    /// still be.
    RuleStore::PutKind put(AccessRule& rule, const std::optional<AccessRule>& found);
    /// For one that was found, and now is not there any more.
    void forget(const AccessRule& gone);
    /// Removes the rules with these ids, which are sorted; the lines of the trail that say so are its last ones.
    void remove(const std::vector<std::int64_t>& ids);
    /// Writes the new rules.
    void finish();

  private:
    /// Of what identifies a rule within the table.
    struct Place {
        std::int64_t id;      ///< of a rule that is in the table; 0: it is among the new ones
        std::size_t pending;  ///< its place there
    };

    static std::uint64_t hashOf(std::string_view network, std::string_view listener, std::string_view verdict,
                                std::string_view set) noexcept;
    static std::uint64_t hashOf(const AccessRule& rule);
    AccessRule** pendingOf(const AccessRule& like, std::uint64_t hash);
    void readPlaces();
    void removeMost();

    sqlite::Database& database_;
    const std::string who_;
    const Progress& progress_;
    Finder finder_;
    Putter putter_;
    sqlite::RawStatement by_id_;
    std::unordered_map<std::uint64_t, Place> places_;
    std::vector<AccessRule*> pending_;  ///< null: it has been forgotten
    bool collided_ = false;             ///< a new rule has the hash of another one
    std::uint64_t asked_ = 0;           ///< hash of the rule that find() was asked for last
};

}  // namespace mailgate::store::rows
