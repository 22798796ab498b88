// SPDX-License-Identifier: Apache-2.0
#include "gateway/credentials/login_limiter.h"

#include "gateway/credentials/secret.h"

#include <iterator>
#include <utility>

namespace mailgate::credentials {

namespace {

std::chrono::seconds pauseAfter(LoginLimiter::Clock::time_point last, LoginLimiter::Clock::time_point now) {
    return std::chrono::ceil<std::chrono::seconds>(last + LoginLimiter::kPause - now);
}

}  // namespace

std::chrono::seconds LoginLimiter::delay(const std::string& key, Clock::time_point now) {
    const std::lock_guard lock(mutex_);
    forgetOld(now);
    const auto found = by_key_.find(key);
    if (found == by_key_.end() || !found->second->isPaused(allowed_)) return std::chrono::seconds(0);
    return pauseAfter(found->second->last, now);
}

std::chrono::seconds LoginLimiter::begin(const std::string& key, const std::string& name,
                                         Clock::time_point now) {
    std::string whose = digestOf(name);
    const std::lock_guard lock(mutex_);
    forgetOld(now);
    Entry& entry = entryOf(key);
    if (entry.isPaused(allowed_)) return pauseAfter(entry.last, now);
    entry.failures.push_back(std::move(whose));
    entry.last = now;
    entries_.splice(entries_.end(), entries_, by_key_.at(key));
    return std::chrono::seconds(0);
}

LoginLimiter::Entry& LoginLimiter::entryOf(const std::string& key) {
    if (const auto found = by_key_.find(key); found != by_key_.end()) return *found->second;
    if (entries_.size() >= kMaxKeys) {
        by_key_.erase(entries_.front().key);
        entries_.pop_front();
    }
    entries_.push_back({key, {}, {}});
    by_key_.emplace(key, std::prev(entries_.end()));
    return entries_.back();
}

void LoginLimiter::onSuccess(const std::string& key, const std::string& name) {
    const std::string whose = digestOf(name);
    const std::lock_guard lock(mutex_);
    const auto found = by_key_.find(key);
    if (found == by_key_.end()) return;
    std::erase(found->second->failures, whose);
    if (!found->second->failures.empty()) return;
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
