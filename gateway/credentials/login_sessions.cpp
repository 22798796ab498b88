// SPDX-License-Identifier: Apache-2.0
#include "gateway/credentials/login_sessions.h"

#include "gateway/credentials/secret.h"

#include <algorithm>
#include <utility>

namespace mailgate::credentials {

std::string LoginSessions::begin(std::string account, std::string password, Clock::time_point now) {
    std::string secret = newSecret();
    Login login{std::move(account), std::move(password), newSecret(), now, now};
    const std::lock_guard lock(mutex_);
    makeRoom(login.account, now);
    by_digest_.emplace(digestOf(secret), std::move(login));
    return secret;
}

std::optional<Login> LoginSessions::find(std::string_view secret, Clock::time_point now, bool counts_as_use) {
    const std::string digest = digestOf(secret);
    const std::lock_guard lock(mutex_);
    const auto found = by_digest_.find(digest);
    if (found == by_digest_.end()) return std::nullopt;
    if (isOver(found->second, now)) {
        by_digest_.erase(found);
        return std::nullopt;
    }
    if (counts_as_use) found->second.used = now;
    return found->second;
}

void LoginSessions::end(std::string_view secret) {
    const std::string digest = digestOf(secret);
    const std::lock_guard lock(mutex_);
    by_digest_.erase(digest);
}

std::size_t LoginSessions::endAllOf(std::string_view account) {
    const std::lock_guard lock(mutex_);
    return std::erase_if(by_digest_, [&](const auto& entry) { return entry.second.account == account; });
}

void LoginSessions::makeRoom(std::string_view account, Clock::time_point now) {
    std::erase_if(by_digest_, [&](const auto& entry) { return isOver(entry.second, now); });
    const auto is_own = [&](const auto& entry) { return entry.second.account == account; };
    const auto own = static_cast<std::size_t>(std::count_if(by_digest_.begin(), by_digest_.end(), is_own));
    const bool is_full = own >= kMostOfAccount;
    if (!is_full && by_digest_.size() < kMost) return;
    by_digest_.erase(
        std::min_element(by_digest_.begin(), by_digest_.end(), [&](const auto& one, const auto& other) {
            if (is_full && is_own(one) != is_own(other)) return is_own(one);
            return one.second.used < other.second.used;
        }));
}

}  // namespace mailgate::credentials
