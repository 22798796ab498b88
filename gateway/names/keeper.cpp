// SPDX-License-Identifier: Apache-2.0
#include "gateway/names/keeper.h"

#include "gateway/base/signals_blocked.h"
#include "store/rules/reach.h"

#include <fmt/format.h>

#include <algorithm>
#include <ctime>
#include <new>
#include <optional>
#include <system_error>
#include <utility>
#include <variant>

namespace mailgate::names {

namespace {

using store::AccessRule;
using store::NamedRule;
using store::NameState;

constexpr std::size_t kMostAtOnce = 8;  ///< side by side: a mute name server keeps no other name waiting
constexpr std::chrono::seconds kTurnPatience{30};  ///< for a turn's answers
constexpr std::chrono::seconds kPause{1};          ///< between looks for what is due

UnixSeconds secondsBetween(UnixSeconds least, UnixSeconds wanted, UnixSeconds most) {
    return std::clamp(wanted, least, most);
}

/// Twice as long as the last time.
UnixSeconds retryAfter(const NameState& before) {
    const UnixSeconds waited = before.error.empty() ? 0 : before.due - before.asked_at;
    return secondsBetween(kFirstRetry.count(), 2 * waited, kLastRetry.count());
}

}  // namespace

NameState stateAfter(const NameState& before, const NameAnswer& answer, UnixSeconds now) {
    NameState state = before;
    state.asked_at = now;
    state.error = answer.error;
    if (!answer.error.empty()) {
        state.due = now + retryAfter(before);
        return state;
    }
    state.networks = answer.networks;
    if (answer.missing) {
        // What is not said about one family leaves it as it was.
        for (const Network& network : before.networks)
            if (network.isV4() == (*answer.missing == DnsType::A)) state.networks.push_back(network);
        std::sort(state.networks.begin(), state.networks.end());
    }
    state.answered_at = now;
    state.due = now + secondsBetween(kLeastTtl.count(), answer.ttl, kMostTtl.count());
    return state;
}

namespace {

/// "balancers 10.0.1.0/24 of listener mx", "server postfix/mx1"
std::string ownName(const rules::Hazard& hazard) {
    if (const auto* balancers = std::get_if<rules::OwnBalancers>(&hazard))
        return fmt::format("balancers {} of listener {}", balancers->network.toString(), balancers->listener);
    const auto* const server = std::get_if<rules::OwnServer>(&hazard);
    return fmt::format("server {}", server == nullptr ? "" : server->name);
}

NameState judged(const NamedRule& named, NameAnswer answer, const Objection& objection, UnixSeconds now) {
    if (answer.error.empty() && objection) answer.error = objection(named.rule, answer);
    NameState state = stateAfter(named.state, answer, now);
    state.name = named.rule.name;
    return state;
}

}  // namespace

std::string objectionTo(const AccessRule& rule, const NameAnswer& answer, const rules::Site& site) {
    AccessRule one = rule;
    one.name.clear();
    for (const Network& network : answer.networks) {
        one.network = network;
        for (const rules::Hazard& hazard : rules::hazardsOf(one, site)) {
            if (std::holds_alternative<rules::WholeInternet>(hazard))
                return fmt::format("it is {}, half of the Internet or more", network.toString());
            return fmt::format("it is {}, which would deny the site's own {}", network.toString(),
                               ownName(hazard));
        }
    }
    for (const bool v4 : {true, false})
        if (rules::shareOf(answer.networks, v4) >= rules::kHalfOfAll)
            return fmt::format("its networks are together half of {} or more", v4 ? "IPv4" : "IPv6");
    return {};
}

std::vector<std::string> warningsOf(const std::vector<Network>& networks, const rules::Site& site) {
    std::vector<std::string> warnings;
    AccessRule one;
    one.verdict = store::Verdict::Deny;  // about which there is more to say
    for (const Network& network : networks) {
        one.network = network;
        for (const rules::Hazard& hazard : rules::hazardsOf(one, site))
            if (!std::holds_alternative<rules::WholeInternet>(hazard))
                warnings.push_back(
                    fmt::format("{} is the site's own {}", network.toString(), ownName(hazard)));
    }
    return warnings;
}

Resolved resolveRule(store::RuleStore& store, const AccessRule& rule, const NameState& before,
                     const Objection& objection, const DnsQuery& query, UnixSeconds now) {
    NameAnswer answer = resolveName(rule.name, query);
    std::vector<std::string> ignored = answer.ignored;
    NameState state = judged({rule, before}, std::move(answer), objection, now);
    store.keepName(rule.id, state);
    return {std::move(state), std::move(ignored)};
}

/// Shared with the threads, which may outlive everybody else in a look-up.
struct NameKeeper::Lookups {
    Lookups(std::vector<std::string> asked, DnsQuery with)
        : names(std::move(asked)), query(std::move(with)), answers(names.size()), open(names.size()) {}

