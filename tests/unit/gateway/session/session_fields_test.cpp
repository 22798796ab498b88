// SPDX-License-Identifier: Apache-2.0
#include "gateway/session/session_fields.h"

#include "tests/support/filled_record.h"
#include "tests/support/journal_sample.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <fstream>
#include <iterator>
#include <regex>
#include <set>

namespace mailgate {
namespace {

using testing::HasSubstr;
using testing::Not;
using testing::SizeIs;

std::string lineOf(const store::JournalSession& session) {
    LogLine line(LogFormat::Json, LogLevel::Information, eventOf(session));
    writeSession(line, session);
    return std::string(line.finish());
}

TEST(SessionFields, TheFirstTwentyMailsStandInTheSessionsLine) {
    store::JournalSession session = test::sampleSession(1, 1'795'000'000'000);
    session.mail.resize(25, session.mail.front());
    session.mail_count = 25;
    EXPECT_THAT(mailInLine(session), SizeIs(20));
    EXPECT_THAT(lineOf(session), HasSubstr("\"mail_count\":25"));
    session.mail[3].number = 21;
    EXPECT_THAT(mailInLine(session), SizeIs(3)) << "that one had a line of its own";
}

TEST(SessionFields, MailsThatAreTooLongTogetherStandInLinesOfTheirOwn) {
    store::JournalSession session = test::sampleSession(1, 1'795'000'000'000);
    session.mail.resize(3, session.mail.front());
    session.mail_count = 3;
    for (store::JournalMail& mail : session.mail)
        mail.recipients.resize(400, "somebody@example.net");
    ASSERT_THAT(mailInLine(session), SizeIs(2));
    const std::string own = lineOf(session);
    EXPECT_THAT(own, HasSubstr("\"mail_count\":3"));
    EXPECT_THAT(own, Not(HasSubstr("truncated")));
    LogLine further(LogFormat::Json, LogLevel::Information, "session.mail");
    writeFurtherMail(further, session, 2);
    const std::string line(further.finish());
    EXPECT_THAT(line, HasSubstr("\"number\":3,\"from\":"));
    EXPECT_THAT(line, Not(HasSubstr("truncated")));
}

TEST(SessionFields, ARefusedRecipientHasItsReplyAndACutMailItsMark) {
    store::JournalSession session = test::sampleSession(1, 1'795'000'000'000);
    store::JournalMail& mail = session.mail.front();
    mail.refused = {{"bob@example.net", "550 5.1.1 no"}};
    mail.refused_count = 7;
    mail.truncated = true;
    EXPECT_THAT(
        lineOf(session),
        HasSubstr(
            "\"refused\":[{\"to\":\"bob@example.net\",\"reply\":\"550 5.1.1 no\"}],\"refused_count\":7"));
    EXPECT_THAT(lineOf(session), HasSubstr("\"queue_id\":\"" + mail.queue_id + "\",\"truncated\":true}]"));
}

TEST(SessionFields, ALoginIsRefusedTakenOrNotKnown) {
    store::JournalSession session = test::sampleSession(1, 1'795'000'000'000);
    EXPECT_THAT(lineOf(session), Not(HasSubstr("authenticated")));
    session.user = "alice";
    EXPECT_THAT(lineOf(session), HasSubstr("\"user\":\"alice\",\"authenticated\":null,\"failed_logins\":0"));
    session.authenticated = true;
    session.failed_logins = 2;
    session.failed_users = {"bob"};
    EXPECT_THAT(lineOf(session),
                HasSubstr("\"authenticated\":true,\"failed_logins\":2,\"failed_users\":[\"bob\"]"));
}

TEST(SessionFields, TlsIsAnObjectOrNull) {
    store::JournalSession session = test::sampleSession(1, 1'795'000'000'000);
    session.tls.clear();
    EXPECT_THAT(lineOf(session), HasSubstr("\"tls\":null,\"mail\":"));
    session.tls = "passthrough";
    EXPECT_THAT(lineOf(session), HasSubstr("\"tls\":{\"mode\":\"passthrough\"},\"mail\":"));
    session.tls = "starttls";
    session.tls_version = "TLSv1.3";
    session.tls_cipher = "C";
    session.tls_handshake_ms = 7;
    EXPECT_THAT(lineOf(session),
                HasSubstr("\"tls\":{\"mode\":\"starttls\",\"version\":\"TLSv1.3\",\"cipher\":\"C\","
                          "\"resumed\":false,\"handshake_ms\":7},\"mail\":"));
    session.tls_error = "flood";
    EXPECT_THAT(lineOf(session), HasSubstr("\"handshake_ms\":7,\"error\":\"flood\"},\"mail\":"));
    session.tls_error.clear();
    session.tls_client_subject = "CN=bob";
    session.tls_client_sha256 = "ab";
    EXPECT_THAT(
        lineOf(session),
        HasSubstr("\"handshake_ms\":7,\"client_certificate\":{\"subject\":\"CN=bob\",\"sha256\":\"ab\","
                  "\"verified\":false}},\"mail\":"));
    LogLine line(LogFormat::Logfmt, LogLevel::Information, eventOf(session));
    writeSession(line, session);
    EXPECT_THAT(
        std::string(line.finish()),
        HasSubstr(" tls.mode=starttls tls.version=TLSv1.3 tls.cipher=C tls.resumed=false tls.handshake_ms=7 "
                  "tls.client_certificate.subject=\"CN=bob\" tls.client_certificate.sha256=ab "
                  "tls.client_certificate.verified=false "));
}

TEST(SessionFields, TlsWithTheServerIsToldWhereItIsSpoken) {
    store::JournalSession session = test::sampleSession(1, 1'795'000'000'000);
    EXPECT_THAT(lineOf(session), Not(HasSubstr("server_tls")));
    session.tls.clear();
    session.server_tls = "starttls";
    session.server_tls_error = "unknown_ca";
    EXPECT_THAT(
        lineOf(session),
        HasSubstr("\"tls\":null,\"server_tls\":{\"mode\":\"starttls\",\"error\":\"unknown_ca\"},\"mail\":"));
    session.server_tls_error.clear();
    session.server_tls_version = "TLSv1.3";
    session.server_tls_cipher = "C";
    session.server_tls_verified = true;
    EXPECT_THAT(lineOf(session),
                HasSubstr("\"server_tls\":{\"mode\":\"starttls\",\"version\":\"TLSv1.3\",\"cipher\":\"C\","
                          "\"resumed\":false,\"verified\":true},\"mail\":"));
}

using Names = std::set<std::string>;

/// What `pattern`'s first group matches in the text.
Names namesIn(const std::string& text, const char* pattern) {
    const std::regex expression(pattern);
    Names names;
    for (std::sregex_iterator match(text.begin(), text.end(), expression), end; match != end; ++match)
        names.insert((*match)[1]);
    return names;
}

/// Of docs/log.md, from one heading to another.
std::string documentation(const std::string& from, const std::string& to) {
    std::ifstream file(MAILGATE_SOURCE_DIR "/docs/log.md");
    const std::string text(std::istreambuf_iterator<char>(file), {});
    const std::size_t begin = text.find("\n## " + from + "\n"), end = text.find("\n## " + to + "\n");
    EXPECT_LT(begin, end);
    return text.substr(begin, end - begin);
}

Names documented(const std::string& from, const std::string& to) {
    const std::string text = documentation(from, to);
    Names names{"time", "event"};
    for (const std::string& code : namesIn(text, "`([^`\n]+)`"))
        names.merge(namesIn(code, "([a-z_]+)"));
    return names;
}

Names keysOf(const store::JournalSession& session) {
    return namesIn(lineOf(session), "\"([a-z_]+)\":");
}

Names without(const Names& names, const Names& others) {
    Names rest;
    std::set_difference(names.begin(), names.end(), others.begin(), others.end(),
                        std::inserter(rest, rest.end()));
    return rest;
}

// A field that docs/log.md does not know must not get into a line, nor the other way round.
TEST(SessionFields, EveryFieldIsDocumented) {
    store::JournalSession session = test::filledSession();
    session.mail.front().recipient_count = session.mail.front().refused_count = 100;
    const Names keys = keysOf(session);
    EXPECT_THAT(without(keys, documented("session.end", "session.mail")), SizeIs(0));
    const std::string section = documentation("session.end", "session.mail");
    const std::string table = section.substr(0, section.find("A transaction begins"));
    Names in_table;
    for (const std::string& first_column : namesIn(table, "\n\\| (`[^|]+`) \\|"))
        in_table.merge(namesIn(first_column, "`([a-z_]+)`"));
    EXPECT_THAT(in_table, testing::IsSupersetOf({"session", "duration_ms", "gcp_psc_connection_id"}));
    EXPECT_THAT(without(in_table, keys), SizeIs(0));

    session.kind = store::JournalKind::Refused;
    EXPECT_THAT(without(keysOf(session), documented("session.end", "proxy.rejected")), SizeIs(0));
    EXPECT_THAT(keysOf(session), testing::IsSupersetOf({"rule_id", "reason", "limit", "limit_value", "reply",
                                                        "repeated", "balancer_id"}));

    session.kind = store::JournalKind::Mail;
    EXPECT_THAT(without(keysOf(session), documented("session.end", "session.refused")), SizeIs(0));
    EXPECT_THAT(keysOf(session), testing::IsSupersetOf({"session", "user", "number", "refused_count"}));
}

}  // namespace
}  // namespace mailgate
