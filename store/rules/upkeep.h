// SPDX-License-Identifier: Apache-2.0
/// \file  What the store needs from time to time: rules that expired long ago go, so does the old part of the audit trail, and of
/// rules that expire soon somebody hears. Belongs to the thread that asks.
#pragma once

#include "store/rules/store.h"

#include <cstddef>
#include <functional>
#include <map>
#include <optional>
#include <span>

namespace mailgate::store {

struct UpkeepOptions {
    // In seconds.
    UnixSeconds keep_expired = UnixSeconds{90} * 24 * 60 * 60;  ///< rules, after they have expired
    UnixSeconds keep_audit = UnixSeconds{1'095} * 24 * 60 * 60;
    UnixSeconds warn_expiry = UnixSeconds{3} * 24 * 60 * 60;  ///< how long before; 0: no warnings
};

/// A warning is due: at that time before the rule expires, but not before three quarters of its life are over. Programs
/// need none of their rules.
bool expiresSoon(const AccessRule& rule, UnixSeconds now, UnixSeconds warn_expiry) noexcept;

class Upkeep {
  public:
    struct Events {
        /// `fresh` expire soon, and nobody has heard of it; `all`: how many do. Called when either has changed.
        std::function<void(std::span<const AccessRule> fresh, std::size_t all)> expiring{};
        std::function<void(const RuleStore::Pruned& pruned)> pruned{};  ///< something was
    };

    Upkeep(const UpkeepOptions& options, Events events) : options_(options), events_(std::move(events)) {}

    /// Throws StoreError; then it is worth another try later.
    RuleStore::Pruned run(RuleStore& store, UnixSeconds now);

  private:
    void warn(RuleStore& store, UnixSeconds now);

    const UpkeepOptions options_;
    const Events events_;
    std::map<std::int64_t, UnixSeconds> warned_;  ///< when those expire that were reported, by id
    std::optional<std::size_t> reported_;         ///< how many
};

}  // namespace mailgate::store
