// SPDX-License-Identifier: Apache-2.0
/// \file  Whose turn it is to do what takes long, of which there are few at a time. Internal to gateway/api/.
#pragma once

#include "gateway/api/request.h"

#include <chrono>
#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <list>
#include <memory>
#include <mutex>
#include <string>

namespace mailgate::api {

/// Turns at one kind of work, of an account one at a time. Others wait, in the order in which they come but an account's second request behind
/// the first ones, and few of them: whoever waits has a thread that others need. Any thread.
class Turns {
  public:
    struct Limits {
        std::size_t most, most_of_viewers;  ///< at once: what viewers leave is kept for who may change rules
        std::size_t most_waiting;           ///< of viewers, and of others

        /// How many there may be of those who have turns and of those who wait.
        constexpr std::size_t threads() const noexcept {
            return most + (most_of_viewers > 0 ? 2 : 1) * most_waiting;
        }
    };
    Turns(const Limits& limits, std::chrono::milliseconds patience) : limits_(limits), patience_(patience) {}

    /// Held by whose turn it is. Null: it did not come, or an account's second request had a place that another account wanted.
    using Turn = std::shared_ptr<void>;
    Turn enter(const Principal& who) { return enter(who, patience_); }
    /// Of who has left nothing waits.
    Turn enter(const Request& request) { return enter(request.who, patience_, request.has_left); }
    Turn enter(const Principal& who, std::chrono::milliseconds patience,
               const std::function<bool()>& has_left = {});

  private:
    enum class State : std::uint8_t { Waits, HasTurn, SentAway };
    struct One {
        std::string account;
        bool is_viewer;
        State state = State::Waits;
    };

    bool hasTurn(const std::string& account) const;
    bool fits(const One& one) const;
    /// Its account has a turn, or waits for one in front of it.
    bool isSecond(const One& one) const;
    void give();
    bool mayWait(const One& newcomer);
    void await(std::unique_lock<std::mutex>& lock, const One& one, std::chrono::milliseconds patience,
               const std::function<bool()>& has_left);

    const Limits limits_;
    const std::chrono::milliseconds patience_;
    std::mutex mutex_;  ///< of what follows
    std::condition_variable changed_;
    std::list<One> all_;  ///< who is next in front
};

/// The kinds of work, each with turns of its own, so that who does what takes seconds keeps nobody from what takes less. All together keep
/// fewer threads than there are for requests.
struct AllTurns {
    static constexpr Turns::Limits kBrief{.most = 2, .most_of_viewers = 1, .most_waiting = 3};
    static constexpr Turns::Limits kLengthy{.most = 3, .most_of_viewers = 2, .most_waiting = 2};
    static constexpr Turns::Limits kFleet{.most = 1, .most_of_viewers = 1, .most_waiting = 1};
    static constexpr Turns::Limits kOfRules{.most = 2, .most_of_viewers = 0, .most_waiting = 3};
    static constexpr std::size_t kThreads =
        kBrief.threads() + kLengthy.threads() + kFleet.threads() + 2 * kOfRules.threads();

    explicit AllTurns(std::chrono::milliseconds patience)
        : brief(kBrief, patience),
          lengthy(kLengthy, patience),
          fleet(kFleet, patience),
          judgements(kOfRules, patience),
          changes(kOfRules, patience) {}

    Turns brief;    ///< reads all rules, or a trail of changes, once
    Turns lengthy;  ///< compares rules with each other, or searches the journal
    Turns fleet;    ///< asks the fleet's database, to which the gateways bring their journals, for sessions
    Turns judgements;  ///< finds out what a change of rules would do, or whether it may be made
    Turns changes;     ///< makes one: waits for the rules, or for the fleet's database, which others may hold
};

}  // namespace mailgate::api
