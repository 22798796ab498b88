// SPDX-License-Identifier: Apache-2.0
/// \file  Slows down who guesses: after some failures in a row nothing more is looked at for a while.
#pragma once

#include <chrono>
#include <cstddef>
#include <list>
#include <map>
#include <mutex>
#include <string>
#include <vector>

namespace mailgate::credentials {

/// Any thread. Bounded: of too many keys the one that has failed longest ago is forgotten.
class LoginLimiter {
  public:
    using Clock = std::chrono::steady_clock;
    static constexpr std::chrono::seconds kPause{60};
    static constexpr std::size_t kMaxKeys = 4'096;

    /// `allowed`: failures in a row, none of them kPause after the one before.
    explicit LoginLimiter(unsigned allowed) : allowed_(allowed) {}

    /// How long to wait before the next attempt; 0: it may be made now.
    std::chrono::seconds delay(const std::string& key, Clock::time_point now);
    /// Before an attempt: as delay(), and where that is 0 it has failed, until onSuccess() says otherwise; so attempts at the same
    /// time are no more than those one after the other. `name`: whose it is.
    std::chrono::seconds begin(const std::string& key, const std::string& name, Clock::time_point now);
    /// Forgets what `name` has failed, and not what others of the same key have.
    void onSuccess(const std::string& key, const std::string& name);

  private:
    struct Entry {
        std::string key;
        std::vector<std::string>
            failures;  ///< whose, as digests: names may be long; no more than are allowed
        Clock::time_point last;

        bool isPaused(unsigned allowed) const noexcept { return failures.size() >= allowed; }
    };
    using Entries = std::list<Entry>;

    void forgetOld(Clock::time_point now);
    Entry& entryOf(const std::string& key);

    const unsigned allowed_;
    std::mutex mutex_;  ///< of all that follows
    Entries entries_;   ///< who has failed longest ago comes first
    std::map<std::string, Entries::iterator> by_key_;
};

}  // namespace mailgate::credentials
