// SPDX-License-Identifier: Apache-2.0
#include "gateway/session/session_report.h"

#include "tests/support/scripted_phase.h"

#include <fmt/format.h>
#include <gmock/gmock.h>

#include <algorithm>
#include <memory>
#include <string>
#include <utility>

namespace mailgate::test {
namespace {

using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::MatchesRegex;
using testing::Pair;
using testing::SizeIs;

MailTransaction mailOf(const std::string& from) {
    MailTransaction mail;
    mail.from = from;
    mail.recipients = {"bob@example.net"};
    mail.refused = {{"eve@example.net", "550 5.1.1 no"}};
    mail.recipient_count = mail.refused_count = 1;
    mail.size = 5'000;
    mail.reply = "250 2.0.0 Ok: queued as 4XYZ";
    mail.queue_id = "4XYZ";
    mail.accepted = true;
    return mail;
}

class SessionReportTest : public PhaseTest {
  protected:
    /// A session that has been at a server and sent a mail.
    void arriveWithMail() {
        arriveGreeted(makeConfig(), "");
        host_->advance(50);
        SessionFacts& facts = record().facts;
        facts.helo = "mail.example.org";
        facts.user = "alice";
        facts.authenticated = true;
        facts.failed_logins = 2;
        facts.failed_users = {"bob"};
        facts.tls_refusals = 3;
        facts.transactions = {mailOf("a@example.org")};
        facts.transaction_count = 1;
    }
    SessionRecord& record() { return context_->record; }
    const std::string& log() const { return host_->events.text; }
    std::size_t lines() const {
        return static_cast<std::size_t>(std::count(log().begin(), log().end(), '\n'));
    }
    const store::JournalSession& kept() const { return host_->records.kept.back(); }
    const ListenerCounters& listener() { return record().listenerCounters(); }
    void nobodyListens() {
        host_->keeps_records = false;
        host_->events.least = LogLevel::Critical;
    }
};

TEST_F(SessionReportTest, WhatASessionKnewGoesToLogAndJournalAlike) {
    arriveWithMail();
    record().close(CloseReason::BareLf);
    record().violation = Violation::BareLf;
    report::ended(*host_, record(), 6'000, 700, "");
    ASSERT_THAT(host_->records.kept, SizeIs(1));
    EXPECT_EQ(kept().kind, store::JournalKind::Session);
    EXPECT_EQ(kept().id, record().id.text());
    EXPECT_EQ(kept().listener, "front");
    EXPECT_EQ(kept().client, IpAddress::parse("198.51.100.7")->bytes);
    EXPECT_EQ(kept().client_port, 55555);
    EXPECT_EQ(kept().balancer, std::nullopt) << "no header was expected of the peer";
    EXPECT_EQ(kept().upstream, "backend");
    EXPECT_EQ(kept().server, "mx1");
    EXPECT_EQ(kept().duration_ms, 50);
    EXPECT_EQ(kept().greeting_ms, -1) << "it has not greeted";
    EXPECT_EQ(kept().helo, "mail.example.org");
    EXPECT_EQ(kept().user, "alice");
    EXPECT_EQ(kept().bytes_in, 6'000u);
    EXPECT_EQ(kept().bytes_out, 700u);
    EXPECT_EQ(kept().end, "bare_lf");
    EXPECT_EQ(kept().violation, toString(Violation::BareLf));
    ASSERT_THAT(kept().mail, SizeIs(1));
    EXPECT_EQ(kept().mail[0].from, "a@example.org");
    EXPECT_EQ(kept().mail[0].refused.at(0).to, "eve@example.net");
    EXPECT_EQ(kept().mail[0].queue_id, "4XYZ");
    EXPECT_EQ(lines(), 1u);
    EXPECT_THAT(log(), AllOf(HasSubstr("\"event\":\"session.end\""), HasSubstr(kept().id),
                             HasSubstr("\"from\":\"a@example.org\""), HasSubstr("\"bytes_in\":6000")));
}

TEST_F(SessionReportTest, ASessionIsCountedWhoeverListens) {
    for (const bool listened : {true, false}) {
        arriveWithMail();
        if (!listened) nobodyListens();
        record().close(CloseReason::ClientQuit);
        report::ended(*host_, record(), 6'000, 700, "");
        EXPECT_EQ(value(host_->counters().ends[static_cast<std::size_t>(CloseReason::ClientQuit)]), 1u);
        EXPECT_EQ(value(host_->counters().bytes_in), 6'000u);
        EXPECT_EQ(value(host_->counters().bytes_out), 700u);
        EXPECT_EQ(value(listener().failed_logins), 2u);
        EXPECT_EQ(value(listener().tls_required_refusals), 3u);
        EXPECT_EQ(lines(), listened ? 1u : 0u);
        EXPECT_THAT(host_->records.kept, SizeIs(listened ? 1 : 0));
    }
}

TEST_F(SessionReportTest, ASessionThatReachedNoServerNamesNone) {
    arriveAdmitted(makeConfig());
    record().close(CloseReason::ClientClosed);
    report::ended(*host_, record(), 0, 0, "");
    EXPECT_EQ(kept().upstream, "backend");
    EXPECT_EQ(kept().server, "");
    EXPECT_EQ(kept().connect_ms, -1);
}

TEST_F(SessionReportTest, WhatTheBalancerSaidHasTheNamesOfTheLog) {
    arrive(makeConfig(), true);
    record().header_done = record().at(record().start);
    auto tlvs = std::make_unique<proxy::Tlvs>();
    tlvs->unique_id = "id\x01";
    tlvs->authority = "mx.example.org";
    tlvs->alpn = "smtp";
    tlvs->aws_vpce_id = "vpce-1";
    tlvs->azure_link_id = 7;
    tlvs->gcp_psc_connection_id = 8;
    proxy::SslInfo& ssl = tlvs->ssl.emplace();
    ssl.tls = true;
    ssl.version = "TLSv1.3";
    ssl.common_name = "nobody checked that";
    record().tlvs = std::move(tlvs);
    report::ended(*host_, record(), 0, 0, "");
    EXPECT_EQ(kept().balancer, IpAddress::parse("10.0.0.9")->bytes);
    EXPECT_THAT(
        kept().balancer_told,
        ElementsAre(Pair("balancer_id", "id\x01"), Pair("authority", "mx.example.org"), Pair("alpn", "smtp"),
                    Pair("balancer_tls", "TLSv1.3"), Pair("aws_vpce_id", "vpce-1"),
                    Pair("azure_link_id", "7"), Pair("gcp_psc_connection_id", "8")));
    EXPECT_THAT(log(), HasSubstr("\"balancer_id\":\"id\\u0001\""));
}

TEST_F(SessionReportTest, AMailOfItsOwnLeavesTheSessionWhatItKnows) {
    arriveWithMail();
    const MailTransaction further = mailOf("further@example.org");
    report::mail(*host_, record(), further, 21);
    EXPECT_EQ(kept().kind, store::JournalKind::Mail);
    EXPECT_EQ(kept().mail_count, 21u);
    ASSERT_THAT(kept().mail, SizeIs(1));
    EXPECT_EQ(kept().mail[0].from, "further@example.org");
    EXPECT_EQ(kept().mail[0].number, 21u);
    EXPECT_EQ(kept().user, "alice");
    EXPECT_EQ(kept().end, "");
    EXPECT_THAT(log(), AllOf(HasSubstr("\"event\":\"session.mail\""), HasSubstr("\"number\":21")));
    EXPECT_EQ(record().facts.helo, "mail.example.org");
    EXPECT_THAT(record().facts.transactions, SizeIs(1));
    EXPECT_EQ(further.recipients.size(), 1u);
    nobodyListens();
    report::mail(*host_, record(), further, 22);
    EXPECT_EQ(lines(), 1u);
    EXPECT_THAT(host_->records.kept, SizeIs(1));
}

TEST_F(SessionReportTest, ARefusalHasItsReasonItsRuleAndItsReply) {
    arriveAdmitted(makeConfig());
    record().rule_id = 12;
    report::refused(*host_, record(), Refusal::Rule, {}, "554 5.7.1 no\r\n");
    EXPECT_EQ(kept().kind, store::JournalKind::Refused);
    EXPECT_EQ(kept().end, reasonFor(Refusal::Rule));
    EXPECT_EQ(kept().rule_id, 12);
    EXPECT_EQ(kept().reply, "554 5.7.1 no") << "without its end of line";
    EXPECT_THAT(log(), HasSubstr("\"event\":\"session.refused\""));
    report::refused(*host_, record(), Refusal::TooMany, {LimitReached::Which::Sessions, 20}, "\r\n");
    EXPECT_EQ(kept().rule_id, 0) << "it was not the rule that refused";
    EXPECT_EQ(kept().limit, "client_sessions");
    EXPECT_EQ(kept().limit_value, 20u);
    EXPECT_EQ(kept().reply, "");
    nobodyListens();
    report::refused(*host_, record(), Refusal::TooMany, {}, "");
    EXPECT_EQ(value(listener().refusals[static_cast<std::size_t>(Refusal::Rule)]), 1u);
    EXPECT_EQ(value(listener().refusals[static_cast<std::size_t>(Refusal::TooMany)]), 2u);
    EXPECT_THAT(host_->records.kept, SizeIs(2));
}

TEST_F(SessionReportTest, WhatAClientWasToldThatWouldNotBeginTlsIsKept) {
    const auto told = [&](Protocol protocol, const auto& change) {
        arriveGreeted(makeConfig(protocol), "");
        record().facts.user = "alice";
        record().facts.tls_refusals = 1;
        change(record().facts);
        report::ended(*host_, record(), 1, 2, {});
        return kept().reply;
    };
    const auto as_it_is = [](SessionFacts&) {};
    EXPECT_THAT(told(Protocol::Imap, as_it_is), testing::StartsWith("NO [PRIVACYREQUIRED] Plaintext"));
    EXPECT_TRUE(kept().wasToldToBeginTls());
    EXPECT_THAT(log(), HasSubstr("\"reply\":\"NO [PRIVACYREQUIRED] Plaintext"));
    EXPECT_EQ(told(Protocol::Smtp, as_it_is), "530 5.7.0 Must issue a STARTTLS command first");
    EXPECT_THAT(told(Protocol::Pop3, as_it_is), testing::StartsWith("-ERR [AUTH] "));
    EXPECT_EQ(told(Protocol::Imap, [](SessionFacts& facts) { facts.tls = TlsBegin::StartTls; }), "");
    EXPECT_EQ(told(Protocol::Imap, [](SessionFacts& facts) { facts.tls_refusals = 0; }), "");
}

TEST_F(SessionReportTest, ARefusalAfterStartTlsHasTheLoginsThatFailedBefore) {
    arriveAdmitted(makeConfig(Protocol::Imap));
    record().facts.failed_logins = 2;
    record().facts.tls_refusals = 1;
    record().facts.failed_users = {"alice", "bob"};
    std::unique_ptr<store::JournalSession> place;
    host_->repeated = &place;
    report::refused(*host_, record(), Refusal::NoServer, {}, "* BYE\r\n");
    EXPECT_FALSE(place) << "it is like no other";
    EXPECT_EQ(kept().failed_logins, 2u);
    EXPECT_THAT(log(), HasSubstr("\"failed_logins\":2,\"failed_users\":[\"alice\",\"bob\"]"));
    EXPECT_EQ(value(listener().failed_logins), 2u);
    EXPECT_EQ(value(listener().tls_required_refusals), 1u);
}

TEST_F(SessionReportTest, OfRefusalsThatRepeatTheFirstIsKeptForLater) {
    arriveAdmitted(makeConfig());
    std::unique_ptr<store::JournalSession> place;
    host_->repeated = &place;
    report::refused(*host_, record(), Refusal::Rule, {}, "554 first\r\n");
    report::refused(*host_, record(), Refusal::Rule, {}, "554 second\r\n");
    ASSERT_TRUE(place);
    EXPECT_EQ(place->reply, "554 first");
    EXPECT_EQ(lines(), 0u);
    EXPECT_THAT(host_->records.kept, IsEmpty());
    EXPECT_EQ(value(listener().refusals[static_cast<std::size_t>(Refusal::Rule)]), 2u);
    report::keep(*host_, std::move(*place));
    EXPECT_EQ(lines(), 1u);
    EXPECT_THAT(host_->records.kept, SizeIs(1));
}

TEST_F(SessionReportTest, ARejectionSaysWhyAndWhatToDo) {
    arrive(makeConfig(), true);
    struct Case {
        Rejection rejection;
        const char *detail, *hint;
    };
    const Case cases[] = {
        {Rejection::UntrustedPeer, "not in the listener's trusted list",
         "add \\\"10.0.0.9\\\" to trusted of listener \\\"front\\\""},
        {Rejection::NoHeader, "sent nothing within the time limit", "on_first_ack"},
        {Rejection::NotProxy, "", "must send a PROXY header: enable it there"},
        {Rejection::Unexpected, "in the place of a command", "do two balancers add one each?"},
    };
    for (const Case& each : cases) {
        host_->events.text.clear();
        report::rejected(*host_, record().arrival, each.rejection, "", 0);
        EXPECT_THAT(log(), AllOf(HasSubstr("\"event\":\"proxy.rejected\",\"level\":\"warning\",\"listener\":"
                                           "\"front\",\"peer\":\"10.0.0.9\""),
                                 HasSubstr(fmt::format("\"reason\":\"{}\"", toString(each.rejection))),
                                 HasSubstr(each.detail), HasSubstr(each.hint)));
    }
    for (std::size_t i = 0; i < kRejections; ++i) {
        host_->events.text.clear();
        report::rejected(*host_, record().arrival, static_cast<Rejection>(i), "", 9);
        EXPECT_THAT(log(), MatchesRegex(".*\"detail\":\"[^\"]+\".*\n"))
            << toString(static_cast<Rejection>(i));
        EXPECT_EQ(log().find("\"offset\":9") != std::string::npos,
                  static_cast<Rejection>(i) != Rejection::UntrustedPeer &&
                      static_cast<Rejection>(i) != Rejection::Unexpected)
            << "of him nothing was read";
    }
}

TEST_F(SessionReportTest, AHeaderOfWhoIsNotTrustedSaysWhatToWrite) {
    for (const auto& [proxy, hint] :
         {std::pair{ProxyMode::Off,
                    "set proxy = \\\"require\\\" and trusted = [\\\"10.0.0.9\\\"] for listener \\\"front"},
          std::pair{ProxyMode::Mixed, "add \\\"10.0.0.9\\\" to trusted of listener \\\"front"}}) {
        Config config = makeConfig();
        config.listeners[0].proxy = proxy;
        arrive(std::move(config), false);
        host_->events.text.clear();
        report::rejected(*host_, record().arrival, Rejection::Unexpected, "", 0);
        EXPECT_THAT(log(), HasSubstr(hint));
    }
}

TEST_F(SessionReportTest, ARejectionShowsNoMoreThanTheFirstWord) {
    arrive(makeConfig(), true);
    report::rejected(*host_, record().arrival, Rejection::NotProxy, "LOGIN alice secret", 0);
    EXPECT_THAT(log(), HasSubstr("\"first_bytes\":\"4c4f47494e\""));
}

TEST_F(SessionReportTest, ARejectionShowsNoMoreThanSixteenBytes) {
    arrive(makeConfig(), true);
    report::rejected(*host_, record().arrival, Rejection::NotProxy, std::string(1'000, '\xFF'), 0);
    std::string hex;
    for (int i = 0; i < 16; ++i)
        hex += "ff";
    EXPECT_THAT(log(), HasSubstr("\"first_bytes\":\"" + hex + "\""));
}

TEST_F(SessionReportTest, RejectionsAreCountedThoughTheyAreNotLogged) {
    arrive(makeConfig(), true);
    const auto reject = [this] { report::rejected(*host_, record().arrival, Rejection::BadV1, "PROXY", 5); };
    host_->rejections_suppressed = 3;
    reject();
    EXPECT_THAT(log(), HasSubstr("\"suppressed\":3}"));
    host_->logs_rejections = false;
    reject();
    host_->logs_rejections = true;
    host_->events.least = LogLevel::Error;
    reject();
    EXPECT_EQ(lines(), 1u);
    const auto rows = host_->counters().rejections.rows();
    ASSERT_THAT(rows, SizeIs(1));
    EXPECT_EQ(rows[0].count, 3u);
}

TEST_F(SessionReportTest, ProbesAreForDebuggingAndFailuresForEverybody) {
    arrive(makeConfig(), true);
    report::probed(*host_, record(), true);
    EXPECT_THAT(log(), HasSubstr("\"event\":\"session.check\",\"level\":\"debug\""));
    EXPECT_THAT(log(), HasSubstr("\"balancer\":\"10.0.0.9\",\"up\":true}"));
    host_->events.least = LogLevel::Error;
    report::probed(*host_, record(), false);
    EXPECT_EQ(lines(), 1u);
    report::failed(*host_, record());
    EXPECT_EQ(lines(), 2u);
    EXPECT_THAT(log(), HasSubstr("\"event\":\"session.failed\",\"level\":\"error\""));
    EXPECT_THAT(host_->records.kept, IsEmpty());
}

}  // namespace
}  // namespace mailgate::test
