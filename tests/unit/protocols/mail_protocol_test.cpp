// SPDX-License-Identifier: Apache-2.0
#include "protocols/mail_protocol.h"
#include "protocols/stream/stream_filter.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <string>

namespace mailgate {
namespace {

struct GreetingCase {
    Protocol protocol;
    std::string bytes;
    Greeting want;
};

class JudgeGreeting : public ::testing::TestWithParam<GreetingCase> {};

TEST_P(JudgeGreeting, ReadsTheFirstLine) {
    EXPECT_EQ(judgeGreeting(GetParam().protocol, GetParam().bytes), GetParam().want) << GetParam().bytes;
}

TEST_P(JudgeGreeting, WaitsForTheWholeLine) {
    const GreetingCase& greeting = GetParam();
    const std::size_t end = greeting.bytes.find('\n');
    if (greeting.protocol == Protocol::Tcp || end == std::string::npos) return;
    for (std::size_t size = 0; size < std::min<std::size_t>(end, 999); ++size) {
        EXPECT_EQ(judgeGreeting(greeting.protocol, greeting.bytes.substr(0, size)), Greeting::Incomplete)
            << size;
    }
}

INSTANTIATE_TEST_SUITE_P(
    Smtp, JudgeGreeting,
    ::testing::Values(
        GreetingCase{Protocol::Smtp, "220 mx ESMTP\r\n", Greeting::Welcome},
        GreetingCase{Protocol::Smtp, "220-mx teaser\r\n", Greeting::Welcome},
        GreetingCase{Protocol::Smtp, "220\r\n", Greeting::Welcome},
        GreetingCase{Protocol::Smtp, "220 mx\n", Greeting::Welcome},
        GreetingCase{Protocol::Lmtp, "220 mx LMTP\r\nmore", Greeting::Welcome},
        GreetingCase{Protocol::Smtp, "421 4.3.2 busy\r\n", Greeting::Unavailable},
        GreetingCase{Protocol::Smtp, "450 odd\r\n", Greeting::Refused},
        GreetingCase{Protocol::Smtp, "421-4.3.2 All server ports are busy\r\n421 4.3.2 x\r\n",
                     Greeting::Unavailable},
        GreetingCase{Protocol::Smtp, "554 5.3.2 System not accepting network messages\r\n",
                     Greeting::Refused},
        GreetingCase{Protocol::Smtp, "421 4.7.0 mx Error: too many connections from 192.0.2.1\r\n",
                     Greeting::Refused},
        GreetingCase{Protocol::Smtp, "450 4.7.25 Client host rejected\r\n", Greeting::Refused},
        GreetingCase{Protocol::Smtp, "421 Too many concurrent SMTP connections\r\n", Greeting::Refused},
        GreetingCase{Protocol::Smtp, "421 4.33.2 odd\r\n", Greeting::Refused},
        GreetingCase{Protocol::Smtp, "421\r\n", Greeting::Refused},
        GreetingCase{Protocol::Smtp, "554 5.7.1 no\r\n", Greeting::Refused},
        GreetingCase{Protocol::Smtp, "354 go on\r\n", Greeting::Foreign},
        GreetingCase{Protocol::Lmtp, "521 no\r\n", Greeting::Refused},
        GreetingCase{Protocol::Smtp, "250 mx\r\n", Greeting::Foreign},
        GreetingCase{Protocol::Smtp, "2200 mx\r\n", Greeting::Foreign},
        GreetingCase{Protocol::Smtp, "22\r\n", Greeting::Foreign},
        GreetingCase{Protocol::Smtp, "\r\n", Greeting::Foreign},
        GreetingCase{Protocol::Smtp, "* OK IMAP\r\n", Greeting::Foreign},
        GreetingCase{Protocol::Smtp, "", Greeting::Incomplete},
        GreetingCase{Protocol::Smtp, "220 mx", Greeting::Incomplete}));

INSTANTIATE_TEST_SUITE_P(
    Others, JudgeGreeting,
    ::testing::Values(GreetingCase{Protocol::Imap, "* OK ready\r\n", Greeting::Welcome},
                      GreetingCase{Protocol::Imap, "* ok ready\r\n", Greeting::Welcome},
                      GreetingCase{Protocol::Imap, "* PREAUTH hi\r\n", Greeting::Welcome},
                      GreetingCase{Protocol::Imap, "* BYE [UNAVAILABLE] no\r\n", Greeting::Unavailable},
                      GreetingCase{Protocol::Imap, "* bye [unavailable] no\r\n", Greeting::Unavailable},
                      GreetingCase{Protocol::Imap, "* BYE Too many connections\r\n", Greeting::Refused},
                      GreetingCase{Protocol::Imap, "* BYE\r\n", Greeting::Refused},
                      GreetingCase{Protocol::Imap, "* OKAY\r\n", Greeting::Foreign},
                      GreetingCase{Protocol::Imap, "+OK POP3\r\n", Greeting::Foreign},
                      GreetingCase{Protocol::Pop3, "+OK ready\r\n", Greeting::Welcome},
                      GreetingCase{Protocol::Pop3, "+OK\r\n", Greeting::Welcome},
                      GreetingCase{Protocol::Pop3, "-ERR [SYS/TEMP] no\r\n", Greeting::Unavailable},
                      GreetingCase{Protocol::Pop3, "-ERR [SYS/PERM] no\r\n", Greeting::Unavailable},
                      GreetingCase{Protocol::Pop3, "-ERR Too many connections\r\n", Greeting::Refused},
                      GreetingCase{Protocol::Pop3, "220 mx\r\n", Greeting::Foreign},
                      GreetingCase{Protocol::Sieve, "\"IMPLEMENTATION\" \"x\"\r\n", Greeting::Welcome},
                      GreetingCase{Protocol::Sieve, "OK \"ready\"\r\n", Greeting::Welcome},
                      GreetingCase{Protocol::Sieve, "BYE (TRYLATER) \"x\"\r\n", Greeting::Unavailable},
                      GreetingCase{Protocol::Sieve, "NO (TRYLATER) \"x\"\r\n", Greeting::Unavailable},
                      GreetingCase{Protocol::Sieve, "BYE \"Too many connections\"\r\n", Greeting::Refused},
                      GreetingCase{Protocol::Sieve, "NO \"x\"\r\n", Greeting::Refused},
                      GreetingCase{Protocol::Sieve, "* OK IMAP\r\n", Greeting::Foreign},
                      GreetingCase{Protocol::Tcp, "", Greeting::Incomplete},
                      GreetingCase{Protocol::Tcp, "x", Greeting::Welcome}));

TEST(JudgeGreetingBound, IsAThousandBytes) {
    const std::string start = "220 ";
    const std::string longest = start + std::string(1000 - start.size() - 1, 'x') + "\n";
    EXPECT_EQ(judgeGreeting(Protocol::Smtp, longest), Greeting::Welcome);
    EXPECT_EQ(judgeGreeting(Protocol::Smtp, longest.substr(0, 999)), Greeting::Incomplete);
    EXPECT_EQ(judgeGreeting(Protocol::Smtp, start + longest), Greeting::Foreign);
    EXPECT_EQ(judgeGreeting(Protocol::Smtp, std::string(5000, '2')), Greeting::Foreign);
}

TEST(Traits, HaveTheNameThatIsRegisteredForAlpn) {
    EXPECT_EQ(traitsOf(Protocol::Imap).alpn, "imap");
    EXPECT_EQ(traitsOf(Protocol::Pop3).alpn, "pop3");
    EXPECT_EQ(traitsOf(Protocol::Sieve).alpn, "managesieve");
    for (const Protocol protocol : {Protocol::Smtp, Protocol::Lmtp, Protocol::Tcp})
        EXPECT_EQ(traitsOf(protocol).alpn, "") << toString(protocol);
}

}  // namespace
}  // namespace mailgate