    void work() {
        std::unique_lock lock(mutex);
        while (!over && next < names.size()) {
            const std::size_t at = next++;
            lock.unlock();
            NameAnswer answer = resolveName(names[at], query);
            lock.lock();
            answers[at] = std::move(answer);
            if (--open == 0) answered.notify_all();
        }
    }

    const std::vector<std::string> names;
    const DnsQuery query;
    std::mutex mutex;
    std::condition_variable_any answered;
    std::vector<std::optional<NameAnswer>> answers;
    std::size_t next = 0, open;
    bool over = false;  ///< nobody waits any more
};

NameKeeper::NameKeeper(Opener open, Objection objection, Events events, DnsQuery query)
    : open_(std::move(open)),
      objection_(std::move(objection)),
      events_(std::move(events)),
      query_(std::move(query)) {}

NameKeeper::~NameKeeper() {
    stop();
}

void NameKeeper::start() {
    const SignalsBlocked blocked;
    thread_ = std::jthread([this](const std::stop_token& stop) { run(stop); });
}

void NameKeeper::stop() {
    thread_ = {};
}

void NameKeeper::run(const std::stop_token& stop) {
    std::mutex mutex;
    std::condition_variable_any wake;
    while (!stop.stop_requested()) {
        try {
            turn(stop);
        } catch (const store::StoreError&) {
            store_.reset();  // whoever serves the rules tells of it
        } catch (const std::bad_alloc&) {
            // The next turn may find more memory.
        } catch (const std::system_error&) {
            // No thread: likewise.
        }
        std::unique_lock lock(mutex);
        wake.wait_for(lock, stop, kPause, [] { return false; });
    }
}

void NameKeeper::turn(const std::stop_token& stop) {
    if (!store_) store_ = open_();
    const UnixSeconds now = std::time(nullptr);
    std::vector<NamedRule> due = store_->namedRules();
    // A clock that was set back must not put a name off for long.
    std::erase_if(due, [&](const NamedRule& one) {
        return !store::isLive(one.rule, now) || (one.state.due > now && one.state.asked_at <= now);
    });
    if (!due.empty()) resolve(due, stop);
}

void NameKeeper::resolve(const std::vector<NamedRule>& due, const std::stop_token& stop) {
    std::vector<std::string> names;
    for (const NamedRule& one : due)
        if (std::find(names.begin(), names.end(), one.rule.name) == names.end())
            names.push_back(one.rule.name);
    const auto lookups = std::make_shared<Lookups>(names, query_);
    for (std::size_t threads = 0; threads < std::min(names.size(), kMostAtOnce); ++threads)
        std::thread([lookups] { lookups->work(); }).detach();
    std::vector<std::optional<NameAnswer>> answers;
    {
        std::unique_lock lock(lookups->mutex);
        lookups->answered.wait_for(lock, stop, kTurnPatience, [&] { return lookups->open == 0; });
        lookups->over = true;
        answers = lookups->answers;
    }
    if (stop.stop_requested()) return;
    const UnixSeconds now = std::time(nullptr);
    for (const NamedRule& one : due) {
        const auto at =
            static_cast<std::size_t>(std::find(names.begin(), names.end(), one.rule.name) - names.begin());
        NameAnswer answer;
        answer.error = "no answer in time";
        if (answers[at]) answer = *answers[at];
        const NameState state = judged(one, std::move(answer), objection_, now);
        if (!store_->keepName(one.rule.id, state)) continue;
        if (state.networks != one.state.networks && events_.changed)
            events_.changed(one.rule, one.state, state);
        if (!state.error.empty() && state.error != one.state.error && events_.failed)
            events_.failed(one.rule, state);
    }
}

}  // namespace mailgate::names
