// SPDX-License-Identifier: Apache-2.0
#include "gateway/cli/would_refuse.h"

#include "tests/support/journal_sample.h"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <sstream>

namespace mailgate::cli {
namespace {

std::string textOf(const WouldRefuse& report, std::size_t limit) {
    return report.asText("all of them", limit, TableStyle(), Times(Zone::Utc));
}

using store::JournalSession;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Not;
using testing::SizeIs;
using testing::StartsWith;

constexpr std::int64_t kReportNow = 1'795'000'000'000;

/// With one mail that the server took.
JournalSession watched(const AddressBytes& client, const std::string& sender,
                       const std::string& reason = "access") {
    JournalSession session = test::sampleSession(1, kReportNow);
    session.client = client;
    session.listener = "mx";
    session.rule.clear();
    session.allowed = reason != "access";
    session.mail.front().from = sender;
    session.would_refuse = {reason};
    return session;
}
JournalSession watched(std::uint32_t client, const std::string& sender,
                       const std::string& reason = "access") {
    return watched(test::sampleV4(client), sender, reason);
}
constexpr std::uint32_t kAcme = 0xC6336400;   // 198.51.100.0
constexpr std::uint32_t kOther = 0xCB007100;  // 203.0.113.0

std::vector<std::string> commandsFor(std::initializer_list<JournalSession> sessions) {
    WouldRefuse report;
    for (const JournalSession& session : sessions)
        report.add(session);
    return report.heaviest(1).at(0)->commands();
}

TEST(WouldRefuseReport, CountsByNetworkAndSender) {
    WouldRefuse report;
    for (std::uint32_t host = 1; host <= 3; ++host)
        report.add(watched(kAcme + host, host < 3 ? "billing@acme.example" : "news@acme.example"));
    JournalSession spam = watched(kOther + 9, "x@spam.example");
    spam.mail.front().accepted = false;
    for (int times = 0; times < 5; ++times)
        report.add(spam);
    report.add(watched(test::sampleV6(5, 1), ""));
    report.add(watched(test::sampleV6(5, 2), ""));
    EXPECT_EQ(report.sessions(), 10U);
    EXPECT_EQ(report.networks(), 3U);
    const auto sorted = report.heaviest(10);
    EXPECT_EQ(sorted[0]->network.toString(), "198.51.100.0/24") << "whose mail was taken is what matters";
    EXPECT_EQ(sorted[0]->sessions, 3U);
    EXPECT_EQ(sorted[0]->accepted, 3U);
    EXPECT_THAT(sorted[0]->clients, SizeIs(3));
    EXPECT_THAT(sorted[0]->heaviestSenders(2),
                ElementsAre(std::pair("billing@acme.example", 2U), std::pair("news@acme.example", 1U)));
    EXPECT_EQ(sorted[1]->network.toString(), "2001:db8:5::/56");
    EXPECT_EQ(sorted[2]->network.toString(), "203.0.113.0/24");
    EXPECT_EQ(sorted[2]->accepted, 0U);
    EXPECT_EQ(sorted[2]->mails, 5U);
    EXPECT_THAT(report.heaviest(1), SizeIs(1));
}

TEST(WouldRefuseReport, SessionsThatWouldHaveBeenServedAreNotInIt) {
    WouldRefuse report;
    JournalSession session = watched(kAcme + 1, "a@b.example");
    session.would_refuse.clear();
    report.add(session);
    EXPECT_EQ(report.sessions(), 0U);
}

TEST(WouldRefuseReport, WhatTheJournalHasMaskedStaysANetwork) {
    JournalSession v4 = watched(kAcme, "a@acme.example"),
                   v6 = watched(test::sampleV6(5, 0), "b@acme.example");
    v4.client_masked = v6.client_masked = true;
    EXPECT_THAT(commandsFor({v4}),
                ElementsAre("mailgate access allow 198.51.100.0/24 --listener mx --note 'from "
                            "a@acme.example'"));
    EXPECT_THAT(commandsFor({v6}), ElementsAre(StartsWith("mailgate access allow 2001:db8:5::/48 ")));
}

TEST(WouldRefuseReport, OneClientIsLetInAloneAndSeveralAsTheirNetwork) {
    EXPECT_THAT(commandsFor({watched(kAcme + 7, "a@acme.example"), watched(kAcme + 7, "a@acme.example")}),
                ElementsAre("mailgate access allow 198.51.100.7 --listener mx --note 'from a@acme.example'"));
    JournalSession submission = watched(kAcme + 8, "");
    submission.listener = "submission";
    submission.mail.clear();
    JournalSession mx = watched(kAcme + 7, "");
    mx.mail.clear();
    EXPECT_THAT(commandsFor({mx, submission}),
                ElementsAre("mailgate access allow 198.51.100.7 --listener mx",
                            "mailgate access allow 198.51.100.8 --listener submission"))
        << "one on each";
    JournalSession neighbour = mx, there = submission;
    neighbour.client = submission.client;
    there.client = mx.client;
    EXPECT_THAT(commandsFor({mx, neighbour, submission, there}),
                ElementsAre("mailgate access allow 198.51.100.0/24 --listener mx --listener submission"));
    JournalSession limited = submission;
    limited.listener = "mx";
    limited.would_refuse = {"too_many"};
    limited.limit = "client_rate";
    EXPECT_THAT(commandsFor({mx, limited}),
                ElementsAre("mailgate access allow 198.51.100.7 --listener mx",
                            "mailgate access allow 198.51.100.8 --listener mx --client-rate 0"));
}

TEST(WouldRefuseReport, ADenyRuleIsOverriddenByAMoreSpecificOneOnly) {
    JournalSession session = watched(kAcme + 7, "");
    session.mail.clear();
    session.rule = "198.51.100.0/24";
    EXPECT_THAT(commandsFor({session}), ElementsAre("mailgate access allow 198.51.100.7 --listener mx"));
    JournalSession neighbour = session;
    neighbour.client = test::sampleV4(kAcme + 8);
    EXPECT_THAT(commandsFor({session, neighbour}),
                ElementsAre("# a rule denies 198.51.100.0/24 on listener mx: mailgate access list --match "
                            "198.51.100.0"));
    session.rule = "198.51.100.7";
    EXPECT_THAT(
        commandsFor({session}),
        ElementsAre(
            "# a rule denies 198.51.100.7 on listener mx: mailgate access list --match 198.51.100.7"));
}

TEST(WouldRefuseReport, EachReasonHasItsRemedy) {
    JournalSession limit = watched(kAcme + 7, "", "too_many");
    limit.mail.clear();
    limit.limit = "client_sessions";
    JournalSession rate = limit;
    rate.limit = "client_rate";
    EXPECT_THAT(commandsFor({limit, rate}),
                ElementsAre("mailgate access allow 198.51.100.7 --listener mx --client-rate "
                            "0 --client-sessions 0"));
    JournalSession bare_lf = watched(kAcme + 7, "", "bare_lf");
    bare_lf.mail.clear();
    EXPECT_THAT(
        commandsFor({bare_lf}),
        ElementsAre("# bare_lf: in the configuration, listener mx: bare_lf_exclude = [\"198.51.100.7\"], or "
                    "bare_lf = \"normalize\""));
    JournalSession other = watched(kAcme + 7, "", "something_new");
    other.mail.clear();
    EXPECT_THAT(commandsFor({other}), ElementsAre("# something_new: no rule lets them in"));
}

// A rule beside it would be for good where the one that is there expires, and its note would be another.
TEST(WouldRefuseReport, ALimitIsThatOfTheRuleWhichHasIt) {
    JournalSession limited = watched(kAcme + 7, "a@acme.example", "too_many");
    limited.limit = "client_sessions";
    limited.rule = "198.51.100.0/28";
    JournalSession rate = limited;
    rate.limit = "client_rate";
    WouldRefuse report;
    report.add(limited);
    report.add(rate);
    const auto commands = [&] { return report.heaviest(1).at(0)->commands(); };
    EXPECT_THAT(
        commands(),
        ElementsAre("# client_rate: no rule for 198.51.100.0/28 is in force on listener mx any more",
                    "# client_sessions: no rule for 198.51.100.0/28 is in force on listener mx any more"));
    store::AccessRule rule;
    rule.network = std::get<Network>(parseNetwork("198.51.100.0/28"));
    EXPECT_THAT(report.limitingNetworks(), ElementsAre(rule.network));
    rule.verdict = store::Verdict::Allow;
    rule.set = "acme";
    report.addLimiting(rule);
    EXPECT_THAT(commands(), ElementsAre("mailgate access allow 198.51.100.0/28 --set acme --client-rate 0 "
                                        "--client-sessions 0"));
    rule.listener = "imap";
    report.addLimiting(rule);
    rule.listener = "mx";
    rule.set = "manual";
    rule.name = "host:home.example";
    report.addLimiting(rule);
    EXPECT_THAT(commands(),
                ElementsAre("mailgate access allow host:home.example --listener mx --client-rate 0 "
                            "--client-sessions 0"));
}

TEST(WouldRefuseReport, NobodyIsProposedWhomTheRulesLetInByNowOrWhoseListenerIsGone) {
    const auto reported = [](const WouldRefuse::Admits& admits) {
        WouldRefuse report;
        report.add(watched(kAcme + 7, "billing@acme.example"));
        report.add(watched(kAcme + 8, "billing@acme.example"));
        report.add(watched(kAcme + 8, "billing@acme.example", "bare_lf"));
        report.settle(admits);
        return report;
    };
    const auto nobody = reported([](const Network&, const std::string&) { return false; });
    EXPECT_THAT(
        nobody.heaviest(1)[0]->commands(),
        ElementsAre(HasSubstr("access allow 198.51.100.0/24 --listener mx "), HasSubstr("# bare_lf")));
    const auto one = reported([](const Network& client, const std::string&) {
        return client.address == test::sampleV4(kAcme + 8);
    });
    EXPECT_THAT(one.heaviest(1)[0]->commands(),
                ElementsAre(HasSubstr("access allow 198.51.100.7 --listener mx "), HasSubstr("# bare_lf")));
    const auto gone = reported([](const Network&, const std::string&) { return std::nullopt; });
    EXPECT_THAT(gone.heaviest(1)[0]->commands(), IsEmpty());
    const std::string text = textOf(gone, 1);
    EXPECT_THAT(text, testing::ContainsRegex("\n# 198.51.100.0/24 +mx +3 "));
    EXPECT_THAT(text, HasSubstr("\n# None of them would be refused any more.\n"));
}

TEST(WouldRefuseReport, NothingThatAClientSentReachesAShellOrATerminal) {
    for (const char* hostile :
         {"$(touch owned)@x", "`id`@x", "a';rm -rf ~;'@x", "a\nmailgate access allow 0.0.0.0/0",
          "a\x1B[2Jb@x", "\xff\xfe@x", "a b@x", "!!@x", "x\"y@x"}) {
        WouldRefuse report;
        report.add(watched(kAcme + 7, hostile));
        EXPECT_THAT(report.heaviest(1)[0]->commands(),
                    ElementsAre("mailgate access allow 198.51.100.7 --listener mx"))
            << hostile;
        for (const std::string& text : {textOf(report, 10), report.asJson(10, 0, kReportNow)}) {
            EXPECT_THAT(text, Not(HasSubstr("\x1B")));
            EXPECT_THAT(text, Not(HasSubstr("\nmailgate access allow 0.0.0.0/0")));
        }
        std::istringstream as_file(textOf(report, 10));
        for (std::string line; std::getline(as_file, line);)
            EXPECT_THAT(line, testing::AnyOf("", StartsWith("#"),
                                             "mailgate access allow 198.51.100.7 --listener mx"));
    }
}

TEST(WouldRefuseReport, IsBoundedForEachNetwork) {
    WouldRefuse report;
    for (std::uint32_t number = 0; number < 1'000; ++number) {
        report.add(watched(kAcme + number % 256, fmt::format("bounce-{}@list.example", number)));
        report.add(watched(test::sampleV6(5, static_cast<std::uint16_t>(number)), ""));
    }
    const auto sorted = report.heaviest(10);
    for (const WouldRefuseNetwork* network : sorted) {
        EXPECT_LE(network->senders.size(), WouldRefuseNetwork::kMaxSenders);
        EXPECT_LE(network->clients.size(), WouldRefuseNetwork::kMaxClients);
        EXPECT_EQ(network->sessions, 1'000U);
    }
    EXPECT_EQ(sorted[0]->other_mails, 1'000U - WouldRefuseNetwork::kMaxSenders);
    EXPECT_THAT(textOf(report, 10), HasSubstr("over 253 more"));
}

TEST(WouldRefuseReport, IsATableWithTheCommandsBelow) {
    WouldRefuse report;
    report.add(watched(kAcme + 7, "billing@acme.example"));
    report.add(watched(kOther + 7, "x@other.example"));
    const std::string text = textOf(report, 1);
    EXPECT_THAT(text, StartsWith("# all of them\n#\n# NETWORK"));
    EXPECT_THAT(text,
                testing::ContainsRegex("198.51.100.0/24 +mx +1 +1 +1 +1 +access 1 +2026-11-18T[0-9:]+Z +"
                                       "<billing@acme.example> 1\n"));
    EXPECT_THAT(text, HasSubstr("and 1 more network (--limit)\n"));
    EXPECT_THAT(
        text,
        HasSubstr("\n# To let them in:\n\nmailgate access allow 198.51.100.7 --listener mx --note 'from "
                  "billing@acme.example'\n"));
    EXPECT_THAT(text, Not(HasSubstr("203.0.113")));
}

TEST(WouldRefuseReport, IsOneObjectOfJson) {
    WouldRefuse report;
    EXPECT_EQ(report.asJson(10, 0, 1'000),
              "{\"since\":\"1970-01-01T00:00:00Z\",\"until\":\"1970-01-01T00:00:01Z\",\"sessions\":0,"
              "\"network_count\":0,\"networks\":[]}\n");
    JournalSession masked = watched(kAcme + 7, "a@acme.example");
    masked.would_refuse.emplace_back("bare_lf");
    report.add(masked);
    const std::string json = report.asJson(10, 0, kReportNow);
    EXPECT_THAT(
        json,
        HasSubstr("{\"network\":\"198.51.100.0/24\",\"listeners\":[\"mx\"],\"sessions\":1,\"clients\":1,"
                  "\"mails\":1,\"mails_accepted\":1,\"last\":\"2026-11-18T"));
    EXPECT_THAT(
        json,
        HasSubstr("\"reasons\":{\"access\":1,\"bare_lf\":1},\"senders\":[{\"sender\":\"a@acme.example\","
                  "\"mails\":1}],\"commands\":[\"mailgate access allow 198.51.100.7 --listener mx"));
    EXPECT_THAT(json, HasSubstr("\",\"# bare_lf: in the configuration, listener mx: bare_lf_exclude = "
                                "[\\\"198.51.100.7\\\"]"));
}

}  // namespace
}  // namespace mailgate::cli
