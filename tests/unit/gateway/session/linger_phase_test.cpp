// SPDX-License-Identifier: Apache-2.0
#include "gateway/session/linger_phase.h"

#include "tests/support/scripted_phase.h"

namespace mailgate::test {
namespace {

class LingerPhaseTest : public PhaseTest {
  protected:
    Next begin() {
        context_->record.close(CloseReason::Killed);
        phase_.emplace(*context_);
        return phase_->begin();
    }

    std::optional<LingerPhase> phase_;
};

TEST_F(LingerPhaseTest, SaysTheEndLeavesTheServerAndDropsWhatStillComes) {
    arriveGreeted(makeConfig(), "");
    ASSERT_TRUE(context_->relay.hold(Side::Client, "NOOP\r\n"));
    expectStep<next::Stay>(begin());
    EXPECT_TRUE(client_->got_fin);
    EXPECT_TRUE(server_->closed);
    EXPECT_EQ(server_->received, "");
    expectStep<next::Stay>(clientSends(*phase_, "MAIL FROM:<a@b>\r\n"));
    EXPECT_EQ(client_->to_read, "");
    EXPECT_EQ(expectStep<next::Close>(clientCloses(*phase_)).reason, CloseReason::Killed);
}

TEST_F(LingerPhaseTest, BoundsTheWait) {
    arriveAdmitted(makeConfig());
    expectStep<next::Stay>(begin());
    host_->advance(1'900);
    EXPECT_EQ(events_.deadlines, 0);
    host_->advance(200);
    EXPECT_EQ(events_.deadlines, 1);
    EXPECT_EQ(expectStep<next::Close>(phase_->onDeadline()).reason, CloseReason::Killed);
}

TEST_F(LingerPhaseTest, TheEndComesBehindWhatTheClientHasNotTakenYet) {
    arriveAdmitted(makeConfig());
    client_->room = 4;
    EXPECT_EQ(context_->relay.reply(Side::Client, "421 bye\r\n"), Relay::Status::Open);
    expectStep<next::Stay>(begin());
    EXPECT_FALSE(client_->got_fin);
    expectStep<next::Stay>(clientCloses(*phase_));
    EXPECT_EQ(client_->received, "421 ") << "one that has closed may still read";
    clientTakesAll();
    EXPECT_EQ(expectStep<next::Close>(clientEvent(*phase_, kWritable)).reason, CloseReason::Killed);
    EXPECT_EQ(client_->received, "421 bye\r\n");
    EXPECT_TRUE(client_->got_fin);
}

TEST_F(LingerPhaseTest, WhatTheFilterHasNotLetGoOnGoesNowhere) {
    arriveGreeted(makeConfig(), "250 half a li");
    context_->relay.showHeld(Side::Server);
    expectStep<next::Stay>(begin());
    EXPECT_EQ(client_->received, "");
    EXPECT_TRUE(client_->got_fin);
}

TEST_F(LingerPhaseTest, LeavesTheWorkerToOthersButWaitsForNoRefusedClientThatGoesOn) {
    for (const bool refused : {false, true}) {
        arriveAdmitted(makeConfig());
        context_->kept_refused = refused;
        client_->sends(std::string(100 * kBlockBytes, 'x'));
        context_->client()->note(kReadable);
        EXPECT_EQ(std::holds_alternative<next::Close>(begin()), refused);
        EXPECT_FALSE(client_->to_read.empty());
        host_->runAgain();
        EXPECT_EQ(events_.turns.size(), 1U);
    }
}

TEST_F(LingerPhaseTest, IsOverForTheOperatorAndTheGateway) {
    arriveAdmitted(makeConfig());
    expectStep<next::Stay>(begin());
    expectStep<next::Stay>(phase_->onKill());
    expectStep<next::Stay>(phase_->onDrain({CloseReason::Shutdown, host_->now(), host_->now()}));
    expectStep<next::Close>(phase_->onAbort(CloseReason::Shutdown));
}

TEST_F(LingerPhaseTest, ClosesWhenTheClientIsGone) {
    arriveAdmitted(makeConfig());
    expectStep<next::Stay>(begin());
    client_->broken = ECONNRESET;
    expectStep<next::Close>(clientEvent(*phase_, kReadable | kFailed));
}

}  // namespace
}  // namespace mailgate::test
