// SPDX-License-Identifier: Apache-2.0
#include "gateway/daemon/fleet_tickets.h"

#include "gateway/base/config_error.h"
#include "gateway/tls/error.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>
#include <vector>

namespace mailgate {
namespace {

/// What a row is sealed for, so that none can stand in another's place.
std::string purposeOf(const store::FleetState& state, std::int64_t period) {
    return fmt::format("mailgate ticket key of {}, period {}", state.fleet, period);
}

}  // namespace

std::optional<TicketSeal> ticketSealOf(const Config& config) {
    if (config.fleet.url.empty() || config.fleet.ticket_secret.empty()) return std::nullopt;
    try {
        return TicketSeal::fromFile(config.fleet.ticket_secret);
    } catch (const TlsError& error) {
        throw ConfigError(fmt::format("fleet.ticket_secret: {}", error.what()));
    }
}

void FleetTickets::look(store::FleetStore& fleet, const store::FleetState& state) {
    if (state.now >= looked_at_ && state.now - looked_at_ < pause_) return;
    looked_at_ = state.now;
    std::string failure;
    try {
        failure = exchange(fleet, state);
    } catch (const store::StoreError& error) {
        failure = error.what();
    }
    constexpr std::int64_t kEvery = 60, kAfterFailure = 10;
    pause_ = failure.empty() ? kEvery : kAfterFailure;
    report(failure);
}

/// What is wrong; empty: nothing.
std::string FleetTickets::exchange(store::FleetStore& fleet, const store::FleetState& state) {
    constexpr std::int64_t kKept = 2;  // which have passed: their tickets are still taken
    const std::int64_t period = state.now / TicketKeys::kLifetime;
    auto sealed = fleet.ticketKeys(seal_.id(), period - kKept, period + 1);
    std::vector<store::SealedTicketKey> made;
    for (const std::int64_t needed : {period, period + 1}) {
        const bool there =
            std::any_of(sealed.begin(), sealed.end(), [&](const auto& one) { return one.period == needed; });
        if (there) continue;
        const auto key = TicketKey::random();
        auto text = key ? seal_.seal(*key, purposeOf(state, needed)) : std::nullopt;
        if (!text) return "the system gives no random bytes for a key";
        made.push_back({needed, std::move(*text)});
    }
    if (!made.empty()) {
        fleet.addTicketKeys(seal_.id(), made, period - kKept);
        // Another gateway may have been faster.
        sealed = fleet.ticketKeys(seal_.id(), period - kKept, period + 1);
    }
    std::vector<SharedTicketKey> keys;
    for (const store::SealedTicketKey& one : sealed)
        if (const auto key = seal_.open(one.sealed, purposeOf(state, one.period)))
            keys.push_back({one.period * TicketKeys::kLifetime, *key});
    const bool all_opened = keys.size() == sealed.size();
    keys_->share(std::move(keys));
    if (!all_opened) return "a key in the fleet's database was altered: delete it from mailgate.ticket_key";
    if (!keys_->sharedUntil()) return "the database's clock and this gateway's are hours apart";
    return "";
}

void FleetTickets::report(const std::string& why) {
    std::string before;
    {
        const std::lock_guard lock(mutex_);
        before = std::exchange(failure_, why);
    }
    const bool was_shared = std::exchange(shared_, why.empty());
    if (why.empty() && !was_shared && events_.shared) events_.shared();
    if (!why.empty() && before.empty() && events_.failed) events_.failed(why);
}

admin::TicketKeysStatus FleetTickets::status() const {
    const std::lock_guard lock(mutex_);
    return {true, keys_->sharedUntil().value_or(0), failure_};
}

}  // namespace mailgate
