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
    const auto own = std::count_if(by_digest_.begin(), by_digest_.end(),
                                   [&](const auto& entry) { return entry.second.account == account; });
    if (static_cast<std::size_t>(own) >= kMostOfOne)
        endUnusedForLongest(account);
    else if (by_digest_.size() >= kMost)
        endUnusedForLongest("");
}

/// Of one account, or of all if that is empty; there is one at least.
void LoginSessions::endUnusedForLongest(std::string_view account) {
    auto longest = by_digest_.end();
    for (auto each = by_digest_.begin(); each != by_digest_.end(); ++each) {
        if (!account.empty() && each->second.account != account) continue;
        if (longest == by_digest_.end() || each->second.used < longest->second.used) longest = each;
    }
    by_digest_.erase(longest);
}

}  // namespace mailgate::credentials
