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
    Protocols, JudgeGreeting,
    ::testing::Values(GreetingCase{Protocol::Smtp, "220 mx ESMTP\r\n", Greeting::Welcome},
                      GreetingCase{Protocol::Smtp, "220 mx\n", Greeting::Welcome},
                      GreetingCase{Protocol::Lmtp, "220 mx LMTP\r\nmore", Greeting::Welcome},
                      GreetingCase{Protocol::Smtp, "421-4.3.2 All server ports are busy\r\n421 4.3.2 x\r\n",
                                   Greeting::Unavailable},
                      GreetingCase{Protocol::Smtp, "\r\n220 mx\r\n", Greeting::Foreign},
                      GreetingCase{Protocol::Smtp, "", Greeting::Incomplete},
                      GreetingCase{Protocol::Smtp, "220 mx", Greeting::Incomplete},
                      GreetingCase{Protocol::Imap, "* BYE\r\n", Greeting::Refused},
                      GreetingCase{Protocol::Pop3, "+OK\r\n", Greeting::Welcome},
                      GreetingCase{Protocol::Sieve, "\"IMPLEMENTATION\" \"x\"\r\n", Greeting::Welcome},
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
