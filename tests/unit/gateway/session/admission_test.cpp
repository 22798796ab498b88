// SPDX-License-Identifier: Apache-2.0
#include "gateway/session/admission.h"

#include "gateway/session/dialogue_phase.h"
#include "tests/support/scripted_phase.h"

#include <gmock/gmock.h>

namespace mailgate::test {
namespace {

class AdmissionTest : public PhaseTest {
  protected:
    static next::Admit arrived() {
        return {{*IpAddress::parse("198.51.100.7"), 55555}, {*IpAddress::parse("203.0.113.10"), 25}};
    }
    Next admitted(Config config) {
        arrive(std::move(config));
        return admit(*context_, arrived());
    }
    /// As the metrics have them.
    void expectVerdicts(std::uint64_t allow, std::uint64_t deny) {
        EXPECT_EQ(value(host_->counters().admitted), allow);
        EXPECT_EQ(value(context_->record.listenerCounters().admitted), allow);
        EXPECT_EQ(value(context_->record.listenerCounters().denied), deny);
    }
    void expectRefusal(const Next& step, Refusal refusal) {
        EXPECT_EQ(expectStep<next::Refuse>(step).refusal, refusal);
        EXPECT_FALSE(context_->admitted);
        if (refusal == Refusal::Rule) expectVerdicts(0, 1);
    }
};

TEST_F(AdmissionTest, LetsAnyClientOfAnOpenListenerIn) {
    expectStep<next::Connect>(admitted(makeConfig()));
    EXPECT_TRUE(context_->admitted);
    EXPECT_EQ(context_->record.client.toString(), "198.51.100.7:55555");
    expectVerdicts(1, 0);
}

TEST_F(AdmissionTest, LetsNobodyInWhomNoRuleOfAClosedListenerNames) {
    Config config = makeConfig();
    config.listeners[0].access = AccessDefault::Allowlist;
    expectRefusal(admitted(config), Refusal::Rule);
    EXPECT_FALSE(context_->record.admission.rule_prefix);
}

TEST_F(AdmissionTest, ARuleDecidesAgainstTheListenersDefault) {
    for (const store::Verdict verdict : {store::Verdict::Allow, store::Verdict::Deny}) {
        const bool allowed = verdict == store::Verdict::Allow;
        Config config = makeConfig();
        config.listeners[0].access = allowed ? AccessDefault::Allowlist : AccessDefault::Open;
        arrive(config);
        store::AccessTable::Builder rules(std::vector<std::string>{"front"});
        rules.add(1, networkAround(IpAddress::parse("198.51.100.0")->bytes, 120), verdict, "", {}, {});
        host_->table = rules.build(1);
        const Next step = admit(*context_, arrived());
        EXPECT_EQ(std::holds_alternative<next::Connect>(step), allowed);
        EXPECT_TRUE(context_->record.admission.rule_prefix);
    }
}

TEST_F(AdmissionTest, TheRuleThatRefusesIsRecordedThoughTheRulesChangeMeanwhile) {
    arrive(makeConfig());
    store::AccessTable::Builder rules(std::vector<std::string>{"front"});
    rules.add(7, networkAround(IpAddress::parse("198.51.100.0")->bytes, 120), store::Verdict::Deny, "", {},
              {});
    host_->table = rules.build(1);
    const Next step = admit(*context_, arrived());
    host_->table = store::AccessTable::Builder(std::vector<std::string>{"front"}).build(2);
    refuse(*context_, expectStep<next::Refuse>(step));
    ASSERT_EQ(host_->records.kept.size(), 1U);
    EXPECT_EQ(host_->records.kept[0].rule_id, 7);
}

TEST_F(AdmissionTest, NamesTheLimitThatAClientHasReached) {
    Config config = makeConfig();
    config.listeners[0].client_sessions = 1;
    expectStep<next::Connect>(admitted(config));
    SessionContext second(*host_, events_, host_->arrival(false), ScriptedHost::local());
    const Next step = admit(second, arrived());
    EXPECT_EQ(expectStep<next::Refuse>(step).refusal, Refusal::TooMany);
    EXPECT_EQ(expectStep<next::Refuse>(step).limit.name(), "client_sessions");
    EXPECT_EQ(expectStep<next::Refuse>(step).limit.value, 1U);
    expectVerdicts(2, 0);  // the rules let in whom a limit refuses
    context_->ticket = {};
    expectStep<next::Connect>(admit(second, arrived()));
}

Config monitoring() {
    Config config = makeConfig();
    config.listeners[0].access = AccessDefault::Allowlist;
    config.listeners[0].mode = ListenerMode::Monitor;
    return config;
}

std::uint64_t wouldRefuse(const SessionContext& context, Refusal refusal) {
    return value(context.record.listenerCounters().would_refuse[static_cast<std::size_t>(refusal)]);
}

TEST_F(AdmissionTest, InMonitorModeARuleIsRecordedAndRefusesNobody) {
    expectStep<next::Connect>(admitted(monitoring()));
    EXPECT_TRUE(context_->admitted);
    EXPECT_FALSE(context_->record.admission.allowed) << "what the rules say is not changed";
    EXPECT_EQ(context_->record.would_refuse.size(), 1U);
    EXPECT_EQ(wouldRefuse(*context_, Refusal::Rule), 1U);
    EXPECT_THAT(context_->refusalSetAside(), ::testing::StartsWith("554 5.7.1"));
    EXPECT_EQ(value(host_->counters().refused), 0U);
    expectVerdicts(0, 1);  // as the journal has it
}

TEST_F(AdmissionTest, InMonitorModeALimitIsRecordedAndRefusesNobody) {
    Config config = monitoring();
    config.listeners[0].access = AccessDefault::Open;
    config.listeners[0].client_sessions = 1;
    expectStep<next::Connect>(admitted(config));
    EXPECT_TRUE(context_->record.would_refuse.empty());
    EXPECT_EQ(context_->refusalSetAside(), "");
    SessionContext second(*host_, events_, host_->arrival(false), ScriptedHost::local());
    expectStep<next::Connect>(admit(second, arrived()));
    EXPECT_EQ(wouldRefuse(second, Refusal::TooMany), 1U);
    EXPECT_EQ(second.record.would_limit.name(), "client_sessions");
    EXPECT_EQ(second.record.would_limit.value, 1U);
    context_->ticket = {};
    SessionContext third(*host_, events_, host_->arrival(false), ScriptedHost::local());
    expectStep<next::Connect>(admit(third, arrived()));
    EXPECT_TRUE(third.record.would_refuse.empty()) << "as when enforced, the second one has taken no place";
}

TEST_F(AdmissionTest, InMonitorModeTheGatewaysOwnLimitsHold) {
    arrive(monitoring());
    host_->is_full = true;
    EXPECT_EQ(expectStep<next::Refuse>(admit(*context_, arrived())).refusal, Refusal::GatewayFull);
    host_->is_full = false;
    host_->is_stopping = true;
    EXPECT_EQ(expectStep<next::Refuse>(admit(*context_, arrived())).refusal, Refusal::ShuttingDown);
}

TEST_F(AdmissionTest, OnlyPolicyIsSetAsideAndOnlyInMonitorMode) {
    for (const ListenerMode mode : {ListenerMode::Enforce, ListenerMode::Soft, ListenerMode::Monitor}) {
        Config config = makeConfig();
        config.listeners[0].mode = mode;
        arrive(config);
        for (std::size_t reason = 0; reason < kRefusals; ++reason) {
            const auto refusal = static_cast<Refusal>(reason);
            const bool goes_on = mode == ListenerMode::Monitor && isPolicy(refusal);
            EXPECT_EQ(context_->enforces(refusal), !goes_on);
            EXPECT_EQ(context_->mustRefuse(refusal), !goes_on);
            EXPECT_EQ(context_->mustRefuse(refusal), !goes_on);
            EXPECT_EQ(wouldRefuse(*context_, refusal), goes_on ? 1U : 0U) << "a session counts once";
            EXPECT_EQ(context_->record.would_refuse.has(refusal), goes_on);
        }
    }
}

TEST_F(AdmissionTest, LetsNobodyInWhileTheGatewayStopsOrIsFull) {
    arrive(makeConfig());
    host_->is_stopping = true;
    expectRefusal(admit(*context_, arrived()), Refusal::ShuttingDown);
    host_->is_stopping = false;
    host_->is_full = true;
    expectRefusal(admit(*context_, arrived()), Refusal::GatewayFull);
}

}  // namespace
}  // namespace mailgate::test
