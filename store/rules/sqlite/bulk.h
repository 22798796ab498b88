// SPDX-License-Identifier: Apache-2.0
/// \file  Very many access rules at once, as they are put one by one, but at a fraction of the cost. Internal to store/.
/// Everything throws StoreError.
///
/// What triggers do for each row is done for all of them by one statement, made of the trigger's own text; new rules are
/// written by one statement too, in the order of the index, so that it only ever grows at its end. All of it is in the caller's
/// transaction.
#pragma once

#include "store/rules/rule_list.h"
#include "store/rules/sqlite/rows.h"
#include "store/rules/store.h"
#include "store/sqlite/database.h"
#include "store/sqlite/feed.h"

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
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

/// Where rules are, by the hash of what identifies a rule within the table; of rules with the same hash one.
class Places {
  public:
    /// In the table, by its id, or among the new ones, by its place there.
    struct Place {
        bool is_new;
        std::int64_t at;
    };

    /// Of that many rules to begin with.
    explicit Places(std::size_t rules);
    std::optional<Place> find(std::uint64_t hash) const noexcept;
    /// False: the hash has a place already, which it keeps.
    bool add(std::uint64_t hash, const Place& place);
    void erase(std::uint64_t hash) noexcept;

  private:
    enum class State : std::uint8_t { Free, Gone, There, New };
    struct Slot {
        std::uint64_t key = 0;  ///< the hash, but for the lowest two bits, which are the state
        std::int64_t at = 0;
    };

    static State stateOf(const Slot& slot) noexcept;
    /// Where the hash is, or else the first free slot after it.
    std::size_t slotOf(std::uint64_t hash) const noexcept;
    void grow();

    std::vector<Slot> slots_;  ///< a power of two of them
    std::size_t used_ = 0;     ///< those that are not free
};

/// Lives inside one transaction: find() and put() for each rule, then remove() what has to go, then finish().
class Bulk {
  public:
    Bulk(sqlite::Database& database, std::string_view who, std::size_t rules, const Progress& progress);

    /// The rule with the set, network, listener and verdict of another, as it is or will be.
    std::optional<AccessRule> find(const AccessRule& like);
    /// As Putter::put(), of the rule that find() was asked for last. `found`: what that has told. A new rule has no id yet.
    RuleStore::PutKind put(AccessRule& rule, const std::optional<AccessRule>& found);
    /// For one that was found, and now is not there any more.
    void forget(const AccessRule& gone);
    /// Removes the rules with these ids, which are sorted. The first lines of the trail that say so.
    std::vector<std::string> remove(const std::vector<std::int64_t>& ids);
    /// Writes the new rules.
    void finish();

  private:
    /// The first sixteen bytes of a network's text as numbers that sort as they do: all of an IPv4 network's, mostly.
    using Beginning = std::pair<std::uint64_t, std::uint64_t>;
    /// A new rule.
    struct Pending {
        Beginning beginning;
        std::uint32_t rule;     ///< in rules_; kForgotten: none any more
        std::uint32_t network;  ///< where its text begins in texts_, unless all of it is in `beginning`
    };
    static constexpr std::uint32_t kForgotten = ~std::uint32_t(0);
    class NewRows;
    class NewLines;
    class NewRules;

    static std::uint64_t hashOf(std::string_view network, std::string_view listener, std::string_view verdict,
                                std::string_view set) noexcept;
    static std::uint64_t hashOf(const AccessRule& rule);
    Pending* pendingOf(const AccessRule& like, std::uint64_t hash);
    void addPending(const AccessRule& rule);
    static Beginning beginningOf(std::string_view text) noexcept;
    static bool isWhole(const Beginning& beginning) noexcept { return (beginning.second & 0xFF) == 0; }
    std::string_view networkOf(const Pending& pending, std::array<char, 16>& whole) const noexcept;
    void sortPending();
    void readPlaces();

    sqlite::Database& database_;
    const std::string who_;
    const Progress& progress_;
    Finder finder_;
    Putter putter_;
    sqlite::RawStatement by_id_;
    Places places_;
    std::vector<Pending> pending_;
    RuleList rules_;             ///< the new ones, and what they were before they were put again
    std::string texts_;          ///< of networks, the length of each in two bytes before it
    bool collided_ = false;      ///< a new rule has the hash of another one
    std::uint64_t asked_ = 0;    ///< hash of the rule that find() was asked for last
    std::string asked_network_;  ///< and its network's text
};

}  // namespace mailgate::store::rows
