// SPDX-License-Identifier: Apache-2.0
/// \file  Resolves the names that access rules are for, again and again, in the background.
///
/// A name is asked for when its answer's time to live is over, or at once where there is none. What it stands for is in the
/// database of the rules, with the rule: whoever reads rules has the last answer, also after a crash and without a name
/// server. An answer that fails, or that is objected to, changes nothing but what is known of the failure.
#pragma once

#include "gateway/names/spf.h"
#include "store/rules/service.h"
#include "store/rules/store.h"

#include <chrono>
#include <condition_variable>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <stop_token>
#include <string>
#include <thread>
#include <vector>

namespace mailgate::names {

/// Answers that come with a shorter or longer time to live are asked for again after these.
inline constexpr std::chrono::seconds kLeastTtl{5}, kMostTtl{86'400};
/// A name that fails is asked for again after the former, then after ever longer, up to the latter.
inline constexpr std::chrono::seconds kFirstRetry{5}, kLastRetry{300};

/// What an answer makes of the state that there was, at that time.
store::NameState stateAfter(const store::NameState& before, const NameAnswer& answer, UnixSeconds now);

/// Why a rule may not have the answer; empty: it may.
using Objection = std::function<std::string(const store::AccessRule& rule, const NameAnswer& answer)>;
/// That the answer holds everybody, or that it would have the site's own balancers or servers denied.
std::string objectionTo(const store::AccessRule& rule, const NameAnswer& answer, const rules::Site& site);
/// The site's own balancers and servers among them, which is hardly ever meant: a sentence each.
std::vector<std::string> warningsOf(const std::vector<Network>& networks, const rules::Site& site);

struct Resolved {
    store::NameState state;
    std::vector<std::string> ignored;  ///< as in NameAnswer
};
/// Asks for the rule's name, and keeps what comes of it. Blocks.
Resolved resolveRule(store::RuleStore& store, const store::AccessRule& rule, const store::NameState& before,
                     const Objection& objection, const DnsQuery& query, UnixSeconds now);

class NameKeeper {
  public:
    /// Called from the keeper's thread.
    struct Events {
        /// The rule has another answer.
        std::function<void(const store::AccessRule& rule, const store::NameState& before,
                           const store::NameState& now)>
            changed;
        /// There is no answer that could be used; called once, until there is one again or the reason is another.
        std::function<void(const store::AccessRule& rule, const store::NameState& now)> failed;
    };
    using Opener = std::function<std::unique_ptr<store::RuleStore>()>;

    NameKeeper(Opener open, Objection objection, Events events, DnsQuery query = queryDns);
    ~NameKeeper();
    NameKeeper(const NameKeeper&) = delete;
    NameKeeper& operator=(const NameKeeper&) = delete;

    void start();
    /// Returns at once, also in mid-look-up, which goes on by itself: its result is not used.
    void stop();

  private:
    struct Lookups;

    void run(const std::stop_token& stop);
    void turn(const std::stop_token& stop);
    void resolve(const std::vector<store::NamedRule>& due, const std::stop_token& stop);

    const Opener open_;
    const Objection objection_;
    const Events events_;
    const DnsQuery query_;
    // Of the thread, once it runs.
    std::unique_ptr<store::RuleStore> store_;
    std::jthread thread_;
};

}  // namespace mailgate::names
