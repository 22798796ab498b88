// SPDX-License-Identifier: Apache-2.0
#include "store/rules/upkeep.h"

#include <algorithm>
#include <utility>
#include <vector>

namespace mailgate::store {

bool expiresSoon(const AccessRule& rule, UnixSeconds now, UnixSeconds warn_expiry) noexcept {
    if (!rule.expires_at || !isLive(rule, now) || isProgram(rule.created_by)) return false;
    const UnixSeconds life = std::max<UnixSeconds>(*rule.expires_at - rule.created_at, 0);
    return *rule.expires_at - now <= std::min(warn_expiry, life / 4);
}

void Upkeep::warn(RuleStore& store, UnixSeconds now) {
    std::vector<AccessRule> fresh;
    std::map<std::int64_t, UnixSeconds> found;
    store.forEachExpiring(now, now + options_.warn_expiry, [&](const AccessRule& rule) {
        if (!expiresSoon(rule, now, options_.warn_expiry)) return;
        found.emplace(rule.id, *rule.expires_at);
        const auto before = warned_.find(rule.id);
        if (before == warned_.end() || before->second != *rule.expires_at) fresh.push_back(rule);
    });
    const bool changed = std::exchange(reported_, found.size()) != found.size();
    warned_.swap(found);
    if (events_.expiring && (changed || !fresh.empty())) events_.expiring(fresh, warned_.size());
}

RuleStore::Pruned Upkeep::run(RuleStore& store, UnixSeconds now) {
    warn(store, now);
    const auto pruned =
        store.prune(now - options_.keep_expired, now - options_.keep_audit, programName("mailgate"));
    if (events_.pruned && (pruned.rules > 0 || pruned.entries > 0)) events_.pruned(pruned);
    return pruned;
}

}  // namespace mailgate::store
