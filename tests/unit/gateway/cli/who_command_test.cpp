// SPDX-License-Identifier: Apache-2.0
#include "gateway/base/clock.h"
#include "store/backends/journal.h"
#include "tests/support/command_line.h"
#include "tests/support/journal_sample.h"

#include <gmock/gmock.h>

#include <string>
#include <vector>

namespace mailgate::cli {
namespace {

using testing::AllOf;
using testing::HasSubstr;
using testing::Not;
using testing::StartsWith;

class WhoCommandTest : public test::CommandTest {
  protected:
    /// Seven mails of one client, from alice to bob, and one back.
    WhoCommandTest() {
        store::JournalOptions options;
        options.url = "sqlite:" + folder_.file("mailgate-journal.db");
        const std::int64_t now = unixMillis();
        for (const std::uint64_t number : {1, 2, 3, 4, 5, 6, 7, 8}) {
            sessions_.push_back(
                test::sampleSession(number, now - 60'000 * static_cast<std::int64_t>(10 - number)));
            store::JournalSession& session = sessions_.back();
            session.client = test::sampleV4(0xC0000207);
            session.helo = "mail.partner.example";
            session.mail[0].from = number == 8 ? "bob@example.net" : "alice@partner.example";
            session.mail[0].recipients = {number == 8 ? "alice@partner.example" : "bob@example.net"};
            session.mail[0].message_id = std::to_string(number) + "@partner.example";
        }
        store::journal::openSink(options)->append(sessions_);
    }

    std::vector<store::JournalSession> sessions_;
};

TEST_F(WhoCommandTest, SaysAsWhatItIsKnown) {
    const test::Ran alice = run({"who", "alice@partner.example"});
    EXPECT_EQ(alice.exit_code, kDone) << alice.errors;
    EXPECT_THAT(
        alice.output,
        StartsWith(
            "a sender: 7 sessions, the newest 5: mailgate sessions --from alice@partner.example\nTIME"));
    EXPECT_THAT(alice.output,
                HasSubstr("\n\na recipient: 1 session: mailgate sessions --to alice@partner.example\nTIME"));
    EXPECT_THAT(alice.output, Not(HasSubstr("a user")));
    EXPECT_THAT(run({"who", "alice@partner.example", "--limit", "7"}).output,
                StartsWith("a sender: 7 sessions: mail"));
}

TEST_F(WhoCommandTest, OneThatIsUnderWayIsNamed) {
    control_.live[0].id = "01M8E1AVKF8GBF04XK5DZ58F3S";
    control_.live[0].client = Endpoint{*IpAddress::parse("203.0.113.60"), 4'000};
    control_.live[0].from = "l@live.example";
    startGateway();
    const std::string command = "mailgate sessions --live --client 203.0.113.60\n";
    for (const char* text : {"203.0.113.60", "L@live.example", "01m8e1avkf8gbf04xk5dz58f3s"}) {
        const test::Ran found = run({"who", text});
        EXPECT_EQ(found.exit_code, kRefusedOrNotFound);
        EXPECT_THAT(found.errors, HasSubstr("; one that is under way has it: " + command)) << text;
    }
    EXPECT_THAT(
        run({"sessions", "show", "01M8E1AVKF"}).errors,
        HasSubstr("no session in the journal has the id 01M8E1AVKF; one that is under way has: " + command));
    control_.live[0].client = Endpoint{*IpAddress::parse("192.0.2.7"), 4'000};
    const test::Ran both = run({"who", "192.0.2.7"});
    EXPECT_EQ(both.exit_code, kDone);
    EXPECT_THAT(both.errors,
                HasSubstr("note: one that is under way has \"192.0.2.7\", too: mailgate sessions "
                          "--live --client 192.0.2.7\n"));
    EXPECT_THAT(
        run({"sessions", "--from", "l@live.example"}).errors,
        HasSubstr("no session in the journal matches; one that is under way has it: mailgate sessions "
                  "--live --client 192.0.2.7\n"));
    for (const char* text : {"203.0.113.61", "01M", "nobody@live.example"})
        EXPECT_THAT(run({"who", text}).errors, Not(HasSubstr("under way"))) << text;
}

TEST_F(WhoCommandTest, WhatWaitsInMemoryIsNotInTheAnswer) {
    control_.now.journal_failure = "the disk is full";
    control_.now.journal_queued = 1;
    startGateway();
    for (const auto& words :
         {std::vector<std::string>{"who", "alice@partner.example"}, {"sessions"}, {"top"}}) {
        const test::Ran found = run(words);
        EXPECT_EQ(found.exit_code, kDone) << words[0];
        EXPECT_THAT(found.errors, HasSubstr("warning: the journal cannot be written since ")) << words[0];
        EXPECT_THAT(found.errors, HasSubstr("(the disk is full): 1 record waits in memory")) << words[0];
    }
}

TEST_F(WhoCommandTest, OfAnIdThatIsNotKeptTheClientInTheRefusalIsShown) {
    const test::Ran found = run(
        {"who", "554 5.7.1 gw.example.net 192.0.2.7 is not allowed to send [id 01M8CXRN8AARABBK9MT3E12WB3]"});
    EXPECT_EQ(found.exit_code, kDone) << found.errors;
    EXPECT_THAT(found.output, StartsWith("a client: 8 sessions, the newest 5: "));
    EXPECT_EQ(
        found.errors,
        "note: no session in the journal has that id; these are of 192.0.2.7, which stands in the text\n");
    EXPECT_EQ(run({"who", "554 gw.example.net 192.0.2.8 [id 01M8CXRN8AARABBK9MT3E12WB3]"}).exit_code,
              kRefusedOrNotFound);
}

TEST_F(WhoCommandTest, WhereClientsOfIpv6CountAsOneTheirNetworkIsNamed) {
    store::JournalSession session = test::sampleSession(9, unixMillis() - 60'000);
    session.client = IpAddress::parse("2001:db8:99:1::5")->bytes;
    store::JournalOptions options;
    options.url = "sqlite:" + folder_.file("mailgate-journal.db");
    store::journal::openSink(options)->append({&session, 1});
    const std::string told = "554 5.7.1 gw.example.net 2001:db8:99:1::46 is not allowed to use this service";
    const test::Ran found = run({"who", told + " [id 01M8CXRN8AARABBK9MT3E12WB3]"});
    EXPECT_EQ(found.exit_code, kDone) << found.errors;
    EXPECT_THAT(found.output,
                StartsWith("a client: 1 session: mailgate sessions --client 2001:db8:99:1::/64\n"));
    EXPECT_EQ(found.errors,
              "note: no session in the journal has that id; these are of 2001:db8:99:1::/64, the network of "
              "2001:db8:99:1::46, which stands in the text\n");
    const test::Ran address = run({"who", "2001:db8:99:1::46"});
    EXPECT_EQ(address.exit_code, kRefusedOrNotFound);
    EXPECT_EQ(address.errors,
              "mailgate: no session in the journal has \"2001:db8:99:1::46\" as a client or a balancer; its "
              "network has some: mailgate sessions --client 2001:db8:99:1::/64\n");
    EXPECT_THAT(run({"who", "2001:db8:99:1::46", "--here"}).errors,
                testing::EndsWith("mailgate sessions --client 2001:db8:99:1::/64 --here\n"));
    for (const char* other : {"2001:db8:99:2::46", "192.0.2.9", "2001:db8:99:2::/64"})
        EXPECT_THAT(run({"who", other}).errors, Not(HasSubstr("network has"))) << other;
}

TEST_F(WhoCommandTest, TakesTheRefusalsOfAllProtocols) {
    const std::string id = sessions_[3].id;
    for (const std::string& text :
         {"-ERR [AUTH] 192.0.2.7 is not allowed to use this service (" + id + ")",
          "* BYE [CONTACTADMIN] 192.0.2.7 is not allowed to use this service (" + id + ")", "(" + id + ")"}) {
        const test::Ran found = run({"who", text, "--limit", "2"});
        EXPECT_THAT(found.output, StartsWith("a session: 1 session: mailgate sessions show " + id + "\n"))
            << text << found.errors;
    }
    EXPECT_THAT(run({"who", "-ERR x"}).errors, HasSubstr("has \"-ERR x\" as"));
    EXPECT_EQ(run({"who", "-X"}).exit_code, kUsage);
}

TEST_F(WhoCommandTest, OfAMailThatIsNotKeptTheClientInItsHeaderIsShown) {
    const std::string header = "Received: from x ([192.0.2.7]) by other.example with ESMTP id ";
    EXPECT_EQ(
        run({"who", header + "NOTHERE1"}).errors,
        "note: no session in the journal has the text; these are of 192.0.2.7, which stands in the text\n");
    EXPECT_EQ(run({"who", header + sessions_[2].mail[0].queue_id}).errors, "");
}

TEST_F(WhoCommandTest, TakesWhateverNamesASession) {
    const auto first = [this](const std::string& text) {
        const std::string output = run({"who", text}).output;
        return output.substr(0, output.find(':'));
    };
    EXPECT_EQ(first("<3@partner.example>"), "a Message-ID");
    EXPECT_EQ(first("Message-ID: <3@partner.example>"), "a Message-ID");
    EXPECT_EQ(first(sessions_[2].mail[0].queue_id), "a queue id");
    EXPECT_EQ(first(sessions_[2].id.substr(0, 16)), "a session");
    EXPECT_EQ(first("192.0.2.0/24"), "a client");
    EXPECT_EQ(first("mail.partner.example"), "a HELO name");
    EXPECT_EQ(first("@example.net"), "a sender");
}

TEST_F(WhoCommandTest, JsonHasTheSessionsOfEachMeaning) {
    const std::string json = run({"who", "<3@partner.example>", "--json"}).output;
    EXPECT_THAT(
        json,
        AllOf(StartsWith("{\"asked\":\"<3@partner.example>\",\"meanings\":[\n{\"meaning\":\"message_id\","),
              HasSubstr("\"found\":1,\"more\":false,\"sessions\":[\n{\"time\":"),
              HasSubstr(sessions_[2].id)));
}

TEST_F(WhoCommandTest, ThatNobodyIsMeantIsSaidInWords) {
    const test::Ran none = run({"who", "carol@example.org\x1B"});
    EXPECT_EQ(none.exit_code, kRefusedOrNotFound);
    EXPECT_EQ(none.output, "");
    EXPECT_EQ(
        none.errors,
        "mailgate: no session in the journal has \"carol@example.org\\u001b\" as a Message-ID, a sender, a "
        "recipient or a user\n");
    EXPECT_THAT(
        run({"who", "other.example"}).errors,
        HasSubstr(
            "as a queue id, a Message-ID, a user, a sender's domain, a recipient's domain or a HELO name"));
    EXPECT_EQ(run({"who", ""}).exit_code, kUsage);
    EXPECT_EQ(run({"who"}).exit_code, kUsage);
    EXPECT_EQ(run({"who", "192.0.2.7", "--since", "1m"}).exit_code, kRefusedOrNotFound);
    EXPECT_THAT(run({"who", "carol", "--json"}).output, HasSubstr("\"meanings\":[]"));
}

}  // namespace
}  // namespace mailgate::cli
