// SPDX-License-Identifier: Apache-2.0
#include "gateway/cli/journal_text.h"

#include "tests/support/filled_record.h"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <CLI/Error.hpp>

#include <iterator>
#include <sstream>

namespace mailgate::cli {
namespace {

using store::JournalKind;
using store::JournalMail;
using store::JournalSession;
using testing::HasSubstr;
using testing::Not;

/// Whether a line of the story begins with the label.
bool tells(const std::string& story, std::string_view label) {
    return ("\n" + story).find(fmt::format("\n{} ", label)) != std::string::npos;
}

std::string sessionsOf(const JournalSession& session, const TableStyle& style,
                       const store::JournalFilter& filter = {}) {
    const Times times(Zone::Utc);
    Table table = sessionTable(style, times);
    addSessions(table, std::span(&session, 1), filter, times);
    return table.text();
}

TEST(JournalText, TheStoryTellsEveryFieldWithALabel) {
    JournalSession session = test::filledSession();
    session.mail.front().recipient_count = session.mail.front().refused_count = 100;
    session.kind = JournalKind::Refused;
    const std::string story = sessionAsStory(session, Zone::Utc);
    const auto expectTold = [&](const auto& field) {
        const bool end = field.name == "end";
        EXPECT_TRUE(field.label.empty() || tells(story, end ? "refused" : field.label)) << field.label << '\n'
                                                                                        << story;
    };
    store::journal::eachField<JournalSession>(expectTold);
    store::journal::eachField<JournalMail>(expectTold);
    EXPECT_THAT(story, HasSubstr("98 more"));
    session.bytes_in = session.bytes_out = 0;
    EXPECT_FALSE(tells(sessionAsStory(session, Zone::Utc), "bytes")) << "of refused clients none are counted";
}

TEST(JournalText, TheStoryOfAnAdmittedSessionHasNothingOfRefusals) {
    JournalSession session = test::filledSession();
    const std::string story = sessionAsStory(session, Zone::Utc);
    for (const char* label : {"told", "times", "refused"})
        EXPECT_FALSE(tells(story, label)) << label;
    EXPECT_TRUE(tells(story, "end"));
    session.would_refuse.clear();
    session.limit.clear();
    for (const char* label : {"limit", "would refuse", "would be told"})
        EXPECT_FALSE(tells(sessionAsStory(session, Zone::Utc), label)) << label;
    session.violation.clear();
    session.failed_logins = 0;
    session.connect_ms = -1;
    EXPECT_FALSE(tells(sessionAsStory(session, Zone::Utc), "violation"));
    EXPECT_FALSE(tells(sessionAsStory(session, Zone::Utc), "failed logins"));
    EXPECT_THAT(sessionAsStory(session, Zone::Utc), testing::ContainsRegex("connect +-\n"));
}

TEST(JournalText, TheStoryHasTheRuleThatHasDecided) {
    JournalSession session = test::filledSession();
    session.rule_id = 20;
    EXPECT_THAT(
        sessionAsStory(session, Zone::Utc, Letters::Utf8, "deny 192.0.2.0/24 on all listeners, set x"),
        testing::ContainsRegex("\naccess .*\n  rule 20 +deny 192.0.2.0/24 on all listeners, set x\n"));
    EXPECT_THAT(sessionAsStory(session, Zone::Utc), testing::Not(HasSubstr("  rule 20")));
}

TEST(JournalText, InAPipeAReplyIsWholeAndOnATerminalAQueueIdIs) {
    JournalSession session = test::filledSession();
    session.would_refuse.clear();
    JournalMail& mail = session.mail.front();
    mail.queue_id.clear();
    mail.reply = "550 5.7.1 " + std::string(200, 'r');
    EXPECT_THAT(sessionsOf(session, {}), HasSubstr(mail.reply));
    EXPECT_THAT(sessionsOf(session, {.width = 130}), Not(HasSubstr(mail.reply)));
    mail.queue_id = "4fXyLo2z1tz9vNwQ";
    mail.from = std::string(80, 'f');
    EXPECT_THAT(sessionsOf(session, {.width = 130}), HasSubstr(mail.queue_id));
}

TEST(JournalText, NothingIsToldOfATlsHandshakeThatNeverWas) {
    JournalSession session = test::filledSession();
    EXPECT_TRUE(tells(sessionAsStory(session, Zone::Utc), "handshake"));
    session.tls.clear();
    session.tls_version.clear();
    session.tls_handshake_ms = -1;
    EXPECT_FALSE(tells(sessionAsStory(session, Zone::Utc), "handshake"));
    EXPECT_TRUE(tells(sessionAsStory(session, Zone::Utc), "helo"));
    session.protocol = "imap";
    EXPECT_FALSE(tells(sessionAsStory(session, Zone::Utc), "helo"));
}

TEST(JournalText, WhatAListenerWouldHaveRefusedIsTold) {
    JournalSession session = test::filledSession();
    session.would_refuse = {"access", "bare_lf"};
    session.reply = "554 5.7.1 gw 198.51.100.7 is not allowed";
    session.end = "client_quit";
    EXPECT_THAT(sessionAsStory(session, Zone::Utc),
                testing::ContainsRegex("would refuse +access, bare_lf\n"));
    EXPECT_THAT(sessionAsStory(session, Zone::Utc), testing::ContainsRegex("would be told +554 5.7.1 gw"));
    EXPECT_THAT(sessionsOf(session, TableStyle()), HasSubstr("client_quit (would refuse: access, bare_lf)"));
    EXPECT_THAT(sessionAsJson(session), HasSubstr("\"would_refuse\":[\"access\",\"bare_lf\"]"));
    EXPECT_THAT(sessionAsJson(session), HasSubstr("\"reply\":\"554 5.7.1 gw"));
    session.would_refuse.clear();
    EXPECT_THAT(sessionAsJson(session), Not(HasSubstr("would_refuse")));
}

TEST(JournalText, TlsWithTheServerIsToldInOneLine) {
    JournalSession session = test::filledSession();
    session.server_tls = "implicit";
    session.server_tls_version = "TLSv1.3";
    session.server_tls_cipher = "C";
    EXPECT_THAT(sessionAsStory(session, Zone::Utc),
                testing::ContainsRegex("server tls +implicit, TLSv1.3 C, resumed, verified\n"));
    session.server_tls_version.clear();
    session.server_tls_error = "timeout";
    EXPECT_THAT(sessionAsStory(session, Zone::Utc), testing::ContainsRegex("server tls +implicit, failed\n"));
    EXPECT_THAT(sessionAsStory(session, Zone::Utc), testing::ContainsRegex("server tls error +timeout\n"));
    EXPECT_THAT(sessionAsJson(session), HasSubstr("\"server_tls\":{\"mode\":\"implicit\""));
}

TEST(JournalText, OfASessionThatGoesOnTheEndIsNotKnown) {
    JournalSession session = test::filledSession();
    session.kind = JournalKind::Mail;
    const std::string story = sessionAsStory(session, Zone::Utc);
    EXPECT_THAT(story, HasSubstr("unknown: the session is still open, or the gateway was killed"));
    EXPECT_FALSE(tells(story, "duration"));
}

TEST(JournalText, WhatAClientSentObeysNobodysTerminal) {
    JournalSession session = test::filledSession();
    session.helo = "a\x1B[2Jb";
    session.mail.front().from = "x\ny@example.org";
    for (const std::string& text : {sessionAsStory(session, Zone::Utc), sessionsOf(session, {})}) {
        EXPECT_THAT(text, Not(HasSubstr("\x1B")));
        EXPECT_THAT(text, HasSubstr("x\\u000ay@example.org"));
    }
}

/// The titles in the order in which they stand.
std::vector<std::string> titlesOf(const std::string& table) {
    std::istringstream heading(table.substr(0, table.find('\n')));
    return {std::istream_iterator<std::string>(heading), {}};
}

TEST(JournalText, SessionsFitTheTerminal) {
    JournalSession session = test::filledSession();
    session.id = "01M7Z3RQRF9RDWPGCZ875FK77W";
    session.started_ms = 1'795'681'505'123;
    session.duration_ms = 0;
    session.end = "client_quit";
    session.would_refuse.clear();
    session.helo = session.user = session.mail.front().from = std::string(4'000, 'x');
    for (const std::size_t width : {60u, 80u, 100u, 120u, 200u}) {
        const std::string table = sessionsOf(session, {.width = width});
        std::istringstream lines(table);
        for (std::string line; std::getline(lines, line);)
            EXPECT_LE(screenWidth(line), width);
        for (const char* whole : {"2026-11-26T08:25:05Z", "01M7Z3RQRF9RDWPG", "client_quit"})
            EXPECT_THAT(table, HasSubstr(whole)) << width;
    }
    // As docs/command-line.md has the order.
    EXPECT_THAT(titlesOf(sessionsOf(session, {.width = 200})),
                testing::ElementsAre("TIME", "SESSION", "CLIENT", "LISTENER", "TLS", "HELO/USER", "FROM",
                                     "TO", "QUEUE", "ID/REPLY", "END"));
    EXPECT_THAT(titlesOf(sessionsOf(session, {.width = 100})),
                testing::ElementsAre("TIME", "SESSION", "CLIENT", "HELO/USER", "FROM", "TO", "END"));
    EXPECT_THAT(titlesOf(sessionsOf(session, {.width = 80})),
                testing::ElementsAre("TIME", "SESSION", "CLIENT", "FROM", "END"));
}

TEST(JournalText, OneRefusalDoesNotCostAllRowsTheirSender) {
    JournalSession refused = test::filledSession();
    refused.client = IpAddress::parse("203.0.113.250")->bytes;
    refused.kind = store::JournalKind::Refused;
    refused.id = "01M7Z3RQRF9RDWPGCZ875FK77W";
    refused.end = "no_server";
    refused.mail.front().from = "alice@partner.example";
    const Times times(Zone::Utc, refused.endedMs());
    Table table = sessionTable({.width = 80}, times);
    addSessions(table, std::span(&refused, 1), {}, times);
    const std::string text = table.text();
    EXPECT_THAT(titlesOf(text), testing::ElementsAre("TIME", "(UTC)", "SESSION", "CLIENT", "FROM", "END"));
    EXPECT_THAT(text, HasSubstr("refused: no_…\n"));
    Table wide = sessionTable({.width = 100}, times);
    addSessions(wide, std::span(&refused, 1), {}, times);
    EXPECT_THAT(wide.text(), HasSubstr("  refused: no_server "));
}

TEST(JournalText, WhatMonitorModeWouldRefuseIsNeverClipped) {
    JournalSession session = test::filledSession();
    session.client = IpAddress::parse("203.0.113.250")->bytes;
    session.kind = JournalKind::Session;
    session.id = "01M7Z3RQRF9RDWPGCZ875FK77W";
    session.end = "client_quit";
    session.would_refuse = {"access"};
    for (const std::size_t width : {40u, 60u, 76u, 80u, 100u, 120u}) {
        const std::string table = sessionsOf(session, {.width = width});
        EXPECT_THAT(table, HasSubstr("would refuse: access")) << table;
        std::istringstream lines(table);
        for (std::string line; width > 40 && std::getline(lines, line);)
            EXPECT_LE(screenWidth(line), width) << line;
    }
    EXPECT_THAT(titlesOf(sessionsOf(session, {.width = 80})),
                testing::ElementsAre("TIME", "SESSION", "CLIENT", "END"));
    EXPECT_THAT(sessionsOf(session, {.width = 40}), HasSubstr("client_quit (would refuse: access)\n"));
    session.would_refuse = {"access", "too_many", "bare_lf"};
    EXPECT_THAT(sessionsOf(session, {.width = 80}), HasSubstr("  would refuse: access +2\n"));
    EXPECT_THAT(sessionsOf(session, {.width = 300}),
                HasSubstr("  client_quit (would refuse: access, too_many, bare_lf)\n"));
}

TEST(JournalText, AnAddressOfIpv6IsNeverClipped) {
    const std::string address = "2001:db8:1234:5678:9abc:def0:1234:5600";
    JournalSession session = test::filledSession();
    session.client = IpAddress::parse(address)->bytes;
    session.client_masked = false;
    session.id = "01M7Z3RQRF9RDWPGCZ875FK77W";
    session.end = "client_quit";
    session.would_refuse.clear();
    const Times times(Zone::Utc, session.endedMs());
    for (const std::size_t width : {40u, 60u, 80u, 100u, 120u, 160u}) {
        Table table = sessionTable({.width = width}, times);
        addSessions(table, std::span(&session, 1), {}, times);
        EXPECT_THAT(table.text(), HasSubstr(address)) << width;
    }
    Table table = sessionTable({.width = 80}, times);
    addSessions(table, std::span(&session, 1), {}, times);
    EXPECT_THAT(titlesOf(table.text()), testing::ElementsAre("TIME", "(UTC)", "SESSION", "CLIENT", "END"));
    Table following = sessionTable({.width = 100, .follows = true}, times);
    following.text();
    addSessions(following, std::span(&session, 1), {}, times);
    EXPECT_THAT(following.text(), HasSubstr(address)) << "in a column that is too narrow";
    store::JournalTop top;
    top.sums[static_cast<std::size_t>(store::SumsOf::Clients)].emplace_back().name = address;
    top.sums[static_cast<std::size_t>(store::SumsOf::Senders)].emplace_back().name = std::string(200, 's');
    const std::string sums = topAsTable(top, {}, true, {.width = 80}, Zone::Utc);
    EXPECT_THAT(sums, HasSubstr("\n" + address + "  0 "));
    EXPECT_THAT(sums, HasSubstr("sss…  0 "));
}

TEST(JournalText, TheMailsThatWereAskedForHaveRows) {
    JournalSession session = test::filledSession();
    session.would_refuse.clear();
    session.end = "client_quit";
    session.mail_count = 3;
    session.mail.assign(3, session.mail.front());
    for (const std::size_t at : {0u, 1u, 2u})
        session.mail[at].queue_id = "QUEUE" + std::to_string(at);
    EXPECT_THAT(sessionsOf(session, {.columns = {"queue-id", "end"}}),
                HasSubstr("QUEUE0          client_quit\nQUEUE1          client_quit\nQUEUE2"));
    store::JournalFilter filter;
    filter.queue_id = "QUEUE1";
    EXPECT_EQ(sessionsOf(session, {.columns = {"queue-id", "end"}}, filter),
              "QUEUE ID/REPLY  END\nQUEUE1          client_quit (+2 mails)\n");
    session.mail_count = 300;  // the others have records of their own
    EXPECT_THAT(sessionsOf(session, {}, filter), HasSubstr("client_quit (+299 mails)\n"));
    session.mail.erase(session.mail.begin());
    session.mail_count = 2;
    EXPECT_THAT(sessionsOf(session, {}, filter), HasSubstr("client_quit (+1 mail)\n"));
    session.kind = JournalKind::Mail;  // which has its mail's number
    session.mail_count = 30;
    EXPECT_THAT(sessionsOf(session, {}, filter), HasSubstr("(+1 mail)\n"));
    session.kind = JournalKind::Session;
    session.mail_count = 2;
    filter.queue_id.reset();
    filter.reply = "what the client was told";
    EXPECT_THAT(sessionsOf(session, {.columns = {"queue-id", "end"}}, filter),
                HasSubstr("QUEUE1          client_quit\nQUEUE2          client_quit\n"))
        << "what was asked for is the session's own";
}

TEST(JournalText, WhatWasAskedForIsToBeSeen) {
    JournalSession session = test::filledSession();
    session.would_refuse.clear();
    session.end = "server_violation";
    EXPECT_THAT(titlesOf(sessionsOf(session, {.width = 80})), Not(testing::Contains("HELO/USER")));
    store::JournalFilter filter;
    filter.user = "alice";
    EXPECT_THAT(titlesOf(sessionsOf(session, {.width = 80, .asked = columnsAsked(filter)})),
                testing::Contains("HELO/USER"));
    filter.user.reset();
    filter.refused_to = "bob@example.net";
    EXPECT_THAT(titlesOf(sessionsOf(session, {.width = 80, .asked = columnsAsked(filter)})),
                testing::AllOf(testing::Contains("TO"), Not(testing::Contains("HELO/USER"))));
    filter = {};
    filter.listener = "smtp";
    filter.queue_id = "1246BA72877";
    EXPECT_THAT(titlesOf(sessionsOf(session, {.width = 80, .asked = columnsAsked(filter)})),
                testing::AllOf(testing::Contains("FROM"), Not(testing::Contains("LISTENER"))))
        << "which has the same in each row";
}

TEST(JournalText, ALoginThatHadToWaitForTlsIsNoneWithoutAnAnswer) {
    JournalSession session = test::filledSession();
    session.user = "alice";
    session.authenticated.reset();
    session.failed_logins = 0;
    session.would_refuse.clear();
    session.reply = "NO [PRIVACYREQUIRED] no";
    EXPECT_THAT(sessionsOf(session, {}), HasSubstr(" alice (no TLS) "));
    EXPECT_TRUE(tells(sessionAsStory(session, Zone::Utc), "told"));
    session.reply.clear();
    EXPECT_THAT(sessionsOf(session, {}), HasSubstr(" alice (no verdict) "));
    EXPECT_FALSE(tells(sessionAsStory(session, Zone::Utc), "told"));
}

TEST(JournalText, ColumnsThatAreWantedStandInTheirOrder) {
    const JournalSession session = test::filledSession();
    EXPECT_THAT(titlesOf(sessionsOf(session, {.columns = {"server", "session", "balancer"}})),
                testing::ElementsAre("SERVER", "SESSION", "BALANCER"));
    EXPECT_THAT(titlesOf(sessionsOf(session, {.columns = {"helo/user", "CLIENT"}})),
                testing::ElementsAre("HELO/USER", "CLIENT"))
        << "as printed";
    EXPECT_THROW(sessionsOf(session, {.columns = {"no"}}), CLI::ValidationError);
}

TEST(JournalText, TheTimeIsThatOfTheEndAsInTheLog) {
    JournalSession session = test::filledSession();
    session.started_ms = 1'795'681'505'123;
    session.duration_ms = 1'800'000;
    EXPECT_EQ(sessionsOf(session, {.columns = {"time", "started"}}),
              "TIME                  STARTED\n2026-11-26T08:55:05Z  2026-11-26T08:25:05Z\n");
    EXPECT_THAT(sessionAsJson(session), testing::StartsWith("{\"time\":\"2026-11-26T08:55:05.123Z\""));
}

TEST(JournalText, TheNullSenderIsAnAddress) {
    EXPECT_EQ(envelopeAddress("<>"), "");
    EXPECT_EQ(envelopeAddress("<a@b>"), "a@b");
    EXPECT_EQ(envelopeAddress("a@b"), "a@b");
    EXPECT_EQ(envelopeAddress(R"("a b"@c)"), "a b@c");
    EXPECT_EQ(envelopeAddress(R"(<"a\"b"@c>)"), "a\"b@c");
    EXPECT_EQ(envelopeAddress(R"("a b" c)"), R"("a b" c)");
}

}  // namespace
}  // namespace mailgate::cli
