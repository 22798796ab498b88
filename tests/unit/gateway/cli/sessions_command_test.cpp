// SPDX-License-Identifier: Apache-2.0
#include "gateway/base/clock.h"
#include "store/backends/journal.h"
#include "tests/support/command_line.h"
#include "tests/support/journal_sample.h"

#include <gmock/gmock.h>

#include <array>
#include <cstdlib>
#include <string>
#include <vector>

namespace mailgate::cli {
namespace {

using test::Ran;
using testing::AllOf;
using testing::ElementsAre;
using testing::EndsWith;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Not;
using testing::StartsWith;

class SessionsCommandTest : public test::CommandTest {
  protected:
    /// A mail, a login that failed and a refusal, of an hour, two hours and three hours ago.
    SessionsCommandTest() {
        constexpr std::int64_t kHour = 3'600'000;
        mail_ = test::sampleSession(1, unixMillis() - kHour);
        mail_.client = test::sampleV4(0xC0000207);
        mail_.mail[0].message_id = "1@partner.example";
        login_ = test::sampleSession(2, unixMillis() - 2 * kHour);
        login_.listener = login_.protocol = "imap";
        login_.mail.clear();
        login_.mail_count = 0;
        login_.failed_logins = 1;
        login_.failed_users = {"alice"};
        refused_ = test::sampleRefusal(3, unixMillis() - 3 * kHour);
    }
    void journal() const {
        store::JournalOptions options;
        options.url = "sqlite:" + folder_.file("mailgate-journal.db");
        store::journal::openSink(options)->append(std::array{refused_, login_, mail_});
    }
    Ran sessions(std::vector<std::string> words) const {
        words.insert(words.begin(), "sessions");
        return run(std::move(words));
    }
    /// Which of them are printed: "mail login refused", in their order.
    std::string found(std::vector<std::string> words) const {
        words.emplace_back("--json");
        const Ran done = sessions(std::move(words));
        EXPECT_EQ(done.exit_code, done.output.empty() ? kRefusedOrNotFound : kDone) << done.errors;
        std::string names;
        for (std::size_t from = 0, end; (end = done.output.find('\n', from)) != std::string::npos;
             from = end + 1) {
            const std::string line = done.output.substr(from, end - from);
            if (line.find("sessions.cut") != std::string::npos) {
                names += " and more";
                break;
            }
            const std::string name = line.find(mail_.id) != std::string::npos    ? "mail"
                                     : line.find(login_.id) != std::string::npos ? "login"
                                                                                 : "refused";
            names += (names.empty() ? "" : " ") + name;
        }
        return names;
    }

