// SPDX-License-Identifier: Apache-2.0
#include "gateway/cli/journal_text.h"

#include "tests/support/filled_record.h"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

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

TEST(JournalText, TheStoryTellsEveryFieldWithALabel) {
    JournalSession session = test::filledSession();
    session.mail.front().recipient_count = session.mail.front().refused_count = 100;
    session.kind = JournalKind::Refused;
    const std::string story = sessionAsStory(session);
    const auto expectTold = [&](const auto& field) {
        const bool end = field.name == "end";
        EXPECT_TRUE(field.label.empty() || tells(story, end ? "refused" : field.label)) << field.label << '\n'
                                                                                        << story;
    };
    store::journal::eachField<JournalSession>(expectTold);
    store::journal::eachField<JournalMail>(expectTold);
    EXPECT_THAT(story, HasSubstr("98 more"));
    session.bytes_in = session.bytes_out = 0;
    EXPECT_FALSE(tells(sessionAsStory(session), "bytes")) << "of refused clients none are counted";
}

TEST(JournalText, TheStoryOfAnAdmittedSessionHasNothingOfRefusals) {
    JournalSession session = test::filledSession();
    const std::string story = sessionAsStory(session);
    for (const char* label : {"limit", "told", "times", "refused"})
        EXPECT_FALSE(tells(story, label)) << label;
    EXPECT_TRUE(tells(story, "end"));
    session.violation.clear();
    session.failed_logins = 0;
    session.connect_ms = -1;
    EXPECT_FALSE(tells(sessionAsStory(session), "violation"));
    EXPECT_FALSE(tells(sessionAsStory(session), "failed logins"));
    EXPECT_THAT(sessionAsStory(session), testing::ContainsRegex("connect +-\n"));
}

TEST(JournalText, OfASessionThatGoesOnTheEndIsNotKnown) {
    JournalSession session = test::filledSession();
    session.kind = JournalKind::Mail;
    const std::string story = sessionAsStory(session);
    EXPECT_THAT(story, HasSubstr("unknown: the session is still open, or the gateway was killed"));
    EXPECT_FALSE(tells(story, "duration"));
}

TEST(JournalText, WhatAClientSentObeysNobodysTerminal) {
    JournalSession session = test::filledSession();
    session.helo = "a\x1B[2Jb";
    session.mail.front().from = "x\ny@example.org";
    for (const std::string& text : {sessionAsStory(session), sessionsAsTable(std::span(&session, 1), true)}) {
        EXPECT_THAT(text, Not(HasSubstr("\x1B")));
        EXPECT_THAT(text, HasSubstr("x\\u000ay@example.org"));
    }
}

TEST(JournalText, TheNullSenderIsAnAddress) {
    EXPECT_EQ(envelopeAddress("<>"), "");
    EXPECT_EQ(envelopeAddress("<a@b>"), "a@b");
    EXPECT_EQ(envelopeAddress("a@b"), "a@b");
}

}  // namespace
}  // namespace mailgate::cli
