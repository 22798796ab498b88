// SPDX-License-Identifier: Apache-2.0
#include "gateway/cli/status_check.h"

#include "gateway/admin/json.h"
#include "tests/support/fake_control.h"

#include <Poco/JSON/Parser.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdint>
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
    EXPECT_THAT(drained.line, HasSubstr(" servers_down=0;;;0;2 servers_drained=1;;;0;2 "));
}

TEST(StatusCheck, AListenerThatRefusesAllAndRulesForNoneAreWarnings) {
    admin::Status status = soundStatus();
    status.listeners[0].closed = true;
    EXPECT_EQ(resultFor(status).state, CheckState::Warning);
    EXPECT_THAT(resultFor(status).line,
                HasSubstr("listener smtp refuses every client: no access rule allows anybody |"));
    status = soundStatus();
    status.rules_without_listener = {{"old|mx", 3}};
    EXPECT_EQ(resultFor(status).state, CheckState::Warning);
    EXPECT_THAT(resultFor(status).line,
                HasSubstr("3 access rules name listener old/mx, which there is not |"));
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
    EXPECT_EQ(result.line, "MAILGATE CRITICAL - no\\u000aanswer / none");
}

}  // namespace
}  // namespace mailgate::cli
