// SPDX-License-Identifier: Apache-2.0
#include "gateway/upstream/probe.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

namespace mailgate {
namespace {

using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

const ProbeAnswer kTaken{true, true, ""};
const ProbeAnswer kTurnedAway{true, false, "closed the connection"};

UpstreamConfig upstreamThat(SendProxy sends) {
    UpstreamConfig upstream;
    upstream.check = true;
    upstream.check_protocol = Protocol::Smtp;
    upstream.send_proxy = sends;
    upstream.max_header_bytes = 536;
    return upstream;
}

/// Of a server that takes whatever mailgate sends.
ProbeReport wellReport() {
    ProbeReport report;
    report.endpoint = {*IpAddress::parse("192.0.2.1"), 25};
    report.own = *IpAddress::parse("192.0.2.9");
    report.v1 = report.v2 = report.tcp6 = report.local = kTaken;
    report.largest_header = 1500;
    return report;
}

TEST(AdviseOn, NothingWhereAllIsWell) {
    EXPECT_THAT(adviseOn(upstreamThat(SendProxy::V2), wellReport()), IsEmpty());
    EXPECT_THAT(adviseOn(upstreamThat(SendProxy::V1), wellReport()), IsEmpty());
}

TEST(AdviseOn, ToStartAServerThatNobodyReachesAndNothingElse) {
    ProbeReport report = wellReport();
    report.unreachable = "Connection refused";
    report.v2 = kTurnedAway;
    EXPECT_THAT(adviseOn(upstreamThat(SendProxy::V2), report),
                ElementsAre(AllOf(HasSubstr("192.0.2.1:25"), HasSubstr("192.0.2.9"))));
}

TEST(AdviseOn, ThatAServerWithoutHeadersSeesOnlyTheGateway) {
    ProbeReport report = wellReport();
    report.greets_without_header = true;
    EXPECT_THAT(adviseOn(upstreamThat(SendProxy::Off), report), ElementsAre(HasSubstr("mynetworks")));
    EXPECT_THAT(adviseOn(upstreamThat(SendProxy::V2), report),
                ElementsAre(AllOf(HasSubstr("does not expect a PROXY header"),
                                  HasSubstr("haproxy_trusted_networks"))));
}

TEST(AdviseOn, ThatATlsServerTookTheHeaderForAClientsFirstMessage) {
    ProbeReport report = wellReport();
    report.v2 = {true, false, "answered with a TLS alert", true};
    EXPECT_THAT(adviseOn(upstreamThat(SendProxy::V2), report),
                ElementsAre(HasSubstr("does not expect a PROXY header")));
}

TEST(AdviseOn, ToTrustTheGatewayWhereNoHeaderIsTaken) {
    ProbeReport report = wellReport();
    report.v1 = report.v2 = kTurnedAway;
    EXPECT_THAT(adviseOn(upstreamThat(SendProxy::V2), report),
                ElementsAre(AllOf(HasSubstr("waits for a PROXY header but accepts none"),
                                  HasSubstr("mailgate: add 192.0.2.9 to trusted of its listener;"),
                                  HasSubstr("closed the connection"))));
    UpstreamConfig mute = upstreamThat(SendProxy::V2);
    mute.check_protocol = Protocol::Tcp;
    EXPECT_THAT(adviseOn(mute, report), ElementsAre(HasSubstr("it expects none, or none from that address")));
}

TEST(AdviseOn, TheDialectThatTheServerTakes) {
    ProbeReport report = wellReport();
    EXPECT_THAT(adviseOn(upstreamThat(SendProxy::Off), report),
                ElementsAre(HasSubstr("send_proxy = \"v2\"")));
    report.v1 = kTurnedAway;
    EXPECT_THAT(adviseOn(upstreamThat(SendProxy::V1), report), ElementsAre(HasSubstr("send_proxy = \"v2\"")));
    report.v1 = kTaken;
    report.v2 = kTurnedAway;
    report.local = {};
    EXPECT_THAT(adviseOn(upstreamThat(SendProxy::V2), report), ElementsAre(HasSubstr("send_proxy = \"v1\"")));
}

TEST(AdviseOn, EverythingThatIsNotSo) {
    ProbeReport report = wellReport();
    report.tcp6 = report.local = kTurnedAway;
    report.largest_header = 232;
    EXPECT_THAT(adviseOn(upstreamThat(SendProxy::V2), report),
                ElementsAre(HasSubstr("inet_protocols = all"), HasSubstr("check = false"),
                            HasSubstr("max_header = 232")));
}

TEST(AdviseOn, NothingAboutChecksThatAreNotMade) {
    ProbeReport report = wellReport();
    report.local = kTurnedAway;
    UpstreamConfig unchecked = upstreamThat(SendProxy::V2);
    unchecked.check = false;
    EXPECT_THAT(adviseOn(unchecked, report), IsEmpty());
}

TEST(AdviseOn, TheLeastHeaderThatMayBeAskedForWhereNoneOfTheSizesIsTaken) {
    ProbeReport report = wellReport();
    report.largest_header = 0;
    EXPECT_THAT(adviseOn(upstreamThat(SendProxy::V2), report), ElementsAre(HasSubstr("max_header = 107")));
}

TEST(LocalAddressTowards, IsLoopbackTowardsLoopback) {
    EXPECT_EQ(localAddressTowards({*IpAddress::parse("127.0.0.1"), 25}).toString(), "127.0.0.1");
}

}  // namespace
}  // namespace mailgate
