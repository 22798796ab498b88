// SPDX-License-Identifier: Apache-2.0
#include "gateway/answers/meanings.h"

#include <gtest/gtest.h>

#include <string>

namespace mailgate::answers {
namespace {

/// The names of what it may mean.
std::string namesOf(std::string_view text) {
    std::string names;
    for (const Meaning& meaning : meaningsOf(text))
        names.append(names.empty() ? "" : " ").append(meaning.name);
    return names;
}

TEST(MeaningsTest, AreTheLikelyOnesOfAText) {
    EXPECT_EQ(namesOf("192.0.2.7"), "client balancer");
    EXPECT_EQ(namesOf("2001:db8::/32"), "client balancer");
    EXPECT_EQ(namesOf("alice@example.net"), "message_id from to user");
    EXPECT_EQ(namesOf(" <20261125.1@x> "), "message_id from to user");
    EXPECT_EQ(namesOf("Message-ID: <20261125.1@x>"), "message_id");
    EXPECT_EQ(namesOf("@example.net"), "from to");
    EXPECT_EQ(namesOf("<>"), "from");
    EXPECT_EQ(namesOf("01M7Z3RQRF9RDWPG"), "session queue_id message_id user helo");
    EXPECT_EQ(namesOf("C15B6A82298"), "queue_id message_id user helo") << "no time begins like that";
    EXPECT_EQ(namesOf("4fXyLo2z1tz9vNw"), "queue_id message_id user helo") << "no U, L, I, O in our ids";
    EXPECT_EQ(namesOf("alice"), "queue_id message_id user helo");
    EXPECT_EQ(namesOf("partner.example"), "queue_id message_id user from to helo");
    EXPECT_EQ(namesOf(""), "");
    EXPECT_EQ(namesOf(" \t"), "");
}

TEST(MeaningsTest, AreOfWhatIsInAPastedText) {
    const std::string id = "01M8CENTASCGNCQ9XGZQ0SF4DH";
    for (const std::string& text :
         {"554 5.7.1 gw.example.net 203.0.113.200 is not allowed to use this service [id " + id + "]",
          "[id " + id + "]", id + "]", id})
        EXPECT_EQ(meaningsOf(text)[0].session_id, id) << text;
    for (const char* text : {"203.0.113.200:40000", "unknown[203.0.113.200]:40000", "[203.0.113.200]",
                             "client=mail.example[203.0.113.200]"})
        EXPECT_EQ(meaningsOf(text)[0].command, "mailgate sessions --client 203.0.113.200") << text;
    EXPECT_EQ(meaningsOf("[2001:db8::1]:25")[0].command, "mailgate sessions --client 2001:db8::1");
    EXPECT_EQ(meaningsOf("2001:db8::1:25")[0].command, "mailgate sessions --client 2001:db8::1:25");
    EXPECT_EQ(namesOf("[203.0.113.200]"), "client balancer helo");
    EXPECT_EQ(meaningsOf("[203.0.113.200]").back().filter.helo, "[203.0.113.200]");
    EXPECT_EQ(namesOf("unknown[203.0.113.200]"), "client balancer");
    for (const char* text : {"IPv6:2001:db8::1", "[IPv6:2001:db8::1]", "x[ipv6:2001:db8::1]:25"})
        EXPECT_EQ(meaningsOf(text)[0].command, "mailgate sessions --client 2001:db8::1") << text;
    EXPECT_EQ(meaningsOf("250 2.0.0 Ok: queued as 94B2DA7E11B")[0].filter.queue_id, "94B2DA7E11B");
    EXPECT_EQ(meaningsOf("Ok: queued as 94B2DA7E11B (x)")[0].filter.queue_id, "94B2DA7E11B");
    const auto sent = meaningsOf(
        "Nov 27 11:37:44 mx postfix/smtp[380]: 517C1168: to=<bob@example.net>, "
        "relay=mx.example.net[192.0.2.25]:25, "
        "status=sent (250 2.0.0 Ok: queued as 94B2DA7E11B)");
    ASSERT_GE(sent.size(), 2u);
    EXPECT_EQ(sent[0].filter.queue_id, "517C1168");
    EXPECT_EQ(sent[1].filter.queue_id, "94B2DA7E11B");
    EXPECT_EQ(meaningsOf("94B2DA7E11B:")[0].filter.queue_id, "94B2DA7E11B");
    EXPECT_EQ(meaningsOf("message-id=<1@partner.example>")[0].filter.message_id, "1@partner.example");
    EXPECT_EQ(meaningsOf("id 01M8DZABCDEFGHJKMNPQRSTVWX")[0].session_id, "01M8DZABCDEFGHJKMNPQRSTVWX");
    EXPECT_EQ(meaningsOf("2001:db8::")[0].command, "mailgate sessions --client 2001:db8::");
    EXPECT_EQ(meaningsOf("Bob <bob@example.net>")[1].command, "mailgate sessions --from bob@example.net");
    for (const Meaning& login : meaningsOf("--since"))
        EXPECT_NE(login.command.find("=--since"), std::string::npos) << "no option of its own";
    for (const std::string& text :
         {"* BYE [CONTACTADMIN] 203.0.113.200 is not allowed to use this service (" + id + ")",
          "-ERR [AUTH] 203.0.113.200 is not allowed to use this service (" + id + ")",
          "BYE \"203.0.113.200 is not allowed (" + id + ")\"", "(" + id + ")", "session=" + id,
          "{\"time\":\"2026-11-26T11:39:21.112Z\",\"event\":\"session.end\",\"session\":\"" + id +
              "\",\"client\":\"203.0.113.200\"}"})
        EXPECT_EQ(meaningsOf(text)[0].session_id, id) << text;
    EXPECT_EQ(meaningsOf("<" + id + "@partner.example>")[0].name, "message_id");
    EXPECT_EQ(meaningsOf("250 Ok: queued as " + id)[1].filter.queue_id, id);
    EXPECT_EQ(meaningsOf("<b>x</b>").back().filter.helo, "<b>x</b>") << "as --helo has it";
}

TEST(MeaningsTest, AreOfTheIdsAndAddressesInALineOfALog) {
    const std::string smtpd =
        "Nov 27 11:37:44 mx postfix/smtpd[380]: 517C1168: client=unknown[198.51.100.7]:55865";
    EXPECT_EQ(namesOf(smtpd), "queue_id client");
    EXPECT_EQ(meaningsOf(smtpd)[0].filter.queue_id, "517C1168");
    EXPECT_EQ(meaningsOf(smtpd)[1].command, "mailgate sessions --client 198.51.100.7");
    EXPECT_TRUE(meaningsOf(smtpd)[1].is_slow) << "a relay has thousands of them";
    const std::string gone =
        "Nov 27 11:40:01 mx postfix/smtpd[391]: disconnect from unknown[198.51.100.8]:39947 ehlo=1 quit=1";
    EXPECT_EQ(namesOf(gone), "client");
    EXPECT_FALSE(meaningsOf(gone)[0].is_slow);
    const std::string qmgr =
        "mx postfix/qmgr[267]: 517C1168: from=<alice@partner.example>, size=436, nrcpt=1 (queue active)";
    EXPECT_EQ(namesOf(qmgr), "queue_id from");
    EXPECT_EQ(meaningsOf(qmgr)[1].filter.from, "alice@partner.example");
    EXPECT_EQ(namesOf("mx postfix/cleanup[9]: 517C1168: message-id=<1@partner.example>"),
              "queue_id message_id");
    EXPECT_EQ(namesOf("from=<carol@partner.example>"), "from");
    EXPECT_EQ(meaningsOf("to=<bob@example.net>, relay=virtual")[0].filter.to, "bob@example.net");
    const std::string login =
        "dovecot: imap-login: Login: user=<alice@example.net>, method=PLAIN, rip=203.0.113.200, rport=48176";
    EXPECT_EQ(namesOf(login), "user client");
    EXPECT_EQ(meaningsOf(login)[0].filter.user, "alice@example.net");
    EXPECT_EQ(meaningsOf("rip=203.0.113.200")[0].command, "mailgate sessions --client 203.0.113.200");
    EXPECT_EQ(meaningsOf("user=<alice>")[0].filter.user, "alice");
    const std::string haproxy =
        "Nov 27 23:58:11 lb haproxy[99]: 198.18.1.6:6 [27/Nov/2026:23:58:11.400] smtp smtp/mg 1/0/547 626 --";
    EXPECT_EQ(namesOf(haproxy), "client");
    EXPECT_EQ(meaningsOf(haproxy)[0].command, "mailgate sessions --client 198.18.1.6");
    EXPECT_EQ(namesOf("lmtp(bob)<1><x>: sieve: msgid=<1@partner.example>: stored mail into mailbox 'INBOX'"),
              "message_id");
    EXPECT_EQ(namesOf("NOQUEUE: reject: RCPT from unknown[198.51.100.7]: 554 5.7.1"), "client");
}

TEST(MeaningsTest, NameTheCommandThatAsksForIt) {
    EXPECT_EQ(meaningsOf("192.0.2.7")[0].command, "mailgate sessions --client 192.0.2.7");
    EXPECT_EQ(meaningsOf("<>")[0].command, "mailgate sessions --from '<>'");
    EXPECT_EQ(meaningsOf("01M7Z3RQRF9RDWPG")[0].command, "mailgate sessions show 01M7Z3RQRF9RDWPG");
    EXPECT_EQ(meaningsOf("o'neil@x; rm -rf")[1].command, "mailgate sessions --from 'o'\\''neil@x; rm -rf'");
    const Meaning beyond = meaningsOf("j\u00FCrgen@b\u00FCcher.example")[1];
    EXPECT_EQ(beyond.command, "mailgate sessions --from 'j\u00FCrgen@b\u00FCcher.example'");
    EXPECT_EQ(beyond.ascii_command, "mailgate sessions --from $'j\\303\\274rgen@b\\303\\274cher.example'");
    EXPECT_EQ(meaningsOf("192.0.2.7")[0].ascii_command, "mailgate sessions --client 192.0.2.7");
}

TEST(MeaningsTest, AShellTakesAWordForOneWhateverIsInIt) {
    EXPECT_EQ(shellWord("mx-1.example"), "mx-1.example");
    EXPECT_EQ(shellWord(""), "''");
    EXPECT_EQ(shellWord("a b"), "'a b'");
    EXPECT_EQ(shellWord("it's $(x)"), "'it'\\''s $(x)'");
    EXPECT_EQ(shellWord("a\n;b"), "$'a\\012\\073b'");
    EXPECT_EQ(shellWord("\x1B[31m'$(x)\\"), "$'\\033\\13331m\\047\\044\\050x\\051\\134'")
        << "not even the shell that takes $ for itself leaves the quotes";
    EXPECT_EQ(shellWord("\u202Ex"), "$'\\342\\200\\256x'") << "no screen shows it as it is";
    EXPECT_EQ(shellWord("\xFFx"), "$'\\377x'");
    EXPECT_EQ(shellWord("b\u00FCcher"), "'b\u00FCcher'");
    EXPECT_EQ(asciiShellWord("b\u00FCcher"), "$'b\\303\\274cher'");
    EXPECT_EQ(asciiShellWord("a b"), "'a b'");
}

TEST(MeaningsTest, TheFilterIsWhatThatOptionAsksFor) {
    const auto meanings = meaningsOf("<alice@example.net>");
    EXPECT_EQ(meanings[0].filter.message_id, "alice@example.net");
    EXPECT_EQ(meanings[1].filter.from, "alice@example.net");
    EXPECT_EQ(meanings[2].filter.to, "alice@example.net");
    EXPECT_EQ(meanings[3].filter.user, "alice@example.net");
    EXPECT_FALSE(meanings[1].filter.to);
    EXPECT_TRUE(meaningsOf("alice").back().isSlowFor(false));
    const auto of_address = meaningsOf("192.0.2.7");
    EXPECT_FALSE(of_address[1].isSlowFor(false));
    EXPECT_TRUE(of_address[1].isSlowFor(true)) << "a fleet's database has no index of balancers";
    EXPECT_FALSE(of_address[0].isSlowFor(true));
    EXPECT_EQ(meaningsOf("partner.example")[3].filter.from, "@partner.example");
    EXPECT_EQ(meaningsOf("partner.example")[4].command, "mailgate sessions --to @partner.example");
}

}  // namespace
}  // namespace mailgate::answers
