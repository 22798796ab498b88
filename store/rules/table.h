// SPDX-License-Identifier: Apache-2.0
/// \file  The look-up table of access rules: immutable, shared by all workers, swapped as a whole.
///
/// The most specific network with a live rule for the listener wins; at the same network a rule that names
/// the listener beats one that covers all, and then deny beats allow. Of several sets' rules that are equal in all that,
/// the one of kManualSet decides, whose limits hold, then that of the set whose name comes first: ids differ between
/// gateways, names do not. A look-up takes no lock and allocates nothing; the only thing that changes after building are the hit counters, which are atomics.
///
/// A table is two pieces: one that holds nearly all rules, which tables that follow each other share with their counters, and
/// a small one with the rules of the networks where something has changed since. A change costs what is changed, and
/// what the small piece holds; when that has grown, both become one.
#pragma once

#include "store/rules/rule.h"

#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace mailgate::store {

class AccessTable {
  public:
    /// What decided. `rule` indexes this table's rules, for hit() and ruleId().
    struct Match {
        Verdict verdict;
        std::uint32_t rule;
        Network network;
        ClientLimits limits{};
        bool temporary = false;  ///< a denial is not to be permanent
    };

    class Builder;

    AccessTable();  ///< an empty table: nothing matches
    ~AccessTable();
    AccessTable(const AccessTable&) = delete;
    AccessTable& operator=(const AccessTable&) = delete;

    /// `now`: a rule whose expires_at is <= now does not match.
    std::optional<Match> lookup(const AddressBytes& address, ListenerIndex listener,
                                UnixSeconds now) const noexcept;

    /// Counts a use of the rule. Any thread.
    void hit(std::uint32_t rule, UnixSeconds now) const noexcept;
    /// Takes the counters (and resets them): called by the one thread that writes them back.
    void takeHits(
        const std::function<void(std::int64_t rule_id, std::uint32_t hits, UnixSeconds last)>& take) const;

    /// Whether there is an address that the rules let in at the listener. Looks at one rule after the other, until one does;
    /// at none where no allow rule is in force.
    bool letsSomebodyIn(ListenerIndex listener, UnixSeconds now) const noexcept;

    std::int64_t ruleId(std::uint32_t rule) const noexcept;
    /// The rules of exactly this network, those that only name unknown listeners too.
    std::vector<std::int64_t> rulesOf(const Network& network) const;
    /// One of the rules has one of the ids, which are sorted. Looks at every rule.
    bool holdsAny(std::span<const std::int64_t> ids) const noexcept;
    std::size_t size() const noexcept;  ///< rules, without those that only name listeners unknown here
    /// No rules at all: none of listeners unknown here either.
    bool empty() const noexcept;
    /// How many rules in force name each listener unknown here, by name: they decide nothing. A thousand names; the others
    /// are counted together, as "...". Looks at every rule where some of them expire.
    std::map<std::string, std::size_t> unknownListeners(UnixSeconds now) const;
    std::size_t memoryBytes() const noexcept;  ///< heap bytes held by the table
    std::int64_t version() const noexcept;     ///< the store's rules version it was built from

  private:
    struct Data;
    std::unique_ptr<Data> data_;
};

/// Collects rules in any order. A rule that names a listener which is not configured decides nothing.
/// Expiry is kept to the second up to the year 2106; a later one counts as never.
class AccessTable::Builder {
  public:
    /// `listeners`: the configured listeners; their order gives the ListenerIndex. At most 60,000.
    explicit Builder(std::span<const std::string> listeners);
    /// Of a table that differs from `before`, for the same listeners, in a few networks.
    explicit Builder(std::shared_ptr<const AccessTable> before);
    ~Builder();

    /// All rules of this network are those that are added.
    void replace(const Network& network);
    /// `listener` empty: all. Where there was a table before, replaces the network's rules.
    void add(std::int64_t id, const Network& network, Verdict verdict, std::string_view listener,
             std::optional<UnixSeconds> expires_at, const ClientLimits& limits = {},
             std::string_view set = kManualSet, bool temporary = false);
    /// Call once. `version`: see AccessTable::version().
    std::shared_ptr<const AccessTable> build(std::int64_t version);

  private:
    struct Pending;
    std::unique_ptr<Pending> pending_;
};

}  // namespace mailgate::store
