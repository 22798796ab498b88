// SPDX-License-Identifier: Apache-2.0
#include "gateway/answers/logged_line.h"

#include <gmock/gmock.h>

#include <cstdint>
#include <random>
#include <string>
#include <string_view>

namespace mailgate::answers {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

/// "queue_id=517C1168 client=192.0.2.1", of what there is.
std::string told(std::string_view line) {
    const LoggedLine found = readLoggedLine(line);
    std::string text;
    const auto tell = [&](const char* name, std::string_view value) {
        if (!value.empty()) text.append(text.empty() ? "" : " ").append(name).append("=").append(value);
    };
    tell("queue_id", found.queue_id);
    tell("message_id", found.message_id);
    tell("from", found.from);
    tell("to", found.to);
    tell("user", found.user);
    tell("sasl_username", found.sasl_username);
    tell("client", found.client);
    return text;
}

TEST(LoggedLine, NamesTheMailItsEnvelopeAndTheClient) {
    struct Case {
        std::string_view line, told;
    };
    const Case cases[] = {
        {"", ""},
        {"bob@example.net", ""},
        {"[192.0.2.1]", ""},  // an address literal
        {"Nov 27 11:37:44 mx postfix/smtpd[380]: 517C1168: client=unknown[198.51.100.7]:55865",
         "queue_id=517C1168 client=198.51.100.7"},
        {"postfix/smtpd[391]: disconnect from unknown[198.51.100.8]:39947 ehlo=1", "client=198.51.100.8"},
        {"postfix/qmgr[267]: 517C1168: from=<a@b.example>, size=436, nrcpt=1 (queue active)",
         "queue_id=517C1168 from=<a@b.example>"},
        {"517C1168: message-id=<1@b.example>", "queue_id=517C1168 message_id=<1@b.example>"},
        {"postfix/smtpd[380]: NOQUEUE: reject: RCPT from unknown[IPv6:2001:db8::1]:4: 550; from=<> "
         "to=<x@y.example>",
         "from=<> to=<x@y.example> client=2001:db8::1"},
        {"4F1: client=mx[192.0.2.9], sasl_method=PLAIN, sasl_username=alice",
         "sasl_username=alice client=192.0.2.9"},
        {"imap-login: Login: user=<alice@example.net>, method=PLAIN, rip=203.0.113.200, rport=48176",
         "user=<alice@example.net> client=203.0.113.200"},
        {"rip=203.0.113.200", "client=203.0.113.200"},
        {"x rip=nobody [192.0.2.1]", "client=192.0.2.1"},
        {"smtpd[380] [192.0.2.1", "client=192.0.2.1"},  // cut
        {"from=<a b", ""},
        {"xfrom=<a>", ""},
        {"Received: from x (x [198.51.100.7]) by mx.example.net (Postfix) with ESMTPS id 5BA4ABFD for "
         "<bob@example.net>",
         "queue_id=5BA4ABFD client=198.51.100.7"},
        {"Nov 27 23:58:11 lb haproxy[99]: 198.18.1.6:6 [27/Nov/2026:23:58:11.400] smtp smtp/mg 1/0/547 626 "
         "--",
         "client=198.18.1.6"},
        {"haproxy[9]: 2001:db8::1:4000 [27/Nov/2026:23:58:11.400] smtp/1: Connection closed during handshake",
         "client=2001:db8::1"},
        {"haproxy[9]: unix:1 [27/Nov/2026:23:58:11.400] smtp", ""},
        {"2026/11/28 00:00:00 [info] 5#5: *1 client 198.18.1.6:40006 connected to 0.0.0.0:25",
         "client=198.18.1.6"},
        {"[error] 5#5: *2 upstream timed out, client: 2001:db8::7, server: [::]:25", "client=2001:db8::7"},
        {"the client [192.0.2.4] is a client of ours", "client=192.0.2.4"},
        {"lmtp(bob)<1><x>: sieve: msgid=<1@b.example>: stored mail into mailbox 'INBOX'",
         "message_id=<1@b.example>"},
        {"from x (x [198.51.100.7])\n\tby mx with LMTP\n\tid 4fXy;", "queue_id=4fXy client=198.51.100.7"},
    };
    for (const Case& one : cases)
        EXPECT_EQ(told(one.line), one.told) << one.line;
}

TEST(LoggedLine, WhereAMailWentIsTheLastServersWord) {
    EXPECT_EQ(queuedAs("250 2.0.0 Ok: queued as 6E955A72018"), "6E955A72018");
    EXPECT_EQ(queuedAs("status=sent (250 2.0.0 Ok: queued as 6E955A72018)"), "6E955A72018");
    EXPECT_EQ(queuedAs("queued as "), "");
    EXPECT_EQ(queuedAs("queued"), "");
}

TEST(LoggedLine, AddressesOfATextAreFoundOnce) {
    EXPECT_THAT(addressesIn("554 gw 192.0.2.1 is not allowed (192.0.2.1, [2001:db8::1])"),
                ElementsAre("192.0.2.1", "2001:db8::1"));
    EXPECT_THAT(addressesIn("192.0.2.1"), IsEmpty()) << "which is what was asked for";
    EXPECT_THAT(addressesIn("from 192.0.2.0/24"), IsEmpty());
    EXPECT_THAT(addressesIn("192.0.2.1:25 192.0.2.1:587 2001:db8::1:25 192.0.2.2:x"),
                ElementsAre("192.0.2.1", "2001:db8::1:25"));
}

/// Whatever stands there, in any order and cut anywhere: what is told is a part of the line.
TEST(LoggedLine, AnyLineIsRead) {
    constexpr std::string_view kPieces[] = {"postfix/smtpd[380]: ",
                                            "517C1168: ",
                                            "from=",
                                            "<a@b>",
                                            "<",
                                            ">",
                                            "[",
                                            "]",
                                            "192.0.2.1",
                                            "IPv6:",
                                            " ",
                                            ",",
                                            "=",
                                            "rip=",
                                            "::1",
                                            "message-id=",
                                            "user=",
                                            "\0",
                                            "\xC3",
                                            "queued as ",
                                            "client: ",
                                            ":25 [27/Nov/",
                                            "("};
    std::minstd_rand random(1);  // NOLINT(cert-msc32-c,cert-msc51-cpp): the same ones each time
    for (int round = 0; round < 20'000; ++round) {
        std::string line;
        for (unsigned pieces = static_cast<unsigned>(random()) % 12; pieces > 0; --pieces)
            line += kPieces[static_cast<unsigned>(random()) % std::size(kPieces)];
        const std::string_view all(line);
        const LoggedLine found = readLoggedLine(all);
        for (const std::string_view part : {found.queue_id, found.message_id, found.from, found.to,
                                            found.user, found.sasl_username, found.client, queuedAs(all)})
            ASSERT_TRUE(part.empty() ||
                        (part.data() >= all.data() && part.data() + part.size() <= all.data() + all.size()))
                << line;
        ASSERT_TRUE(found.client.empty() || isAddress(found.client)) << line;
    }
}

}  // namespace
}  // namespace mailgate::answers
