// SPDX-License-Identifier: Apache-2.0
#include "store/fleet/verify.h"

#include "store/fleet/join.h"
#include "store/fleet/sharing.h"

#include <functional>
#include <map>
#include <string>
#include <utility>

namespace mailgate::store {

namespace {

/// `same(here, fleet)`: they say the same. Returns how many do.
template <typename Key, typename Item, typename Same>
std::size_t compareEach(const std::map<Key, Item>& here, const std::map<Key, Item>& fleet, const Same& same,
                        std::vector<Comparison::Difference<Item>>& differences) {
    std::map<Key, Comparison::Difference<Item>> both;
    for (const auto& [key, item] : here)
        both[key].here = item;
    for (const auto& [key, item] : fleet)
        both[key].fleet = item;
    std::size_t alike = 0;
    for (auto& [key, pair] : both) {
        if (pair.here && pair.fleet && same(*pair.here, *pair.fleet))
            ++alike;
        else
            differences.push_back(std::move(pair));
    }
    return alike;
}

std::map<std::string, SharedSet> byName(const std::optional<std::vector<SharedSet>>& sets) {
    std::map<std::string, SharedSet> found;
    for (const SharedSet& set : sets.value())
        found.emplace(set.name, set);
    return found;
}

}  // namespace

Comparison compareRules(const SharedChanges& here, const SharedChanges& fleet, UnixSeconds now) {
    Comparison comparison{.version = fleet.version};
    std::map<std::int64_t, SharedRule> ours, theirs;
    for (const SharedRule& rule : here.rules) {
        if (rule.set == kHereSet)
            ++comparison.own;
        else
            ours.emplace(rule.id, rule);
    }
    for (const SharedRule& rule : fleet.rules)
        theirs.emplace(rule.id, rule);
    comparison.same = compareEach(ours, theirs, saySame, comparison.rules);
    // Nobody has it in force, and it goes by itself.
    std::erase_if(comparison.rules, [&](const Comparison::Difference<SharedRule>& one) {
        return !(one.here && one.fleet) && isOver(one.here ? *one.here : *one.fleet, now);
    });
    compareEach(byName(here.sets), byName(fleet.sets), std::equal_to<SharedSet>(), comparison.sets);
    return comparison;
}

Comparison verifyRules(Replica& replica, FleetStore& fleet, UnixSeconds now) {
    SharedChanges here;
    const SharedChanges there = readTogether(replica, fleet, [&] { here = replica.everythingHere(); });
    return compareRules(here, there, now);
}

}  // namespace mailgate::store