    store::JournalSession mail_, login_, refused_;
};

TEST_F(SessionsCommandTest, PrintsThoseThatAreAskedForTheNewestLast) {
    journal();
    EXPECT_EQ(found({}), "refused login mail");
    EXPECT_EQ(found({"--limit", "2"}), "login mail and more");
    EXPECT_EQ(found({"--client", "192.0.2.0/24"}), "mail");
    EXPECT_EQ(found({"--end", refused_.end}), "refused");
    EXPECT_EQ(found({"--end", "refused: " + refused_.end + " (3 times)"}), "refused")
        << "as the column has it";
    EXPECT_EQ(found({"--end", "refused: client_quit"}), "");
    EXPECT_EQ(found({"--from", "<" + mail_.mail[0].from + ">"}), "mail");
    EXPECT_EQ(found({"--to", mail_.mail[0].recipients[0]}), "mail");
    EXPECT_EQ(found({"--queue-id", mail_.mail[0].queue_id}), "mail");
    EXPECT_EQ(found({"--message-id", "<1@Partner.example>"}), "mail");
    EXPECT_EQ(found({"--message-id", "1@partner.example"}), "mail");
    EXPECT_EQ(found({"--message-id", "2@partner.example"}), "");
    EXPECT_EQ(found({"--user", "alice"}), "login");
    EXPECT_EQ(found({"--failed-logins"}), "login");
    EXPECT_EQ(found({"--listener", "imap"}), "login");
    EXPECT_EQ(found({"--refused"}), "refused");
    EXPECT_EQ(found({"--verdict", "deny"}), "refused");
    EXPECT_EQ(found({"--verdict", "allow"}), "login mail");
    EXPECT_EQ(found({"--since", "150m"}), "login mail");
    EXPECT_EQ(found({"--since", "150m", "--until", "90m"}), "login");
    EXPECT_EQ(found({"--server", "postfix/" + mail_.server, "--listener", "smtp"}), "mail");
    EXPECT_EQ(found({"--from", "<>"}), "") << "nobody sent that";
}

TEST_F(SessionsCommandTest, ThatNoneIsFoundIsSaidInWords) {
    journal();
    EXPECT_THAT(sessions({}).output, HasSubstr("192.0.2.7"));
    const Ran none = sessions({"--client", "203.0.113.9"});
    EXPECT_EQ(none.exit_code, kRefusedOrNotFound);
    EXPECT_EQ(none.output, "");
    EXPECT_THAT(none.errors, AllOf(StartsWith("mailgate: no session"), EndsWith("\n")));
    EXPECT_EQ(
        sessions({"--from", "bob"}).errors,
        "mailgate: no session in the journal matches: --from bob is no whole address: expected one such as "
        "bob@example.net, or a domain such as @example.net\n");
    EXPECT_THAT(sessions({"--to", "partner.example"}).errors,
                HasSubstr("bob@partner.example, or a domain such as @partner.example\n"));
    EXPECT_EQ(sessions({"--from", "bob@partner.example"}).errors,
              "mailgate: no session in the journal matches\n");
}

TEST_F(SessionsCommandTest, ARefusalIsShownWithTheRuleAsItIsNow) {
    refused_.rule = "203.0.113.128/25";
    refused_.rule_id = 1;
    journal();
    const auto story = [&] { return sessions({"show", refused_.id}).output; };
    EXPECT_THAT(story(), HasSubstr("(id 1)\n")) << "there are no rules";
    EXPECT_THAT(story(),
                HasSubstr("rule 1     is no longer there (mailgate access history 203.0.113.128/25)\n"));
    EXPECT_EQ(run({"access", "deny", "203.0.113.128/25", "--set", "spam", "--note", "snowshoe"}).exit_code,
              kDone);
    EXPECT_THAT(
        story(),
        HasSubstr("(id 1)\n  rule 1     deny 203.0.113.128/25 on all listeners, set spam, \"snowshoe\"\n"));
    EXPECT_EQ(
        run({"access", "deny", "203.0.113.128/25", "--set", "spam", "--expires", "2999-01-01T00:00:00Z"})
            .exit_code,
        kDone);
    ::setenv("TZ", "Asia/Kathmandu", 1);
    EXPECT_THAT(story(), HasSubstr("expires 2999-01-01T05:45:00+05:45\n"));
    EXPECT_THAT(sessions({"show", refused_.id, "--utc"}).output, HasSubstr("expires 2999-01-01T00:00:00Z\n"));
    ::unsetenv("TZ");
}

TEST_F(SessionsCommandTest, OneThatWasAdmittedIsShownWithTheRuleThatStillDoesThat) {
    EXPECT_EQ(run({"access", "allow", "192.0.2.0/24", "--ticket", "SEC-7"}).exit_code, kDone);
    mail_ = test::sampleSession(4, unixMillis() + 60'000);
    mail_.client = test::sampleV4(0xC0000207);
    mail_.rule = "192.0.2.0/24";
    login_.client = mail_.client;
    login_.listener = "smtp";
    login_.rule = mail_.rule;
    journal();
    const auto story = [&](const std::string& id) { return sessions({"show", id}).output; };
    EXPECT_THAT(story(mail_.id), HasSubstr("allow by rule 192.0.2.0/24 (id 1)\n  rule 1 "));
    EXPECT_THAT(story(mail_.id), HasSubstr("  allow 192.0.2.0/24 on all listeners, ticket SEC-7\n"));
    EXPECT_THAT(story(login_.id), HasSubstr("allow by rule 192.0.2.0/24\n")) << "when there was another one";
    EXPECT_EQ(run({"access", "allow", "192.0.2.7"}).exit_code, kDone);
    EXPECT_THAT(story(mail_.id), HasSubstr("allow by rule 192.0.2.0/24\n")) << "another one decides now";
}

TEST_F(SessionsCommandTest, WhatCannotBeMeantIsAUsageError) {
    EXPECT_THAT(run({"sessions", "--follow", "--until", "1h"}).errors,
                HasSubstr("--until cannot be combined with --follow"));
    journal();
    struct Case {
        std::vector<std::string> words;
        const char* error;
    };
    const Case cases[] = {
        {{"--client", "192.0.2.5/24"}, "192.0.2.5/24 has host bits set"},
        {{"--balancer", "example.net"}, "example.net"},
        {{"--since", "someday"}, "--since: \"someday\" is not a time: expected yesterday"},
        {{"--since", "tomorrow"}, " is in the future"},
        {{"--until", "\x1B[2J"}, "--until: \"\\x1B[2J\" is not a time: expected yesterday"},
        {{"--from", ""}, "--from: the value is empty"},
        {{"--to", ""}, "--to: the value is empty"},
        {{"--user", ""}, "--user: the value is empty"},
        {{"--verdict", "maybe"}, "--verdict"},
        {{"--limit", "0"}, "--limit"},
        {{"--limit", "many"}, "--limit"},
        {{"show"}, "ID is required"},
        {{"kill"}, "ID is required"},
        {{"--live", "--to", "a@b"}, "--to cannot be combined with --live"},
        {{"--live", "--follow"}, "--follow cannot be combined with --live"},
        {{"--live", "--end", "drained"}, "--end cannot be combined with --live"},
        {{"--live", "--from", "<>"}, "--from <> cannot be combined with --live"},
    };
    for (const Case& wrong : cases) {
        const Ran done = sessions(wrong.words);
        EXPECT_EQ(done.exit_code, kUsage) << wrong.error;
        EXPECT_THAT(done.errors,
                    AllOf(StartsWith("mailgate: "), HasSubstr(wrong.error), Not(HasSubstr("\x1B"))));
        EXPECT_EQ(done.output, "");
    }
}

TEST_F(SessionsCommandTest, ShowTellsTheOneWhoseIdBeginsSo) {
    journal();
    const Ran story = sessions({"show", mail_.id});
    EXPECT_EQ(story.exit_code, kDone);
    EXPECT_THAT(story.output, HasSubstr(mail_.mail[0].queue_id));
    EXPECT_THAT(sessions({"show", mail_.id, "--json"}).output, StartsWith("{"));
    const std::string common = mail_.id.substr(0, 3);
    const Ran many = sessions({"show", common});
    EXPECT_EQ(many.exit_code, kRefusedOrNotFound);
    EXPECT_THAT(many.errors,
                StartsWith("mailgate: " + common + " is not unique: several ids begin with it, such as "));
    const Ran none = sessions({"show", "\x1B[2J"});
    EXPECT_EQ(none.exit_code, kRefusedOrNotFound);
    EXPECT_EQ(none.errors, "mailgate: no session in the journal has the id \\x1B[2J\n");
}

TEST_F(SessionsCommandTest, WithoutAJournalItFails) {
    const Ran none = sessions({});
    EXPECT_EQ(none.exit_code, kRefusedOrNotFound);
    EXPECT_THAT(none.errors, HasSubstr("mailgate-journal.db"));
}

TEST_F(SessionsCommandTest, ThatTheJournalIsOffIsSaidByAllThatAskIt) {
    journal();  // of the time before
    configure(std::string(kSite) + "[journal]\nenabled = false\n");
    for (const char* json : {"", "--json"})
        for (const std::vector<std::string>& asked : {std::vector<std::string>{"sessions"},
                                                      {"sessions", "--listener", "nope"},
                                                      {"sessions", "show", "01"},
                                                      {"who", "alice@partner.example"},
                                                      {"top"},
                                                      {"report", "would-refuse"}}) {
            std::vector<std::string> words = asked;
            if (*json != 0) words.emplace_back(json);
            const Ran off = run(words);
            EXPECT_EQ(off.exit_code, kRefusedOrNotFound) << words.front();
            EXPECT_EQ(off.errors, "mailgate: no journal is kept of sessions: " + file_ +
                                      " has journal.enabled = false\n");
            EXPECT_EQ(off.output, "");
        }
}

TEST_F(SessionsCommandTest, LiveShowsWhatTheGatewayHasNow) {
    control_.live[0].helo = "mail.example.net";
    control_.live[0].from = "Bob@Example.net";
    control_.live[0].server = "mx1";
    control_.live[1].user =
        "al\x1B"
        "ice";
    startGateway();
    const Ran all = sessions({"--live"});
    EXPECT_EQ(all.exit_code, kDone);
    EXPECT_THAT(all.output, AllOf(StartsWith("SINCE  "), HasSubstr("  mail.example.net  "),
                                  HasSubstr("\\u001b"), Not(HasSubstr("\x1B"))));
    const auto live = [this](std::vector<std::string> words) {
        words.insert(words.begin(), {"--live", "--json"});
        const std::string text = sessions(std::move(words)).output;
        return std::string(text.find("01A") != text.npos ? "A" : "") +
               (text.find("01B") != text.npos ? "B" : "");
    };
    EXPECT_EQ(live({}), "AB");
    EXPECT_EQ(live({"--limit", "1"}), "B") << "the newest";
    EXPECT_EQ(live({"--client", "192.0.2.0/24"}), "A");
    EXPECT_EQ(live({"--listener", "imap"}), "B");
    EXPECT_EQ(live({"--from", "@example.NET"}), "A");
    EXPECT_EQ(live({"--user", "nobody"}), "");
    EXPECT_EQ(live({"--helo", ".example.net"}), "A");
    EXPECT_EQ(live({"--protocol", "imap"}), "B");
    EXPECT_EQ(live({"--server", "mx1"}), "A");
    EXPECT_EQ(live({"--until", "1970-01-01"}), "");
}

TEST_F(SessionsCommandTest, KillEndsOneOrSaysThatThereIsNone) {
    startGateway();
    const Ran killed = sessions({"kill", "01A"});
    EXPECT_EQ(killed.exit_code, kDone);
    EXPECT_EQ(killed.output, "session 01A ended\n");
    const Ran none = sessions({"kill", "a b\x1B"});
    EXPECT_EQ(none.exit_code, kRefusedOrNotFound);
    EXPECT_EQ(none.errors, "mailgate: no current session has the id a b\\x1B\n");
    EXPECT_THAT(control_.orders, ElementsAre("kill 01A"));
}

TEST_F(SessionsCommandTest, LiveAndKillNeedAGateway) {
    EXPECT_EQ(sessions({"--live"}).errors, notListening());
    EXPECT_EQ(sessions({"kill", "01A"}).errors, notListening());
    EXPECT_EQ(sessions({"kill", "01A"}).exit_code, kRefusedOrNotFound);
}

}  // namespace
}  // namespace mailgate::cli
