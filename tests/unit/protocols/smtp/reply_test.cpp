// SPDX-License-Identifier: Apache-2.0
#include "protocols/smtp/reply.h"

#include <gtest/gtest.h>

namespace mailgate::smtp {
namespace {

TEST(SmtpReplyCode, IsThreeDigitsThatStandAlone) {
    EXPECT_EQ(smtpReplyCode("250 Ok"), 250);
    EXPECT_EQ(smtpReplyCode("250-mx"), 250);
    EXPECT_EQ(smtpReplyCode("354"), 354);
    for (const char* line :
         {"", "25", "2500", "250Ok", "250\tOk", "25x Ok", "-50 Ok", "+25 Ok", "199 x", "600 x", " 250 Ok"})
        EXPECT_EQ(smtpReplyCode(line), std::nullopt) << line;
}

TEST(IsContinued, ByAHyphenBehindTheCode) {
    EXPECT_TRUE(isContinued("250-mx"));
    EXPECT_TRUE(isContinued("250-"));
    EXPECT_FALSE(isContinued("250 mx-1"));
    EXPECT_FALSE(isContinued("250"));
}

TEST(KeywordOf, EndsAtWhatIsNoneOfItsCharacters) {
    EXPECT_EQ(keywordOf("250-SIZE 1000"), "SIZE");
    EXPECT_EQ(keywordOf("250 \t xclient\tADDR"), "xclient");
    EXPECT_EQ(keywordOf("250-AUTH=PLAIN"), "AUTH");
    EXPECT_EQ(keywordOf("250"), "");
    EXPECT_EQ(keywordOf("250 "), "");
}

TEST(QueueIdOf, ReadsWhatServersSay) {
    EXPECT_EQ(queueIdOf("250 2.0.0 Ok: queued as 4XyZ123abc"), "4XyZ123abc");
    EXPECT_EQ(queueIdOf("250 2.0.0 Ok: 1234 bytes queued as 4XyZ123abc"), "4XyZ123abc");
    EXPECT_EQ(queueIdOf("250 OK id=1tFgHi-000000-AB"), "1tFgHi-000000-AB");
    EXPECT_EQ(queueIdOf("250 2.0.0 4AB1C2 Message accepted for delivery"), "4AB1C2");
    EXPECT_EQ(queueIdOf("250 2.0.0 from MTA(smtp:[127.0.0.1]:10025): 250 2.0.0 Ok: queued as 9Z8"), "9Z8");
}

TEST(QueueIdOf, ReadsNothingThatAClientMayHaveSaid) {
    EXPECT_EQ(queueIdOf("250 2.1.5 <queued as FAKE@example.net> Ok"), "");
    EXPECT_EQ(queueIdOf("250 Ok: x queued as FAKE"), "");
    EXPECT_EQ(queueIdOf("250 x@y Ok: queued as FAKE"), "");
    EXPECT_EQ(queueIdOf("250 2.0.0 Ok: queued as ABC) FAKE"), "ABC");
    EXPECT_EQ(queueIdOf("250 Ok"), "");
    EXPECT_EQ(queueIdOf("250"), "");
    EXPECT_EQ(queueIdOf(""), "");
}

}  // namespace
}  // namespace mailgate::smtp
