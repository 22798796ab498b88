// SPDX-License-Identifier: Apache-2.0
#include "gateway/session/session_context.h"

#include "tests/support/scripted_phase.h"

#include <gmock/gmock.h>

namespace mailgate::test {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::StartsWith;

class SessionContextTest : public PhaseTest {
  protected:
    static Config withTls(Protocol protocol, ListenerTls tls) {
        Config config = makeConfig(protocol);
        config.listeners[0].tls = tls;
        return config;
    }
};

TEST_F(SessionContextTest, AServerCountsItsSessionOnceHoweverOftenItIsLeft) {
    arriveAdmitted(makeConfig());
    const auto endpoints = context_->record.pool().endpoints();
    context_->useServer(endpoints[0]);
    EXPECT_EQ(endpoints[0]->sessions, 1u);
    server_ = std::make_shared<ScriptedPeer>();
    context_->server() = std::make_unique<ScriptedTransport>(server_);
    context_->leaveServer();
    EXPECT_TRUE(server_->closed);
    EXPECT_EQ(endpoints[0]->sessions, 0u);
    context_->leaveServer();
    EXPECT_EQ(endpoints[0]->sessions, 0u);
    context_->useServer(endpoints[1]);
    EXPECT_EQ(endpoints[0]->sessions, 0u);
    EXPECT_EQ(endpoints[1]->sessions, 1u);
    EXPECT_EQ(context_->record.endpoint, endpoints[1]) << "the one that the log names";
}

TEST_F(SessionContextTest, EventsOfAServerThatWasLeftAreToldFromTheNextOnes) {
    arriveAdmitted(makeConfig());
    const auto endpoint = context_->record.pool().endpoints().front();
    std::uint8_t last = SessionContext::kClientSlot;
    for (int i = 0; i < 9; ++i) {
        context_->useServer(endpoint);
        EXPECT_NE(context_->server_slot, last);
        EXPECT_NE(context_->server_slot, SessionContext::kClientSlot);
        EXPECT_LE(context_->server_slot, 3u);
        last = context_->server_slot;
        context_->leaveServer();
    }
}

TEST_F(SessionContextTest, WhatIsDeferredComesToItsSideInALaterTurn) {
    arriveAdmitted(makeConfig());
    context_->useServer(context_->record.pool().endpoints().front());
    context_->defer(Side::Server);
    context_->defer(Side::Client);
    EXPECT_TRUE(events_.turns.empty());
    host_->runAgain();
    EXPECT_THAT(events_.turns, ElementsAre(context_->server_slot, SessionContext::kClientSlot));
    context_->leaveServer();
}

TEST_F(SessionContextTest, TheLastDeadlineIsTheOne) {
    arriveAdmitted(makeConfig());
    context_->armIn(1'000);
    context_->armIn(5'000);
    host_->advance(3'000);
    EXPECT_EQ(events_.deadlines, 0);
    host_->advance(3'000);
    EXPECT_EQ(events_.deadlines, 1);
}

TEST_F(SessionContextTest, AClientIsToldInItsProtocolWhoAndWhichSession) {
    for (const Protocol protocol :
         {Protocol::Smtp, Protocol::Lmtp, Protocol::Imap, Protocol::Pop3, Protocol::Sieve}) {
        arriveAdmitted(makeConfig(protocol));
        EXPECT_FALSE(context_->opaqueFromStart());
        EXPECT_EQ(context_->replyProtocol(), protocol);
        const std::string line = context_->refusalFor(Refusal::Rule);
        EXPECT_THAT(line, testing::EndsWith("\r\n"));
        EXPECT_THAT(line, HasSubstr(std::string(context_->record.id.text())));
    }
    arriveAdmitted(makeConfig());
    EXPECT_THAT(context_->refusalFor(Refusal::Rule), StartsWith("554 "));
    EXPECT_THAT(context_->refusalFor(Refusal::Rule),
                testing::AllOf(HasSubstr("gw.example"), HasSubstr("198.51.100.7")));
}

TEST_F(SessionContextTest, NothingIsSaidWhereItWouldBreakTls) {
    for (const Config& config :
         {withTls(Protocol::Smtp, ListenerTls::Passthrough), makeConfig(Protocol::Tcp)}) {
        arriveAdmitted(config);
        EXPECT_TRUE(context_->opaqueFromStart());
        EXPECT_EQ(context_->replyProtocol(), Protocol::Tcp);
        EXPECT_EQ(context_->refusalFor(Refusal::Rule), "");
    }
}

}  // namespace
}  // namespace mailgate::test
