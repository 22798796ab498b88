// SPDX-License-Identifier: Apache-2.0
/// \file  Who may read all rules now, of which as many as there may be that takes seconds. Internal to gateway/api/.
#pragma once

#include <chrono>
#include <condition_variable>
#include <cstddef>
#include <list>
#include <memory>
#include <mutex>
#include <string>

namespace mailgate::api {

/// Of an account one request reads at a time, and few in all, of which one is kept for who may change rules. Others wait for a moment, in
/// the order in which they come, and few of them: whoever waits has a thread that others need. Any thread.
class ReadingTurns {
  public:
    static constexpr std::size_t kMost = 3, kMostOfViewers = 2;
    static constexpr std::size_t kMostWaiting = 1;  ///< of viewers, and of others

    explicit ReadingTurns(std::chrono::milliseconds patience) : patience_(patience) {}

    struct Reader {
        std::string account;
        bool may_change;
    };
    /// Held by whose turn it is. Null: it did not come. Who has a turn already does not wait where another account would.
    using Turn = std::shared_ptr<void>;
    Turn enter(const Reader& reader);

  private:
    struct One {
        Reader reader;
        bool is_sent_away = false;
    };
    using Line = std::list<One>;

    bool reads(const std::string& account) const;
    bool fits(const One& one) const;
    bool isInTheWay(const One& waiting) const;
    bool isNext(Line::const_iterator one) const;
    bool mayWait(const Reader& reader);

    const std::chrono::milliseconds patience_;
    std::mutex mutex_;  ///< of what follows
    std::condition_variable changed_;
    Line inside_, waiting_;  ///< who has come first in front
};

}  // namespace mailgate::api
