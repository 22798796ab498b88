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
using testing::EndsWith;
using testing::HasSubstr;
using testing::Not;
using testing::StartsWith;

class TopCommandTest : public test::CommandTest {
  protected:
    /// Two sessions of one client, and a bigger one of another two hours ago.
    void journal() const {
        store::JournalOptions options;
        options.url = "sqlite:" + folder_.file("mailgate-journal.db");
        std::vector<store::JournalSession> sessions;
        const std::int64_t now = unixMillis();
        for (const std::uint64_t number : {1, 2}) {
            sessions.push_back(test::sampleSession(number, now - 60'000));
            sessions.back().client = test::sampleV4(0xC0000207);
        }
        sessions.push_back(test::sampleSession(3, now - 7'200'000));
        sessions.back().client = test::sampleV4(0xC6336407);
        sessions.back().bytes_in = 100'000'000;
        store::journal::openSink(options)->append(sessions);
    }
};

TEST_F(TopCommandTest, ThePeriodIsTheLastHourUnlessAnotherIsAskedFor) {
    journal();
    const test::Ran hour = run({"top"});
    EXPECT_EQ(hour.exit_code, kDone) << hour.errors;
    EXPECT_THAT(hour.output, AllOf(HasSubstr("192.0.2.7"), Not(HasSubstr("198.51.100.7"))));
    EXPECT_THAT(run({"top", "--since", "3h"}).output, HasSubstr("198.51.100.7"));
    EXPECT_THAT(run({"top", "--since", "3h", "--json"}).output, StartsWith("{"));
}

TEST_F(TopCommandTest, TheOrderAndTheNumberAreChosen) {
    journal();
    const auto first = [this](const char* by) {
        const std::string text = run({"top", "--since", "3h", "--by", by}).output;
        return text.find("192.0.2.7") < text.find("198.51.100.7") ? "192.0.2.7" : "198.51.100.7";
    };
    EXPECT_STREQ(first("sessions"), "192.0.2.7");
    EXPECT_STREQ(first("bytes"), "198.51.100.7");
    EXPECT_THAT(run({"top", "--since", "3h", "--by", "bytes", "--limit", "1"}).output,
                AllOf(HasSubstr("198.51.100.7"), Not(HasSubstr("192.0.2.7"))));
}

TEST_F(TopCommandTest, WhatIsSummedUpIsChosen) {
    journal();
    const auto top = [this](std::vector<std::string> words) {
        words.insert(words.begin(), {"top", "--since", "3h"});
        return run(std::move(words));
    };
    EXPECT_THAT(top({"--by", "network"}).output,
                AllOf(HasSubstr("\n192.0.2.0/24  "), HasSubstr("\nNETWORK "), Not(HasSubstr("CLIENT"))));
    EXPECT_THAT(top({"--by", "recipient", "--json"}).output,
                AllOf(HasSubstr("\"recipients\": ["), Not(HasSubstr("\"clients\""))));
    EXPECT_THAT(top({"--by", "end"}).output, HasSubstr("\nclient_quit "));
    EXPECT_THAT(top({"--by", "client", "--sort", "bytes", "--limit", "1"}).output,
                AllOf(HasSubstr("198.51.100.7"), Not(HasSubstr("192.0.2.7")), Not(HasSubstr("SENDER"))));
    EXPECT_THAT(top({"--client", "192.0.2.0/24"}).output,
                AllOf(StartsWith("2 sessions since 20"), Not(HasSubstr("198.51.100.7"))));
    EXPECT_EQ(top({"--listener", "smtp"}).exit_code, kDone);
    const test::Ran unknown = top({"--listener", "nope"});
    EXPECT_EQ(unknown.exit_code, kUsage);
    EXPECT_THAT(unknown.errors, HasSubstr("no listener is named \"nope\""));
    EXPECT_THAT(top({"--by", "size"}).errors, HasSubstr("expected client, network, sender"));
}

TEST_F(TopCommandTest, TheHeadingSaysThePeriod) {
    journal();
    EXPECT_THAT(
        run({"top", "--utc", "--since", "2026-01-02T03:04:05Z"}).output,
        StartsWith("3 sessions since 2026-01-02T03:04:05Z, 0 of them refused, 0 with a failed login\n\n"));
    EXPECT_THAT(
        run({"top", "--utc", "--since", "2026-01-02", "--until", "tomorrow"}).output,
        AllOf(StartsWith("3 sessions since 2026-01-02T00:00:00Z until 20"), HasSubstr("T00:00:00Z, 0 of")));
    const std::string json =
        run({"top", "--since", "2026-01-02T03:04:05Z", "--until", "2099-01-01T00:00:00Z", "--json"}).output;
    EXPECT_THAT(json, AllOf(HasSubstr("\"since\": \"2026-01-02T03:04:05Z\""),
                            HasSubstr("\"until\": \"2099-01-01T00:00:00Z\"")));
}

TEST_F(TopCommandTest, ThatThereIsNothingToSumUpIsSaidInWords) {
    journal();
    const auto said = [this](std::vector<std::string> words) {
        words.insert(words.begin(), "top");
        const test::Ran none = run(words);
        EXPECT_EQ(none.exit_code, kRefusedOrNotFound);
        EXPECT_EQ(none.output, "");
        words.emplace_back("--json");
        EXPECT_EQ(run(words).exit_code, kRefusedOrNotFound);
        EXPECT_THAT(run(words).output, AllOf(StartsWith("{"), HasSubstr(": []")));
        return none.errors;
    };
    EXPECT_EQ(said({"--since", "30s"}), "mailgate: no session in the journal matches\n");
    EXPECT_EQ(said({"--by", "user"}), "mailgate: no session of this period has a user\n");
    EXPECT_EQ(said({"--by", "end", "--sort", "refused"}),
              "mailgate: no session of this period has an end and a refusal\n");
    EXPECT_EQ(said({"--sort", "failed-logins"}), "mailgate: no session of this period has a failed login\n");
}

TEST_F(TopCommandTest, WhatCannotBeMeantIsAUsageError) {
    for (const char* of : {"sender", "recipient"})
        EXPECT_THAT(
            run({"top", "--by", of, "--sort", "failed-logins"}).errors,
            HasSubstr(std::string("a ") + of + " has no failed logins: expected sessions, bytes or refused"));
    journal();
    const std::vector<std::vector<std::string>> cases{{"top", "--since", "tomorrow"}, {"top", "--since", ""},
                                                      {"top", "--by", "size"},        {"top", "--limit", "0"},
                                                      {"top", "--limit", "-1"},       {"top", "now"}};
    for (const std::vector<std::string>& words : cases) {
        const test::Ran wrong = run(words);
        EXPECT_EQ(wrong.exit_code, kUsage) << words.back();
        EXPECT_THAT(wrong.errors, StartsWith("mailgate: ")) << words.back();
        EXPECT_EQ(wrong.output, "");
    }
    EXPECT_THAT(run({"top", "--since", "\x1B[2J"}).errors, Not(HasSubstr("\x1B")));
}

TEST_F(TopCommandTest, WithoutAJournalItFails) {
    const test::Ran none = run({"top"});
    EXPECT_EQ(none.exit_code, kRefusedOrNotFound);
    EXPECT_THAT(none.errors, AllOf(StartsWith("mailgate: "), HasSubstr("mailgate-journal.db")));
}

}  // namespace
}  // namespace mailgate::cli
