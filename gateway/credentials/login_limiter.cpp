// SPDX-License-Identifier: Apache-2.0
#include "gateway/credentials/login_limiter.h"

#include <utility>

namespace mailgate::credentials {

std::chrono::seconds LoginLimiter::delay(const std::string& key, Clock::time_point now) {
    const std::lock_guard lock(mutex_);
    forgetOld(now);
    const auto found = by_key_.find(key);
    if (found == by_key_.end() || found->second->failures < allowed_) return std::chrono::seconds(0);
    return std::chrono::ceil<std::chrono::seconds>(found->second->last + kPause - now);
}

void LoginLimiter::onFailure(const std::string& key, Clock::time_point now) {
    const std::lock_guard lock(mutex_);
    forgetOld(now);
    auto found = by_key_.find(key);
    if (found == by_key_.end()) {
        if (entries_.size() >= kMaxKeys) {
            by_key_.erase(entries_.front().key);
            entries_.pop_front();
        }
        entries_.push_back({key, 0, now});
        found = by_key_.emplace(key, std::prev(entries_.end())).first;
    }
    Entry& entry = *found->second;
    ++entry.failures;
    entry.last = now;
    entries_.splice(entries_.end(), entries_, found->second);
}

void LoginLimiter::onSuccess(const std::string& key) {
    const std::lock_guard lock(mutex_);
    const auto found = by_key_.find(key);
    if (found == by_key_.end()) return;
    entries_.erase(found->second);
    by_key_.erase(found);
}

void LoginLimiter::forgetOld(Clock::time_point now) {
    while (!entries_.empty() && entries_.front().last + kPause <= now) {
        by_key_.erase(entries_.front().key);
        entries_.pop_front();
    }
}

}  // namespace mailgate::credentials
