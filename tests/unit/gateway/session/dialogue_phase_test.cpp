// SPDX-License-Identifier: Apache-2.0
#include "gateway/session/dialogue_phase.h"

#include "tests/support/scripted_phase.h"

#include <gmock/gmock.h>

namespace mailgate::test {
namespace {

using ::testing::HasSubstr;
using ::testing::StartsWith;

class DialoguePhaseTest : public PhaseTest {
  protected:
    Next probe(Protocol protocol = Protocol::Smtp) {
        arrive(makeConfig(protocol), true);
        phase_.emplace(*context_, answerProbe(*context_), CloseReason::Check);
        return phase_->begin();
    }
    Next refused(Protocol protocol = Protocol::Smtp) {
        arriveAdmitted(makeConfig(protocol));
        return refuseArrived();
    }
    Next refuseArrived() {
        phase_.emplace(*context_, refuse(*context_, {Refusal::Rule}), CloseReason::Refused);
        return phase_->begin();
    }

    std::optional<DialoguePhase> phase_;
};

TEST_F(DialoguePhaseTest, AnswersAProbeUntilItSaysQuit) {
    expectStep<next::Stay>(probe());
    EXPECT_THAT(client_->heard(), StartsWith("220 gw.example"));
    expectStep<next::Stay>(clientSends(*phase_, "EHLO balancer\r\n"));
    EXPECT_THAT(client_->heard(), StartsWith("250"));
    EXPECT_EQ(expectStep<next::Linger>(clientSends(*phase_, "QUIT\r\n")).reason, CloseReason::Check);
    EXPECT_THAT(client_->heard(), StartsWith("221"));
    EXPECT_EQ(value(host_->counters().checks), 1U);
}

TEST_F(DialoguePhaseTest, SaysToAProbeThatTheGatewayStops) {
    arrive(makeConfig(), true);
    host_->is_stopping = true;
    phase_.emplace(*context_, answerProbe(*context_), CloseReason::Check);
    (void)phase_->begin();
    EXPECT_THAT(client_->heard(), StartsWith("421"));
    EXPECT_THAT(host_->takeLog(), HasSubstr("\"up\":false"));
}

TEST_F(DialoguePhaseTest, WhatCameBehindTheHeaderIsPartOfIt) {
    arrive(makeConfig(), true);
    ASSERT_TRUE(context_->relay.hold(Side::Client, "QUIT\r\n"));
    phase_.emplace(*context_, answerProbe(*context_), CloseReason::Check);
    EXPECT_EQ(expectStep<next::Linger>(phase_->begin()).reason, CloseReason::Check);
    EXPECT_THAT(client_->heard(), HasSubstr("221"));
}

TEST_F(DialoguePhaseTest, ARefusedClientMayStayUntilItSaysQuit) {
    expectStep<next::Stay>(refused());
    EXPECT_THAT(client_->heard(), StartsWith("554 5.7.1"));
    EXPECT_FALSE(context_->admitted) << "no session.end follows";
    EXPECT_TRUE(context_->kept_refused);
    expectStep<next::Stay>(clientSends(*phase_, "MAIL FROM:<a@b>\r\n"));
    EXPECT_THAT(client_->heard(), StartsWith("503"));
    EXPECT_EQ(expectStep<next::Linger>(clientSends(*phase_, "QUIT\r\n")).reason, CloseReason::Refused);
    ASSERT_EQ(host_->records.kept.size(), 1U);
    EXPECT_EQ(host_->records.kept[0].end, "access");
    EXPECT_THAT(host_->records.kept[0].reply, StartsWith("554 5.7.1"));
}

TEST_F(DialoguePhaseTest, InSoftModeNothingThatARefusedClientHearsIsPermanent) {
    Config config = makeConfig();
    config.listeners[0].mode = ListenerMode::Soft;
    arriveAdmitted(config);
    expectStep<next::Stay>(refuseArrived());
    EXPECT_THAT(client_->heard(), StartsWith("450 4.7.1"));
    expectStep<next::Stay>(clientSends(*phase_, "MAIL FROM:<a@b>\r\n"));
    EXPECT_THAT(client_->heard(), StartsWith("450 4.7.1"));
    expectStep<next::Linger>(clientSends(*phase_, "QUIT\r\n"));
    ASSERT_EQ(host_->records.kept.size(), 1U);
    EXPECT_THAT(host_->records.kept[0].reply, StartsWith("450 4.7.1"));
}

TEST_F(DialoguePhaseTest, ARuleMayRefuseForNow) {
    arriveAdmitted(makeConfig());
    context_->record.admission.temporary = true;
    expectStep<next::Stay>(refuseArrived());
    EXPECT_THAT(client_->heard(), StartsWith("450 4.7.1"));
    expectStep<next::Stay>(clientSends(*phase_, "MAIL FROM:<a@b>\r\n"));
    EXPECT_THAT(client_->heard(), StartsWith("450 4.7.1"));
    EXPECT_THAT(context_->refusalFor(Refusal::BareLf), StartsWith("521"))
        << "it is not the rule that refuses";
}

TEST_F(DialoguePhaseTest, TheListenersFooterNamesTheClientAndTheSession) {
    Config config = makeConfig();
    config.listeners[0].refusal_footer = "ask postmaster@example.net about $client, $id";
    arriveAdmitted(config);
    expectStep<next::Stay>(refuseArrived());
    const std::string id(context_->record.id.text());
    EXPECT_THAT(client_->heard(),
                HasSubstr("; ask postmaster@example.net about 198.51.100.7, " + id + "\r\n"));
    EXPECT_THAT(host_->records.kept.at(0).reply,
                HasSubstr("ask postmaster@example.net about 198.51.100.7, " + id));
}

TEST_F(DialoguePhaseTest, AFooterMayShowTheNoteOfTheRuleThatDenies) {
    Config config = makeConfig();
    config.listeners[0].refusal_footer = "reason: $rule_note.";
    const auto refusedBy = [&](std::int64_t rule) {
        arriveAdmitted(config);
        RuleNotes notes;
        notes.add(7, "ticket 4711\r\n250 ok");
        host_->showRuleNotes(std::move(notes));
        context_->record.admission.rule_prefix = 128;
        context_->record.rule_id = rule;
        expectStep<next::Stay>(refuseArrived());
        return client_->heard();
    };
    EXPECT_THAT(refusedBy(7), HasSubstr("; reason: ticket 4711??250 ok.\r\n"));
    EXPECT_THAT(refusedBy(8), HasSubstr("; reason: .\r\n")) << "that rule has no note";
    context_->record.admission.rule_prefix.reset();
    EXPECT_THAT(context_->refusalFor(Refusal::Rule), HasSubstr("; reason: .\r\n")) << "no rule refuses";
}

TEST_F(DialoguePhaseTest, IsToldAndForgottenWhereTooManyStay) {
    arriveAdmitted(makeConfig());
    host_->refused_places = 0;
    client_->sends("EHLO a\r\n");
    context_->client()->note(kReadable);
    EXPECT_EQ(refuse(*context_, {Refusal::Rule}), nullptr);
    EXPECT_THAT(client_->heard(), StartsWith("554 5.7.1"));
    EXPECT_EQ(client_->to_read, "") << "closing over it would reset the connection";
}

TEST_F(DialoguePhaseTest, WaitsForAClientThatTakesItsRefusalInPieces) {
    arriveAdmitted(makeConfig(Protocol::Imap));
    client_->room = 5;
    expectStep<next::Stay>(refuseArrived());
    EXPECT_EQ(client_->received, "* BYE");
    clientTakesAll();
    EXPECT_EQ(expectStep<next::Linger>(clientEvent(*phase_, kWritable)).reason, CloseReason::Refused);
    EXPECT_THAT(client_->received, HasSubstr("\r\n"));
}

TEST_F(DialoguePhaseTest, BoundsTheWait) {
    expectStep<next::Stay>(refused());
    host_->advance(59'000);
    EXPECT_EQ(events_.deadlines, 0);
    host_->advance(1'100);
    EXPECT_EQ(events_.deadlines, 1);
    EXPECT_EQ(expectStep<next::Linger>(phase_->onDeadline()).reason, CloseReason::Refused);
}

TEST_F(DialoguePhaseTest, EndsWhenTheGatewayStopsButNotForAServersSake) {
    expectStep<next::Stay>(refused());
    expectStep<next::Stay>(phase_->onDrain({CloseReason::Drained, host_->now(), host_->now()}));
    expectStep<next::Linger>(phase_->onDrain({CloseReason::Shutdown, host_->now(), host_->now()}));
}

TEST_F(DialoguePhaseTest, ClosesWhenTheClientIsGone) {
    expectStep<next::Stay>(probe());
    EXPECT_EQ(expectStep<next::Close>(clientCloses(*phase_)).reason, CloseReason::Check);
    expectStep<next::Stay>(refused());
    client_->broken = ECONNRESET;
    expectStep<next::Close>(clientEvent(*phase_, kReadable | kFailed));
    EXPECT_EQ(context_->record.end, CloseReason::Refused) << "the first reason stands";
}

}  // namespace
}  // namespace mailgate::test
