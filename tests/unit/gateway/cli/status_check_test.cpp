// SPDX-License-Identifier: Apache-2.0
#include "gateway/cli/status_check.h"

#include "gateway/admin/json.h"
#include "gateway/base/clock.h"
#include "gateway/cli/fleet_text.h"
#include "tests/support/fake_control.h"

#include <Poco/JSON/Parser.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdint>
#include <cstdlib>
#include <ctime>
#include <string>

namespace mailgate::cli {
namespace {

using testing::HasSubstr;
using testing::StartsWith;

/// A gateway where all is in order.
admin::Status soundStatus() {
    admin::FakeControl control;
    control.now.listeners[1].paused = false;
    control.now.certificates.clear();
    control.now.servers[1].certificate_expires = 0;
    return control.now;
}

/// As it comes over the socket.
CheckResult resultFor(const admin::Status& status, const CheckLimits& limits = {}) {
    const auto parsed = Poco::JSON::Parser().parse(admin::toText(admin::toJson(status)));
    return checkStatus(*parsed.extract<Poco::JSON::Object::Ptr>(), limits);
}

TEST(StatusCheck, AThresholdIsOneNumberOrTwo) {
    EXPECT_EQ(parseThreshold("80")->warning, 80u);
    EXPECT_EQ(parseThreshold("80")->critical, std::nullopt);
    EXPECT_EQ(parseThreshold(",95")->warning, std::nullopt);
    EXPECT_EQ(parseThreshold(",95")->critical, 95u);
    EXPECT_EQ(parseThreshold(",")->warning, std::nullopt);
    for (const char* none : {"x", "80%", "1,2,3", "-1", "80, 95"})
        EXPECT_FALSE(parseThreshold(none)) << none;
}

TEST(StatusCheck, AServerThatWasForgottenIsAWarning) {
    admin::Status status = soundStatus();
    const std::int64_t now = unixMillis() / 1'000;
    status.servers[0].draining = true;
    status.servers[0].drained = {now - 86'000, "alice"};
    EXPECT_EQ(resultFor(status).state, CheckState::Ok);
    status.servers[0].drained = {now - 2 * 86'400, "alice"};
    status.servers.push_back(status.servers[0]);  // another address of it
    const CheckResult forgotten = resultFor(status);
    EXPECT_EQ(forgotten.state, CheckState::Warning);
    EXPECT_THAT(forgotten.line,
                StartsWith("MAILGATE WARNING - server postfix/mx1 has been drained for 2d by alice |"));
    EXPECT_THAT(forgotten.line, testing::ContainsRegex(" drained_longest=1728[0-9][0-9]s;86400;;0 "));
    EXPECT_EQ(resultFor(status, {.drained = 3 * 86'400}).state, CheckState::Ok);
    const CheckResult never = resultFor(status, {.drained = std::nullopt});
    EXPECT_EQ(never.state, CheckState::Ok);
    EXPECT_THAT(never.line, testing::ContainsRegex(" drained_longest=1728[0-9][0-9]s;;;0 "));
}

TEST(StatusCheck, AJournalThatCannotBeWrittenIsAWarning) {
    admin::Status status = soundStatus();
    status.journal_max_bytes = 1u << 30;
    EXPECT_EQ(resultFor(status).state, CheckState::Ok);
    status.journal_failure = "the disk is full";
    status.journal_queued = 5;
    const CheckResult failed = resultFor(status);
    EXPECT_EQ(failed.state, CheckState::Warning);
    EXPECT_THAT(failed.line,
                StartsWith("MAILGATE WARNING - the journal cannot be written, 5 records wait in memory: "
                           "the disk is full |"));
}

TEST(StatusCheck, ALogThatCannotBeWrittenIsAWarning) {
    admin::Status status = soundStatus();
    status.log_failure = "cannot be written: no space; its lines wait";
    const CheckResult failed = resultFor(status);
    EXPECT_EQ(failed.state, CheckState::Warning);
    EXPECT_THAT(failed.line,
                StartsWith("MAILGATE WARNING - the log cannot be written: no space, its lines wait |"));
}

TEST(StatusCheck, WhatStopsServiceIsCriticalAndComesFirst) {
    admin::Status status = soundStatus();
    status.servers[0].healthy = false;
    status.servers[0].reason = "connection refused | gone";
    const CheckResult degraded = resultFor(status);
    EXPECT_EQ(degraded.state, CheckState::Warning);
    EXPECT_THAT(degraded.line,
                StartsWith("MAILGATE WARNING - server postfix/mx1 is down: connection refused / gone |"));
    EXPECT_THAT(degraded.line, HasSubstr(" servers_down=1;;;0;2 "));
    status.listeners[0].available = false;
    const CheckResult down = resultFor(status);
    EXPECT_EQ(down.state, CheckState::Critical);
    EXPECT_THAT(down.line,
                StartsWith("MAILGATE CRITICAL - listener smtp has no server, server postfix/mx1 is down"));
    status = soundStatus();
    status.rules_failed = true;
    EXPECT_EQ(resultFor(status).state, CheckState::Critical);
    status = soundStatus();
    status.listeners[1].paused = true;
    EXPECT_EQ(resultFor(status).state, CheckState::Critical);
    for (bool admin::Status::*flag : {&admin::Status::draining, &admin::Status::last_reload_failed}) {
        status = soundStatus();
        status.*flag = true;
        EXPECT_EQ(resultFor(status).state, CheckState::Warning);
    }
    status = soundStatus();
    status.tls_files = {{"upstream", "dovecot"},
                        {"listener", "imap", "a.key: is not a file; a restart would fail"}};
    EXPECT_THAT(resultFor(status).line,
                StartsWith("MAILGATE WARNING - the changed TLS files of listener imap are not in use: "
                           "a.key: is not a file, a restart would fail |"));
    status = soundStatus();
    status.address_alarms = {"smtp"};
    EXPECT_THAT(resultFor(status).line, HasSubstr("listener smtp may have lost its clients' addresses"));
}

/// It was planned, as a rule.
TEST(StatusCheck, ADrainIsToldAndNoAlarm) {
    admin::Status status = soundStatus();
    EXPECT_THAT(resultFor(status).line, HasSubstr(" servers_drained=0;;;0;2 "));
    status.servers[0].draining = true;
    const CheckResult drained = resultFor(status);
    EXPECT_EQ(drained.state, CheckState::Ok);
    EXPECT_THAT(drained.line, HasSubstr(", 2 of 2 servers up, 1 drained, "));
    EXPECT_THAT(drained.line,
                HasSubstr(" servers_down=0;;;0;2 servers_drained=1;;;0;2 drained_longest=0s;86400;;0 "));
}

TEST(StatusCheck, AListenerThatRefusesAllAndRulesForNoneAreWarnings) {
    admin::Status status = soundStatus();
    status.listeners[0].closed = true;
    EXPECT_EQ(resultFor(status).state, CheckState::Warning);
    EXPECT_THAT(resultFor(status).line,
                HasSubstr("listener smtp refuses every client: the access rules let in nobody |"));
    status = soundStatus();
    status.rules_without_listener = {{"old|mx", 3}};
    EXPECT_EQ(resultFor(status).state, CheckState::Warning);
    EXPECT_THAT(resultFor(status).line,
                HasSubstr("3 access rules name listener old/mx, which there is not |"));
}

TEST(StatusCheck, AFleetsDatabaseThatDoesNotAnswerIsAWarning) {
    admin::Status status = soundStatus();
    status.fleet.configured = true;
    EXPECT_EQ(resultFor(status).state, CheckState::Ok) << "it has not looked yet";
    status.fleet.failure = "the fleet's database does not answer";
    status.fleet.lag_seconds = 12.7;
    EXPECT_EQ(resultFor(status).state, CheckState::Warning);
    EXPECT_THAT(resultFor(status).line,
                HasSubstr("others by now, 12 s old: the fleet's database does not answer |"));
    status.fleet.connected = true;
    EXPECT_EQ(resultFor(status).state, CheckState::Ok);
}

TEST(StatusCheck, AClockThatIsOffAndAnotherOfItsNameAreWarnings) {
    admin::Status status = soundStatus();
    status.fleet = {.configured = true, .connected = true, .clock_ahead_seconds = -59};
    EXPECT_EQ(resultFor(status).state, CheckState::Ok);
    status.fleet.clock_ahead_seconds = -60;
    EXPECT_EQ(resultFor(status).state, CheckState::Warning);
    EXPECT_THAT(resultFor(status).line,
                HasSubstr("the clock here is 60 s behind that of the fleet's database: "));
    status.fleet.clock_ahead_seconds = 75;
    EXPECT_THAT(resultFor(status).line, HasSubstr("the clock here is 75 s ahead of that of the "));
    status.fleet.clock_ahead_seconds = 0;
    status.fleet.same_name_started = 1'700'000'000;
    EXPECT_EQ(resultFor(status).state, CheckState::Warning);
    EXPECT_THAT(
        resultFor(status).line,
        HasSubstr("another gateway of this name, started at 2023-11-14T22:13:20Z, is in the fleet: "));
}

answers::FleetView soundFleet() {
    answers::FleetView view;
    view.self = "mx-1";
    view.answered = true;
    view.fleet = {.fleet = "f", .version = 7};
    view.here = store::Membership{.fleet = "f", .version = 7};
    view.members = {{.name = "mx-1", .position = 7, .silent_secs = 4}, {.name = "mx-2", .position = 7}};
    view.differences.emplace();
    return view;
}

TEST(FleetText, AllItsTimesAreInTheZoneThatIsAskedFor) {
    answers::FleetView view = soundFleet();
    view.oldest.emplace().at = 1'700'000'000;
    view.drains = {{.upstream = "postfix", .server = "mx1", .since = 1'700'000'060, .by = "root"}};
    Poco::JSON::Object::Ptr fleet = new Poco::JSON::Object();
    fleet->set("same_name_started", "2023-11-14T22:13:20Z");
    ViewOptions options;
    ::setenv("TZ", "Asia/Kathmandu", 1);
    EXPECT_THAT(fleetText(view, options),
                testing::AllOf(HasSubstr("changes since 2023-11-15T03:58:20+05:45"),
                               HasSubstr("since 2023-11-15T03:59:20+05:45 by root")));
    EXPECT_THAT(*nameTrouble(fleet, options.times()), HasSubstr("started at 2023-11-15T03:58:20+05:45,"));
    options.utc = true;
    EXPECT_THAT(fleetText(view, options), testing::AllOf(HasSubstr("changes since 2023-11-14T22:13:20Z"),
                                                         HasSubstr("since 2023-11-14T22:14:20Z by root")));
    EXPECT_THAT(*nameTrouble(fleet, options.times()), HasSubstr("started at 2023-11-14T22:13:20Z,"));
    ::unsetenv("TZ");
}

TEST(StatusCheck, AFleetIsInOrderWhereAllAreHeardOfAndHaveItsRules) {
    const CheckResult sound = checkFleet(soundFleet(), "", {});
    EXPECT_EQ(sound.state, CheckState::Ok);
    EXPECT_EQ(sound.line,
              "MAILGATE OK - 2 gateways, rules version 7 | gateways=2;;;0 silent=4s;20;300;0 lag=0s;10;300;0 "
              "journal_lag=0s;300;;0");
    const CheckResult unanswered = checkFleet({}, "the database does not answer", {});
    EXPECT_EQ(unanswered.state, CheckState::Critical);
    EXPECT_EQ(unanswered.line, "MAILGATE CRITICAL - the database does not answer");
}

TEST(StatusCheck, AGatewayOfTheFleetThatIsSilentOrBehindIsJudgedByHowLong) {
    answers::FleetView view = soundFleet();
    view.members[1] = {.name = "mx-2", .position = 5, .silent_secs = 300, .behind_secs = 10};
    const CheckResult both = checkFleet(view, "", {});
    EXPECT_EQ(both.state, CheckState::Critical);
    EXPECT_THAT(both.line, StartsWith("MAILGATE CRITICAL - mx-2 was last heard of 300 s ago, mx-2 has not "
                                      "applied 2 changes of the rules for 10 s | gateways=2;;;0 "
                                      "silent=300s;20;300;0 lag=10s;10;300;0"));
    EXPECT_EQ(checkFleet(view, "", {.silent = {301, std::nullopt}}).state, CheckState::Warning);
    EXPECT_EQ(checkFleet(view, "", {.silent = {}, .lag = {11, 12}}).state, CheckState::Ok);
}

TEST(StatusCheck, WhatAFleetsGatewayHasAndTheDatabaseDoesNotIsTold) {
    answers::FleetView view = soundFleet();
    view.members[1].position = 8;
    EXPECT_EQ(checkFleet(view, "", {}).state, CheckState::Critical);
    view = soundFleet();
    view.differences->changed = 1;
    EXPECT_EQ(checkFleet(view, "", {}).state, CheckState::Warning);
    EXPECT_THAT(checkFleet(view, "", {}).line, HasSubstr("1 rule of the fleet's is not on mx-1 as "));
    view = soundFleet();
    view.members[1].damaged = true;
    EXPECT_EQ(checkFleet(view, "", {}).state, CheckState::Warning);
    EXPECT_THAT(checkFleet(view, "", {}).line,
                HasSubstr("the database has a row of mx-2 that no gateway writes"));
    view = soundFleet();
    view.failure = "another fleet";
    EXPECT_EQ(checkFleet(view, "", {}).state, CheckState::Critical);
    view.here.reset();
    EXPECT_EQ(checkFleet(view, "", {}).state, CheckState::Warning) << "it has not joined yet";
}

TEST(StatusCheck, AJournalThatDoesNotGetToTheFleetIsTold) {
    answers::FleetView view = soundFleet();
    view.members[1].journal_secs = 299;
    EXPECT_EQ(checkFleet(view, "", {}).state, CheckState::Ok);
    view.members[1].journal_secs = 300;
    EXPECT_EQ(checkFleet(view, "", {}).state, CheckState::Warning);
    EXPECT_THAT(checkFleet(view, "", {}).line, HasSubstr("the journal of mx-2 has not come for 300 s"));
    EXPECT_EQ(checkFleet(view, "", {.journal_lag = {100, 300}}).state, CheckState::Critical);

    admin::Status status = soundStatus();
    status.fleet = {.configured = true, .connected = true};
    status.fleet_journal = {.configured = true, .connected = true, .lag_seconds = 299};
    EXPECT_EQ(resultFor(status).state, CheckState::Ok);
    EXPECT_THAT(resultFor(status).line, HasSubstr(" fleet_journal_lag=299s;300;;0"));
    status.fleet_journal = {
        .configured = true, .failure = "another gateway called mx-1", .behind = 2, .lag_seconds = 300};
    EXPECT_EQ(resultFor(status).state, CheckState::Warning);
    EXPECT_THAT(
        resultFor(status).line,
        HasSubstr("whole in the fleet's database for 300 s, 2 records behind: another gateway called"));
}

TEST(StatusCheck, ValuesAreJudgedByTheirThresholds) {
    admin::Status status = soundStatus();
    status.live = 799;
    EXPECT_EQ(resultFor(status).state, CheckState::Ok);
    status.live = 800;
    EXPECT_EQ(resultFor(status).state, CheckState::Warning);
    status.live = 950;
    EXPECT_EQ(resultFor(status).state, CheckState::Critical);
    EXPECT_EQ(resultFor(status, {.sessions = {}}).state, CheckState::Ok);
    status = soundStatus();
    status.journal_max_bytes = 1000;
    status.journal_bytes = 950;
    const CheckResult journal = resultFor(status);
    EXPECT_EQ(journal.state, CheckState::Warning);
    EXPECT_THAT(journal.line, HasSubstr("the journal has 95 % of its max_size"));
    EXPECT_THAT(journal.line, HasSubstr(" journal=950B;950;;0;1000 journal_lost=0c"));
}

TEST(StatusCheck, TheCertificateThatExpiresFirstCounts) {
    constexpr std::int64_t kDay = 86'400;
    const std::int64_t now = std::time(nullptr);
    admin::Status status = soundStatus();
    status.servers[0].certificate_expires = now + 30 * kDay + kDay / 2;
    EXPECT_EQ(resultFor(status).state, CheckState::Ok);
    EXPECT_THAT(resultFor(status).line, HasSubstr(" certificate_days=30;15:;4:"));
    status.servers[1].certificate_expires = now + 10 * kDay + kDay / 2;
    EXPECT_EQ(resultFor(status).state, CheckState::Warning);
    EXPECT_THAT(resultFor(status).line,
                HasSubstr("the certificate of server dovecot/imap1 expires in 10 days |"));
    status.servers[1].certificate_expires = now - 2 * kDay;
    EXPECT_EQ(resultFor(status).state, CheckState::Critical);
    EXPECT_THAT(resultFor(status).line, HasSubstr("has expired"));
}

TEST(StatusCheck, AGatewayThatDoesNotAnswerIsOneLineToo) {
    const CheckResult result = checkFailed(CheckState::Critical, "no\nanswer | none");
    EXPECT_EQ(result.line, "MAILGATE CRITICAL - no, answer / none");
}

}  // namespace
}  // namespace mailgate::cli
