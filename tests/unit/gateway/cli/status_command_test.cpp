// SPDX-License-Identifier: Apache-2.0
#include "gateway/cli/status_check.h"
#include "tests/support/command_line.h"

#include <Poco/JSON/Parser.h>
#include <fmt/format.h>
#include <gmock/gmock.h>

#include <algorithm>
#include <cstdint>
#include <string>

namespace mailgate::cli {
namespace {

using testing::HasSubstr;
using testing::Not;
using testing::StartsWith;

class StatusCommandTest : public test::CommandTest {};

TEST_F(StatusCommandTest, ShowsTheGatewayItsListenersAndItsServers) {
    control_.now.pid = 77;
    control_.now.rules = 1;
    control_.now.servers[0].healthy = true;
    control_.now.servers[0].backup = true;
    control_.now.servers[1].healthy = false;
    control_.now.servers[1].draining = true;
    control_.now.servers[1].drained = {1'795'000'000, "alice"};
    control_.now.servers[1].reason = "connection refused";
    ASSERT_EQ(run({"access", "allow", "192.0.2.0/24"}).exit_code, kDone) << "else its rule is lost";
    startGateway();
    const test::Ran status = run({"status"});
    EXPECT_EQ(status.exit_code, kDone);
    EXPECT_THAT(status.output,
                StartsWith("mailgate 1.2.3 gw.example.net, pid 77\nup since 2026-11-18T11:06:40Z\n2 of "
                           "1,000 sessions, 1 access rule, version 0\n\nLISTENER  PROTOCOL  LIVE  "));
    EXPECT_THAT(status.output,
                testing::ContainsRegex("\nsmtp +smtp +2 .*listening +0.0.0.0:25, \\[::\\]:25\n"));
    EXPECT_THAT(status.output, testing::ContainsRegex("\nimap +imap +0 .*PAUSED +0.0.0.0:143\n"));
    EXPECT_THAT(status.output, testing::ContainsRegex("\npostfix/mx1 +127.0.0.1:10025 +up, backup "));
    EXPECT_THAT(status.output, testing::ContainsRegex(
                                   "\ndovecot/imap1 +.*DOWN, draining .*connection refused; drained since "
                                   "2026-11-18T11:06:40Z by alice\n$"))
        << "and no warning";
}

TEST_F(StatusCommandTest, SaysWhatAnOperatorShouldNotHaveToLookFor) {
    control_.now.draining = control_.now.rules_failed = true;
    control_.now.address_alarms = {"smtp", "im\x1B[2J"};
    control_.now.journal_lost = 3;
    control_.now.log_lines_lost = 4;
    control_.now.log_failure = "cannot be written: no space";
    control_.now.log_failed_since_ms = 1'795'000'000'000;
    control_.now.journal_failure = "the disk is full";
    control_.now.journal_failed_since_ms = 1'795'000'000'000;
    control_.now.journal_queued = 1'532;
    control_.now.listeners[1].closed = true;
    control_.now.tls_files = {{"console", "console", "a.key: is not a file; a restart would fail"}};
    control_.now.rules_without_listener = {{"mx", 2}};
    startGateway();
    const std::string text = run({"status", "--utc"}).output;
    for (const char* line :
         {"\nThe gateway is stopping.\n",
          "\nThe access rules cannot be read: the ones read last stay in force.\n",
          "\nMost sessions of listener smtp come from one private address",
          "\nWarning: the changed TLS files of the console are not in use: a.key: is not a file; a restart "
          "would fail.\n",
          "\nWarning: nobody may enter listener \"imap\": ",
          "\nWarning: no listener is named \"mx\": 2 access rules ",
          "\nWarning: the journal cannot be written since 2026-11-18T11:06:40Z (the disk "
          "is full): 1,532 records wait "
          "in memory, and would be lost in a stop",
          "\nThe journal lost 3 records.\n", "\nThe log lost 4 lines.\n",
          "\nWarning: since 2026-11-18T11:06:40Z the log cannot be written: no space.\n"})
        EXPECT_THAT(text, HasSubstr(line));
    EXPECT_THAT(text, Not(HasSubstr("\x1B")));
}

TEST_F(StatusCommandTest, SaysWhyFewerSessionsThanConfiguredArePossible) {
    control_.now.configured_sessions = 1'000;
    startGateway();
    EXPECT_THAT(run({"status"}).output, Not(HasSubstr("max_sessions")));
    control_.now.configured_sessions = 50'000;
    EXPECT_THAT(
        run({"status"}).output,
        HasSubstr("\nWarning: max_sessions is 50000, but the limit on open files allows only 1000: "));
}

TEST_F(StatusCommandTest, SaysThatWhatIsInForceIsNotWhatTheFileSays) {
    control_.now.listeners[1].available = true;
    startGateway();
    EXPECT_THAT(run({"status"}).output, Not(HasSubstr("is not loaded")));
    control_.now.config_change = admin::ConfigChange{{"/etc/mailgate/mailgate.toml", 1'795'000'000'000, ""}};
    const test::Ran changed = run({"status", "--utc"});
    EXPECT_THAT(changed.output, HasSubstr("\n/etc/mailgate/mailgate.toml was changed at 2026-11-18T11:06:40Z "
                                          "and is not loaded: mailgate reload.\n"));
    EXPECT_EQ(changed.exit_code, kDone);
    control_.now.last_reload_failed = true;
    EXPECT_THAT(run({"status"}).output,
                HasSubstr("is not loaded: mailgate reload says whether it can be.\n"));
    control_.now.last_reload_failed = false;
    control_.now.config_change->restart = {"gateway.workers", "store.url"};
    EXPECT_THAT(run({"status"}).output,
                HasSubstr(" and is not loaded: gateway.workers, store.url can only change "
                          "with a restart.\n"));
    control_.now.config_change->refused = "a.toml:1:1: \"x\": unknown key\na.toml:2:1: y: unknown key";
    EXPECT_THAT(run({"status"}).output,
                HasSubstr(" and is not loaded: a reload would fail, and perhaps a restart: "
                          "a.toml:1:1: \"x\": unknown key (mailgate check).\n"));
    EXPECT_THAT(run({"status", "--check"}).output,
                HasSubstr("a reload would fail, and perhaps a restart: a.toml:1:1: \"x\": unknown key |"));
    control_.now.config_change =
        admin::ConfigChange{{"/etc/mailgate/conf.d/a.toml", 0, "cannot be read: Permission denied"}};
    EXPECT_THAT(
        run({"status"}).output,
        HasSubstr("\n/etc/mailgate/conf.d/a.toml cannot be read: Permission denied, and that is not loaded: "
                  "what is in force was read before, and a reload goes by what is there now.\n"));
}

TEST_F(StatusCommandTest, SaysHowManyRulesExpireSoon) {
    control_.now.rules_expiring = 1;
    startGateway();
    EXPECT_THAT(run({"status"}).output,
                HasSubstr("\n1 access rule expires soon (mailgate access list --expiring soon).\n"));
    control_.now.rules_expiring = 2;
    EXPECT_THAT(run({"status"}).output, HasSubstr("\n2 access rules expire soon ("));
}

TEST_F(StatusCommandTest, TheJournalAndAListenerWithoutAServerAreSaid) {
    control_.now.journal_bytes = 3u << 19;
    control_.now.journal_max_bytes = std::uint64_t{10} << 30;
    control_.now.journal_oldest_ms = 1'795'000'000'000;
    control_.now.listeners[1].available = false;
    control_.now.last_reload_failed = true;
    startGateway();
    const test::Ran status = run({"status", "--utc"});
    EXPECT_EQ(status.exit_code, kRefusedOrNotFound);
    EXPECT_THAT(status.output, HasSubstr("\njournal: 1.5 MiB of 10.0 GiB, since 2026-11-18T"));
    EXPECT_THAT(status.output, testing::ContainsRegex("\nimap +imap +0 .*PAUSED, NO SERVER +"));
    EXPECT_THAT(status.output, HasSubstr("\nThe last reload failed, and nothing changed"));
    EXPECT_EQ(run({"status", "--json"}).exit_code, kRefusedOrNotFound);
}

TEST_F(StatusCommandTest, CheckIsOneLineAndNagiosExitCode) {
    control_.now.listeners[1].paused = false;
    control_.now.certificates.clear();
    control_.now.servers[1].certificate_expires = 0;
    startGateway();
    const test::Ran good = run({"status", "--check"});
    EXPECT_EQ(good.exit_code, 0);
    EXPECT_EQ(good.output,
              "MAILGATE OK - 2 listeners, 2 of 2 servers up, 2 sessions | servers_down=0;;;0;2 "
              "servers_drained=0;;;0;2 drained_longest=0s;86400;;0 rules=0;;;0 "
              "sessions=2;800;950;0;1000\n");
    const test::Ran full = run({"status", "--check", "--sessions", "0,50"});
    EXPECT_EQ(full.exit_code, 1);
    EXPECT_THAT(full.output, StartsWith("MAILGATE WARNING - 2 of 1,000 sessions |"));
    EXPECT_EQ(run({"status", "--check", "--sessions", "80%"}).exit_code,
              static_cast<int>(CheckState::Unknown));
    EXPECT_THAT(run({"status", "--check", "--sessions", "95,80"}).output,
                HasSubstr("--sessions: 95,80 would be CRITICAL before it is a WARNING"));
    EXPECT_EQ(run({"status", "--check", "--certificates", "3,14"}).exit_code,
              static_cast<int>(CheckState::Unknown));
    EXPECT_EQ(run({"status", "--check", "--certificates", "14,3"}).exit_code, 0);
    EXPECT_EQ(run({"status", "--check", "--json"}).exit_code, static_cast<int>(CheckState::Unknown));
    EXPECT_EQ(run({"status", "--sessions", "80"}).exit_code, kUsage) << "means nothing without --check";
}

TEST_F(StatusCommandTest, CheckSaysWhyItCannotAsk) {
    const test::Ran away = run({"status", "--check"});
    EXPECT_EQ(away.exit_code, 2);
    EXPECT_THAT(away.output, StartsWith("MAILGATE CRITICAL - no gateway is listening on "));
    EXPECT_EQ(away.errors, "");
    configure("nonsense = 1\n");
    const test::Ran wrong = run({"status", "--check"});
    EXPECT_EQ(wrong.exit_code, 3);
    EXPECT_THAT(wrong.output, StartsWith("MAILGATE UNKNOWN - "));
    EXPECT_EQ(std::count(wrong.output.begin(), wrong.output.end(), '\n'), 1);
}

TEST_F(StatusCommandTest, AFileThatCannotBeReadWhollyDoesNotHideHowItsGatewayIs) {
    const std::string included = "include = \"conf.d/*.toml\"\n";
    configure(included + "admin.socket = \"mailgate.sock\"\n" + kSite);
    const std::string why =
        fmt::format("{}:1:11: include: the folder \"{}\" does not exist: put it back, or leave it out", file_,
                    folder_.file("conf.d"));
    const std::string nobody = "no gateway is listening on " + folder_.file("mailgate.sock") +
                               ": is it running, and with this configuration?";
    const test::Ran down = run({"status", "--check"});
    EXPECT_EQ(down.exit_code, static_cast<int>(CheckState::Critical));
    EXPECT_EQ(down.output, fmt::format("MAILGATE CRITICAL - {}, {}\n", nobody, why));
    const test::Ran unread = run({"status"});
    EXPECT_EQ(unread.exit_code, kBadConfiguration);
    EXPECT_EQ(unread.errors, fmt::format("mailgate: {}\n{}\n", nobody, why));
    configure(included + kSite);
    EXPECT_EQ(run({"status", "--check"}).output, fmt::format("MAILGATE UNKNOWN - {}\n", why))
        << "its socket may be in the folder";
    EXPECT_EQ(run({"status"}).errors, why + "\n");
    control_.now.config_file = "/etc/mailgate/other.toml";
    control_.now.listeners[1].paused = false;
    startGateway();
    EXPECT_EQ(run({"status", "--check"}).output, fmt::format("MAILGATE UNKNOWN - {}\n", why))
        << "another one";
    control_.now.config_file = file_;
    EXPECT_THAT(run({"status", "--check"}).output, StartsWith("MAILGATE OK - 2 listeners"));
    const test::Ran status = run({"status"});
    EXPECT_EQ(status.exit_code, kDone);
    EXPECT_THAT(status.output, StartsWith("mailgate 1.2.3 gw.example.net"));
    EXPECT_EQ(status.errors, why + "\n");
}

TEST_F(StatusCommandTest, JsonIsTheGatewaysAnswer) {
    startGateway();
    const test::Ran status = run({"status", "--json"});
    EXPECT_EQ(status.exit_code, kDone);
    const auto object = Poco::JSON::Parser().parse(status.output).extract<Poco::JSON::Object::Ptr>();
    EXPECT_EQ(object->getValue<std::string>("version"), "1.2.3");
    EXPECT_EQ(object->getArray("servers")->size(), 2u);
}

TEST_F(StatusCommandTest, OfAFleetItTellsWhatIsKnownWithoutTheDatabase) {
    EXPECT_THAT(run({"status", "--fleet"}).errors, HasSubstr("--fleet is for gateways of a fleet"));
    EXPECT_EQ(run({"status", "--fleet", "--check"}).exit_code, static_cast<int>(CheckState::Unknown));
    configure("fleet.url = \"postgresql://mailgate@127.0.0.1:1/mailgate\"\n" + std::string(kSite));
    control_.now.fleet = {.configured = true, .failure = "gone", .version = 6, .lag_seconds = 90};
    startGateway();
    const test::Ran text = run({"status", "--fleet"});
    EXPECT_EQ(text.exit_code, kRefusedOrNotFound);
    EXPECT_THAT(text.output, StartsWith("gw.example.org, this gateway: 2 sessions, version 6 of the rules, "
                                        "looked for changes 90 s ago\n"));
    EXPECT_THAT(text.output, HasSubstr("cannot be reached"));
    const auto json = Poco::JSON::Parser()
                          .parse(run({"status", "--fleet", "--json"}).output)
                          .extract<Poco::JSON::Object::Ptr>();
    EXPECT_TRUE(json->isNull("members"));
    EXPECT_EQ(json->getObject("here")->getValue<int>("sessions"), 2);
    EXPECT_EQ(json->getObject("standing")->getValue<std::string>("failure"), "gone");
    EXPECT_THAT(json->getValue<std::string>("failure"), HasSubstr("cannot be reached"));
    EXPECT_THAT(run({"status", "--fleet", "--check"}).output,
                StartsWith("MAILGATE CRITICAL - the fleet's database "));
}

TEST_F(StatusCommandTest, ThresholdsOfTheFleetAndOfTheGatewayAreKeptApart) {
    for (const char* limit : {"--lag", "--drained"})
        EXPECT_EQ(run({"status", "--check", limit, "5"}).exit_code, static_cast<int>(CheckState::Unknown))
            << limit;
    EXPECT_EQ(run({"status", "--check", "--fleet", "--drained", "never"}).exit_code,
              static_cast<int>(CheckState::Unknown));
    EXPECT_EQ(run({"status", "--check", "--fleet", "--sessions", "5"}).exit_code,
              static_cast<int>(CheckState::Unknown));
}

TEST_F(StatusCommandTest, WithoutAGatewayItFails) {
    const test::Ran status = run({"status"});
    EXPECT_EQ(status.exit_code, kRefusedOrNotFound);
    EXPECT_EQ(status.errors, notListening());
    EXPECT_EQ(status.output, "");
    configure(std::string("admin.socket = \"\"\n") + kSite);
    EXPECT_THAT(run({"status"}).errors, HasSubstr("no admin.socket"));
    configure("nonsense = 1\n");
    EXPECT_EQ(run({"status"}).exit_code, kBadConfiguration);
}

}  // namespace
}  // namespace mailgate::cli
