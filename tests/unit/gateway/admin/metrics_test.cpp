// SPDX-License-Identifier: Apache-2.0
#include "gateway/admin/metrics.h"

#include "tests/support/fake_control.h"
#include "tests/support/reference.h"

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <set>
#include <sstream>

namespace mailgate::admin {
namespace {

using testing::HasSubstr;
using testing::Not;

std::string metricsOf(FakeControl& control) {
    return metricsText(GatewayMetrics(control));
}

TEST(Metrics, TellsOfAFleetWhereThereIsOne) {
    FakeControl control;
    EXPECT_THAT(metricsOf(control), Not(HasSubstr("\nmailgate_fleet_lag_seconds ")));
    control.now.fleet.configured = true;
    control.now.fleet.lag_seconds = 2.5;
    EXPECT_THAT(metricsOf(control), HasSubstr("\nmailgate_fleet_lag_seconds 2.5\n"));
    EXPECT_THAT(metricsOf(control), HasSubstr("\nmailgate_fleet_connected 0\n"));
}

TEST(Metrics, CountsByWhatMatters) {
    FakeControl control;
    control.now.ends = {{"client_quit", 5}, {"idle", 1}};
    control.now.refusals = {{"access", 4}};
    control.now.rejections = {{"bad_v1", "10.0.0.9", 2}, {"untrusted_peer", "other", 9}};
    control.now.listeners[0].would_refuse = {{"access", 8}};
    control.now.servers[0].sessions = 2;
    control.now.servers[1].healthy = false;
    control.now.worker_lag_seconds = {0.25, 0.5};
    control.now.journal_lost = 3;
    control.now.journal_max_bytes = 2048;
    control.now.rules_version = 41;
    control.now.last_reload_failed = true;
    control.now.listeners[1].available = false;
    control.now.tls_files = {{"listener", "imap", "no key"}, {"upstream", "postfix"}};
    control.now.listeners[0].closed = true;
    control.now.rules_without_listener = {{"old", 3}, {"older", 4}};
    control.now.listeners[0].totals = {12, 7, 3, 0, 0, 21, 34};
    control.now.address_alarms = {"imap"};
    const std::string text = metricsOf(control);
    for (const char* line : {
             "mailgate_build_info{version=\"1.2.3\"} 1\n",
             "mailgate_connections_total{listener=\"smtp\"} 12\n",
             "mailgate_sessions_total{listener=\"smtp\",verdict=\"allow\"} 7\n",
             "mailgate_sessions_total{listener=\"smtp\",verdict=\"deny\"} 3\n",
             "mailgate_listener_refusals_total{listener=\"smtp\",reason=\"too_many\"} 1\n",
             "mailgate_would_refuse_total{listener=\"smtp\",reason=\"access\"} 8\n",
             "mailgate_failed_logins_total{listener=\"imap\"} 6\n",
             "mailgate_sessions_live{listener=\"smtp\"} 2\n",
             "mailgate_listener_paused{listener=\"imap\"} 1\n",
             "mailgate_address_alarm{listener=\"smtp\"} 0\n",
             "mailgate_address_alarm{listener=\"imap\"} 1\n",
             "mailgate_session_ends_total{end=\"client_quit\"} 5\n",
             "mailgate_refusals_total{reason=\"access\"} 4\n",
             "mailgate_proxy_rejections_total{reason=\"bad_v1\",balancer=\"10.0.0.9\"} 2\n",
             "mailgate_proxy_rejections_total{reason=\"untrusted_peer\",balancer=\"other\"} 9\n",
             "mailgate_server_up{upstream=\"postfix\",server=\"mx1\",address=\"127.0.0.1:10025\"} 1\n",
             "mailgate_server_up{upstream=\"dovecot\",server=\"imap1\",address=\"127.0.0.1:10143\"} 0\n",
             "mailgate_server_sessions{upstream=\"postfix\",server=\"mx1\",address=\"127.0.0.1:10025\"} 2\n",
             "mailgate_server_tls_handshakes_total{upstream=\"dovecot\",server=\"imap1\","
             "address=\"127.0.0.1:10143\",result=\"done\",version=\"TLSv1.3\"} 4\n",
             "mailgate_server_certificate_expiry_seconds{upstream=\"dovecot\",server=\"imap1\","
             "address=\"127.0.0.1:10143\"} 1900000000\n",
             "mailgate_listener_available{listener=\"imap\"} 0\n",
             "mailgate_listener_closed{listener=\"smtp\"} 1\n",
             "mailgate_listener_closed{listener=\"imap\"} 0\n",
             "mailgate_rules_without_listener 7\n",
             "mailgate_mails_total{listener=\"smtp\"} 21\n",
             "mailgate_recipients_total{listener=\"smtp\"} 34\n",
             "mailgate_logins_total{listener=\"smtp\"} 0\n",
             "mailgate_last_reload_failed 1\n",
             "mailgate_tls_certificate_refused{used_by=\"listener\",name=\"imap\"} 1\n",
             "mailgate_tls_certificate_refused{used_by=\"upstream\",name=\"postfix\"} 0\n",
             "mailgate_rules_version 41\n",
             "mailgate_journal_max_bytes 2048\n",
             "mailgate_worker_lag_seconds{worker=\"1\"} 0.5\n",
             "mailgate_journal_lost_total 3\n",
         })
        EXPECT_THAT(text, HasSubstr(line));
}

TEST(Metrics, HistogramsAreCumulative) {
    FakeControl control;
    control.now.upstreams = {{"postfix", {{0.01, 0.1}, {3, 2, 1}, 1.5}, {}}};
    const std::string text = metricsOf(control);
    EXPECT_THAT(text, HasSubstr("# TYPE mailgate_connect_seconds histogram\n"));
    EXPECT_THAT(text, HasSubstr("mailgate_connect_seconds_count{upstream=\"postfix\"} 6\n"
                                "mailgate_connect_seconds_sum{upstream=\"postfix\"} 1.5\n"));
    EXPECT_THAT(text, testing::ContainsRegex(
                          "mailgate_connect_seconds_bucket.upstream=\"postfix\",le=\"0.1[0-9]*\". 5\n"));
    EXPECT_THAT(text, HasSubstr("mailgate_connect_seconds_bucket{upstream=\"postfix\",le=\"+Inf\"} 6\n"));
    EXPECT_THAT(text, Not(HasSubstr("mailgate_greeting_seconds"))) << "nothing was measured";
}

TEST(Metrics, TheAgeOfTheRulesIsNotToldBeforeThereAreAny) {
    FakeControl control;
    EXPECT_THAT(metricsOf(control), Not(HasSubstr("mailgate_rules_age_seconds")));
    control.now.rules_loaded_ms = 1'000;
    EXPECT_THAT(metricsOf(control), testing::ContainsRegex("\nmailgate_rules_age_seconds [0-9.e+]+\n"));
}

TEST(Metrics, OnlyOfADrainedServerItIsToldSinceWhen) {
    FakeControl control;
    EXPECT_THAT(metricsOf(control), Not(HasSubstr("mailgate_server_drained_since_seconds")));
    control.now.servers[1].drained.since = 1'795'000'000;
    EXPECT_THAT(
        metricsOf(control),
        HasSubstr(
            "\nmailgate_server_drained_since_seconds{upstream=\"dovecot\",server=\"imap1\",address=\"127.0."
            "0.1:10143\"} 1795000000\n"));
}

TEST(Metrics, TellThatJournalOrLogCannotBeWritten) {
    FakeControl control;
    EXPECT_THAT(metricsOf(control), HasSubstr("\nmailgate_log_failed 0\n"));
    control.now.log_failure = "cannot be written: no space";
    EXPECT_THAT(metricsOf(control), HasSubstr("\nmailgate_log_failed 1\n"));
    EXPECT_THAT(metricsOf(control), Not(HasSubstr("mailgate_journal_failed"))) << "there is none";
    control.now.journal_max_bytes = 1;
    EXPECT_THAT(metricsOf(control), HasSubstr("\nmailgate_journal_failed 0\n"));
    control.now.journal_failure = "the disk is full";
    EXPECT_THAT(metricsOf(control), HasSubstr("\nmailgate_journal_failed 1\n"));
}

TEST(Metrics, TellWhatTheProcessUses) {
    FakeControl control;
    const std::string text = metricsOf(control);
    for (const char* name : {"process_resident_memory_bytes", "process_open_fds", "process_max_fds",
                             "process_cpu_seconds_total", "process_start_time_seconds"})
        EXPECT_THAT(text, testing::ContainsRegex("\n" + std::string(name) + " [0-9.e+]*[1-9][0-9.e+]*\n"));
}

// What a scrape refuses: a family told twice, a series told twice, a name against the conventions.
TEST(Metrics, NoFamilyAndNoSeriesComesTwice) {
    FakeControl control;
    control.now.servers.push_back(FakeControl::server("postfix", "mx1", "[::1]:10025"));
    std::istringstream lines(metricsOf(control));
    std::set<std::string> seen;
    for (std::string line; std::getline(lines, line);) {
        const std::string key =
            line.starts_with("# ") ? line.substr(0, line.find(' ', 7)) : line.substr(0, line.rfind(' '));
        EXPECT_TRUE(seen.insert(key).second) << key;
        if (line.starts_with("#")) continue;
        EXPECT_THAT(line, testing::MatchesRegex("(mailgate|process)_[a-z_]+([{][^}]*[}])? [0-9.e+-]+"));
    }
    EXPECT_GT(seen.size(), 40U);
}

std::string_view typeName(prometheus::MetricType type) {
    switch (type) {
        case prometheus::MetricType::Counter:
            return "counter";
        case prometheus::MetricType::Histogram:
            return "histogram";
        default:
            return "gauge";
    }
}

TEST(Metrics, TheDocumentHasEveryFamily) {
    FakeControl control;
    control.now.fleet_journal.configured = true;
    control.now.fleet_tickets.configured = true;
    control.now.fleet.configured = true;
    control.now.rules_loaded_ms = 1'000;
    control.now.upstreams = {{"postfix", {{0.01}, {3, 2}, 1.5}, {{0.01}, {3, 2}, 1.5}}};
    control.now.journal_max_bytes = 1;
    control.now.journal_oldest_ms = 1'000;
    control.now.ends = {{"client_quit", 5}};
    control.now.refusals = {{"access", 4}};
    control.now.rejections = {{"bad_v1", "10.0.0.9", 2}};
    control.now.listeners[0].would_refuse = {{"access", 8}};
    control.now.worker_lag_seconds = {0.25};
    control.now.servers[0].drained.since = 1'000;
    std::string table = "| Name | Type | Labels | Meaning |\n|---|---|---|---|\n";
    for (const prometheus::MetricFamily& family : GatewayMetrics(control).Collect()) {
        std::vector<std::string> labels;
        for (const auto& label : family.metric.front().label)
            labels.push_back(fmt::format("`{}`", label.name));
        table += fmt::format("| `{}` | {} | {} | {} |\n", family.name, typeName(family.type),
                             fmt::join(labels, ", "), family.help);
    }
    expectReference("docs/metrics.md", "<!-- The table is made of ", "<!-- end of the table -->", table);
}

TEST(Metrics, TheDocumentOfTheSocketHasEveryTotal) {
    std::string table = "| `totals` | |\n|---|---|\n";
    for (const auto& row : kGatewayCounters)
        table += fmt::format("| `{}` | {} |\n", row.name, row.help);
    expectReference("docs/admin-api.md", "<!-- The table is made of ", "<!-- end of the table -->", table);
}

}  // namespace
}  // namespace mailgate::admin
