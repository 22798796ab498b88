// SPDX-License-Identifier: Apache-2.0
#include "protocols/pop3/pop3_protocol.h"

#include "tests/support/protocol_words.h"

namespace mailgate::pop3 {
namespace {

using namespace test;

TEST(Pop3Protocol, JudgesGreetings) {
    expectGreetings(kPop3, Greeting::Welcome, {"+OK ready", "+OK", "+ok <1.2@mx>"});
    expectGreetings(kPop3, Greeting::Unavailable, {"-ERR [SYS/TEMP] no", "-ERR [SYS/PERM] no"});
    expectGreetings(kPop3, Greeting::Refused, {"-ERR Too many connections", "-ERR [IN-USE] no", "-ERR"});
    expectGreetings(kPop3, Greeting::Foreign, {"220 mx", "+OKAY", "* OK IMAP", ""});
}

TEST(Pop3Protocol, RefusesWithErr) {
    EXPECT_EQ(lineOf(kPop3, Refusal::Rule),
              "-ERR [SYS/PERM] 203.0.113.9 is not allowed to use this service (gw1-7f3a)\r\n");
    EXPECT_EQ(lineOf(kPop3, Refusal::TooMany),
              "-ERR [IN-USE] Too many connections from 203.0.113.9 (gw1-7f3a)\r\n");
    EXPECT_EQ(lineOf(kPop3, Refusal::NoServer),
              "-ERR [SYS/TEMP] Mail store temporarily unavailable (gw1-7f3a)\r\n");
    EXPECT_EQ(lineOf(kPop3, Refusal::Idle), "") << "RFC 1939 3: without a word";
    EXPECT_EQ(lineOf(kPop3, Refusal::BareLf), "") << "SMTP's";
}

TEST(Pop3Protocol, AnswersABalancersProbe) {
    expectProbe(kPop3, "+OK gw.example.org ready\r\n", "CAPA\r\nnoop\r\nUSER x\r\n\r\nQUIT\r\n",
                "+OK\r\nIMPLEMENTATION mailgate\r\n.\r\n+OK\r\n-ERR Unknown command\r\n-ERR Unknown "
                "command\r\n+OK Bye\r\n");
    expectBalancerIsContent(kPop3);
}

}  // namespace
}  // namespace mailgate::pop3
