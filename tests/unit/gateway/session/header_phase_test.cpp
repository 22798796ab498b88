// SPDX-License-Identifier: Apache-2.0
#include "gateway/session/header_phase.h"

#include "tests/support/scripted_phase.h"

#include <gmock/gmock.h>

namespace mailgate::test {
namespace {

using ::testing::HasSubstr;

const std::string kV1Header = "PROXY TCP4 198.51.100.7 203.0.113.10 55555 25\r\n";

class HeaderPhaseTest : public PhaseTest {
  protected:
    HeaderPhase& begin() {
        arrive(makeConfig(), true);
        phase_.emplace(*context_);
        expectStep<next::Stay>(phase_->begin());
        return *phase_;
    }
    void expectRejection(const Next& step, const std::string& reason) {
        EXPECT_EQ(expectStep<next::Close>(step).reason, CloseReason::Refused);
        EXPECT_EQ(client_->received, "");
        EXPECT_THAT(host_->takeLog(), HasSubstr("\"reason\":\"" + reason + "\""));
    }

    std::optional<HeaderPhase> phase_;
};

TEST_F(HeaderPhaseTest, ThePeerIsTheClientWhereNoHeaderHasToCome) {
    arrive(makeConfig());
    HeaderPhase phase(*context_);
    const Next step = phase.begin();
    EXPECT_EQ(expectStep<next::Admit>(step).client.toString(), "10.0.0.9:40001");
    EXPECT_EQ(expectStep<next::Admit>(step).destination.toString(), "203.0.113.10:25");
    EXPECT_TRUE(context_->record.identified());
}

TEST_F(HeaderPhaseTest, ReadsAHeaderInAnyPieces) {
    const std::string sent = kV1Header + "EHLO early\r\n";
    for (const std::size_t piece : {std::size_t{1}, std::size_t{7}, sent.size()}) {
        HeaderPhase& phase = begin();
        Next step = next::Stay{};
        std::size_t at = 0;
        for (; stays(step) && at < sent.size(); at += piece)
            step = clientSends(phase, std::string_view(sent).substr(at, piece));
        EXPECT_EQ(expectStep<next::Admit>(step).client.toString(), "198.51.100.7:55555");
        EXPECT_EQ(context_->record.header_bytes, kV1Header.size());
        EXPECT_EQ(std::string(context_->relay.held(Side::Client)),
                  sent.substr(kV1Header.size(), std::min(at, sent.size()) - kV1Header.size()))
            << "what came behind the header is kept";
    }
}

TEST_F(HeaderPhaseTest, AHeaderWithoutAClientIsABalancersProbe) {
    for (const char* header : {"PROXY UNKNOWN\r\n", "PROXY TCP4 10.0.0.9 203.0.113.10 40001 25\r\n"})
        expectStep<next::Answer>(clientSends(begin(), header));
}

TEST_F(HeaderPhaseTest, ClosesWithoutAWordOnWhatIsNoHeader) {
    expectRejection(clientSends(begin(), "EHLO mx.example\r\n"), "not_proxy");
    EXPECT_EQ(client_->acknowledgements, 0);
}

TEST_F(HeaderPhaseTest, AnEndInMidHeaderIsARejection) {
    HeaderPhase& phase = begin();
    expectStep<next::Stay>(clientSends(phase, "PROXY TCP4 "));
    EXPECT_EQ(client_->acknowledgements, 1) << "the balancer may wait for that with the rest";
    expectRejection(clientCloses(phase), "incomplete");
}

TEST_F(HeaderPhaseTest, AnEndBeforeTheFirstByteIsNone) {
    EXPECT_EQ(expectStep<next::Close>(clientCloses(begin())).reason, CloseReason::ClientClosed);
    EXPECT_EQ(value(host_->counters().empty), 1U);
    EXPECT_EQ(host_->takeLog(), "");
}

TEST_F(HeaderPhaseTest, TellsAtTheDeadlineSilenceFromHalfAHeader) {
    expectRejection(begin().onDeadline(), "no_header");
    HeaderPhase& phase = begin();
    expectStep<next::Stay>(clientSends(phase, "PROXY"));
    expectRejection(phase.onDeadline(), "header_timeout");
}

TEST_F(HeaderPhaseTest, TheDeadlineRunsFromTheAccept) {
    HeaderPhase& phase = begin();
    host_->advance(4'000);
    expectStep<next::Stay>(clientSends(phase, "PROXY"));
    EXPECT_EQ(events_.deadlines, 0);
    host_->advance(1'200);
    EXPECT_EQ(events_.deadlines, 1);
}

TEST_F(HeaderPhaseTest, ADrainWaitsUntilTheClientIsKnown) {
    expectStep<next::Stay>(begin().onDrain({CloseReason::Shutdown, host_->now(), host_->now()}));
}

}  // namespace
}  // namespace mailgate::test
