// SPDX-License-Identifier: Apache-2.0
#include "gateway/session/session_fields.h"

#include "tests/support/journal_sample.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

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

}  // namespace
}  // namespace mailgate
