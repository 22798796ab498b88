// SPDX-License-Identifier: Apache-2.0
#include "gateway/upstream/endpoint_health.h"

#include "gateway/base/clock.h"

namespace mailgate {

bool EndpointHealth::usable(Millis now) const noexcept {
    if (checked_.load(std::memory_order_relaxed)) return state() != Health::Down;
    return failed_until_.load(std::memory_order_relaxed) <= now;
}

std::string EndpointHealth::reason() const {
    const std::lock_guard lock(changes_);
    return reason_;
}

void EndpointHealth::setPolicy(const Policy& policy) noexcept {
    fall_.store(policy.fall, std::memory_order_relaxed);
    rise_.store(policy.rise, std::memory_order_relaxed);
    checked_.store(policy.checked, std::memory_order_relaxed);
}

bool EndpointHealth::sessionFailed(ServerFailure failure, Millis now, const Report& report) {
    const FailureCounts counts = countsOf(failure);
    if (counts == FailureCounts::Never) return false;
    const bool checked = checked_.load(std::memory_order_relaxed);
    if (!checked) {
        failed_until_.store(now + kRetryAfter, std::memory_order_relaxed);
        goDown(toString(failure), report);
        return false;
    }
    if (counts == FailureCounts::Always &&
        failed_sessions_.fetch_add(1, std::memory_order_relaxed) + 1 >= fall_.load(std::memory_order_relaxed))
        goDown(toString(failure), report);
    return !check_wanted_.exchange(true, std::memory_order_relaxed);
}

void EndpointHealth::sessionServed(const Report& report) {
    // Written only when it changes something: the line is shared by the workers.
    if (failed_sessions_.load(std::memory_order_relaxed) != 0)
        failed_sessions_.store(0, std::memory_order_relaxed);
    if (state() != Health::Down || checked_.load(std::memory_order_relaxed)) return;
    failed_until_.store(0, std::memory_order_relaxed);
    goUp(0, report);
}

void EndpointHealth::checkPassed(Millis now, const Report& report) {
    failed_sessions_.store(0, std::memory_order_relaxed);
    failed_checks_.store(0, std::memory_order_relaxed);
    const std::uint32_t in_a_row = good_checks_.fetch_add(1, std::memory_order_relaxed) + 1;
    if (state() == Health::Down && in_a_row < rise_.load(std::memory_order_relaxed)) return;
    goUp(now, report);
}

void EndpointHealth::checkFailed(std::string_view why, std::uint32_t weight, const Report& report) {
    good_checks_.store(0, std::memory_order_relaxed);
    const std::uint32_t in_a_row = failed_checks_.fetch_add(weight, std::memory_order_relaxed) + weight;
    if (state() == Health::Up && in_a_row < fall_.load(std::memory_order_relaxed)) return;
    goDown(why, report);
}

void EndpointHealth::goDown(std::string_view why, const Report& report) {
    const std::lock_guard lock(changes_);
    reason_ = why;
    if (state_.exchange(Health::Down, std::memory_order_relaxed) == Health::Down) return;
    changed_ms_.store(unixMillis(), std::memory_order_relaxed);
    good_checks_.store(0, std::memory_order_relaxed);
    report(Health::Down, why);
}

void EndpointHealth::goUp(Millis now, const Report& report) {
    if (state() == Health::Up) return;
    const std::lock_guard lock(changes_);
    const Health before = state();
    if (before == Health::Up) return;
    // What was never down was up all along: nothing to report, and nothing to start slowly.
    if (before == Health::Down) up_since_.store(now, std::memory_order_relaxed);
    state_.store(Health::Up, std::memory_order_relaxed);
    reason_.clear();
    changed_ms_.store(unixMillis(), std::memory_order_relaxed);
    if (before == Health::Down) report(Health::Up, {});
}

}  // namespace mailgate
