// SPDX-License-Identifier: Apache-2.0
#include "gateway/names/keeper.h"

#include "store/backends/rules.h"
#include "tests/support/networks.h"
#include "tests/support/temporary_folder.h"

#include <gmock/gmock.h>

#include <atomic>
#include <ctime>
#include <future>

namespace mailgate::names {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

constexpr UnixSeconds kNow = 1'800'000'000;

NameAnswer answerOf(std::initializer_list<const char*> networks, std::uint32_t ttl = 60) {
    NameAnswer answer;
    for (const char* each : networks)
        answer.networks.push_back(network(each));
    answer.ttl = ttl;
    return answer;
}

NameAnswer failure(std::string why) {
    NameAnswer answer;
    answer.error = std::move(why);
    return answer;
}

TEST(StateAfter, AnAnswerIsGoodForItsTimeToLive) {
    auto state = stateAfter({}, answerOf({"192.0.2.1"}, 300), kNow);
    EXPECT_THAT(state.networks, ElementsAre(network("192.0.2.1")));
    EXPECT_EQ(state.due, kNow + 300);
    EXPECT_EQ(state.answered_at, kNow);
    EXPECT_EQ(stateAfter(state, answerOf({"192.0.2.2"}, 0), kNow).due, kNow + kLeastTtl.count());
    EXPECT_EQ(stateAfter(state, answerOf({"192.0.2.2"}, 4'000'000'000), kNow).due, kNow + kMostTtl.count());
}

TEST(StateAfter, WhatIsNotSaidOfOneFamilyLeavesItAsItWas) {
    const auto both = stateAfter({}, answerOf({"192.0.2.1", "2001:db8::1"}), kNow);
    NameAnswer half = answerOf({"192.0.2.2"});
    half.missing = DnsType::Aaaa;
    auto state = stateAfter(both, half, kNow);
    EXPECT_THAT(state.networks, ElementsAre(network("192.0.2.2"), network("2001:db8::1")));
    EXPECT_EQ(state.error, "");
    half = answerOf({"2001:db8::2"});
    half.missing = DnsType::A;
    EXPECT_THAT(stateAfter(both, half, kNow).networks,
                ElementsAre(network("192.0.2.1"), network("2001:db8::2")));
}

TEST(StateAfter, AFailureKeepsTheLastAnswerAndIsTriedAgainEverLater) {
    const auto good = stateAfter({}, answerOf({"192.0.2.1"}, 86'400), kNow);
    auto state = stateAfter(good, failure("mute"), kNow + 100);
    EXPECT_EQ(state.networks, good.networks);
    EXPECT_EQ(state.answered_at, kNow);
    EXPECT_EQ(state.error, "mute");
    EXPECT_EQ(state.due, kNow + 100 + kFirstRetry.count());
    UnixSeconds last = kFirstRetry.count();
    for (int turn = 0; turn < 10; ++turn) {
        const UnixSeconds now = state.due;
        state = stateAfter(state, failure("mute"), now);
        EXPECT_EQ(state.due - now, std::min<UnixSeconds>(2 * last, kLastRetry.count()));
        last = state.due - now;
    }
    EXPECT_EQ(last, kLastRetry.count());
    EXPECT_EQ(stateAfter(state, answerOf({"192.0.2.2"}), kNow).error, "");
}

TEST(Objections, ToEverybodyAndToDenyingTheSitesOwn) {
    const rules::Site site{.listeners = {{.name = "mx", .balancers = {network("10.0.1.0/24")}}},
                           .servers = {{"postfix/mx1", "10.0.2.1:25", {address("10.0.2.1")}}}};
    store::AccessRule rule;
    rule.name = "host:home.example.org";
    rule.verdict = store::Verdict::Allow;
    EXPECT_EQ(objectionTo(rule, answerOf({"192.0.2.1", "10.0.1.5"}), site), "");
    EXPECT_THAT(objectionTo(rule, answerOf({"0.0.0.0/0"}), site),
                HasSubstr("it is 0.0.0.0/0, half of the Internet or more"));
    const auto together = [](const char* family) {
        return std::string("its networks are together half of ") + family + " or more";
    };
    EXPECT_EQ(objectionTo(rule, answerOf({"0.0.0.0/2", "64.0.0.0/2"}), site), together("IPv4"));
    EXPECT_EQ(objectionTo(rule, answerOf({"2000::/5", "2800::/5"}), site), together("IPv6"));
    EXPECT_EQ(objectionTo(rule, answerOf({"0.0.0.0/2", "0.0.0.0/3", "0.0.0.0/2", "2a00::/12"}), site), "")
        << "what is in another one counts once";
    rule.verdict = store::Verdict::Deny;
    EXPECT_THAT(
        objectionTo(rule, answerOf({"192.0.2.1", "10.0.1.5"}), site),
        HasSubstr("it is 10.0.1.5, which would deny the site's own balancers 10.0.1.0/24 of listener mx"));
    EXPECT_THAT(objectionTo(rule, answerOf({"10.0.2.1"}), site), HasSubstr("own server postfix/mx1"));
    EXPECT_THAT(warningsOf({network("192.0.2.1"), network("10.0.1.5")}, site),
                ElementsAre("10.0.1.5 is the site's own balancers 10.0.1.0/24 of listener mx"));
}

class NameKeeperTest : public testing::Test {
  protected:
    std::int64_t add(const std::string& name) {
        store::AccessRule rule;
        rule.name = name;
        rule.verdict = store::Verdict::Allow;
        return store_->put(std::span(&rule, 1), "alice")[0].id;
    }
    store::NameState stateOf(std::int64_t id) {
        for (const auto& named : store_->namedRules())
            if (named.rule.id == id) return named.state;
        return {};
    }

    TemporaryFolder folder_;
    const std::string url_ = "sqlite:" + folder_.file("rules.db");
    std::unique_ptr<store::RuleStore> store_ = store::openRules(url_, {});
    const NameKeeper::Opener open_ = [this] {
        return store::openRules(url_, {.use = store::RuleStore::Use::Assist});
    };
};

TEST_F(NameKeeperTest, KeepsWhatANameStandsFor) {
    const auto id = add("host:home.example.org");
    std::promise<store::NameState> changed;
    NameKeeper keeper(open_, {},
                      {.changed =
                           [&](const auto& rule, const auto&, const auto& now) {
                               EXPECT_EQ(rule.id, id);
                               changed.set_value(now);
                           },
                       .failed = {}},
                      [](const std::string& name, DnsType type) {
                          DnsAnswer answer;
                          if (name != "home.example.org" || type != DnsType::A) return answer;
                          answer.kind = DnsAnswer::Kind::Found;
                          answer.addresses.push_back({address("203.0.113.9")});
                          answer.ttl = 3'600;
                          return answer;
                      });
    keeper.start();
    EXPECT_THAT(changed.get_future().get().networks, ElementsAre(network("203.0.113.9")));
    keeper.stop();
    EXPECT_THAT(stateOf(id).networks, ElementsAre(network("203.0.113.9")));
    const auto table = store_->load(std::vector<std::string>{"mx"});
    const auto match = table->lookup(address("203.0.113.9"), 0, std::time(nullptr));
    ASSERT_TRUE(match);
    EXPECT_EQ(table->ruleId(match->rule), id);
}

TEST_F(NameKeeperTest, TellsOnceOfWhatFailsAndKeepsTheLastAnswer) {
    const auto id = add("host:home.example.org");
    store_->keepName(id, stateAfter({}, answerOf({"203.0.113.9"}, 0), 1'000));
    std::promise<store::NameState> failed;
    NameKeeper keeper(open_, {},
                      {.changed = {}, .failed = [&](const auto&, const auto& now) { failed.set_value(now); }},
                      [](const std::string&, DnsType) {
                          DnsAnswer answer;
                          answer.kind = DnsAnswer::Kind::Failed;
                          answer.error = "mute";
                          return answer;
                      });
    keeper.start();
    EXPECT_EQ(failed.get_future().get().error, "mute");
    keeper.stop();
    EXPECT_THAT(stateOf(id).networks, ElementsAre(network("203.0.113.9")));
    EXPECT_EQ(stateOf(id).error, "mute");
}

TEST_F(NameKeeperTest, StopsInMidLookUp) {
    add("host:home.example.org");
    std::promise<void> asked;
    const auto released = std::make_shared<std::promise<void>>();
    std::shared_future<void> release = released->get_future().share();
    NameKeeper keeper(
        open_, {}, {},
        [&asked, release, first = std::make_shared<std::atomic<bool>>(true)](const std::string&, DnsType) {
            if (first->exchange(false)) asked.set_value();
            release.wait();
            return DnsAnswer();
        });
    keeper.start();
    asked.get_future().wait();
    keeper.stop();
    released->set_value();
}

}  // namespace
}  // namespace mailgate::names
