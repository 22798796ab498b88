// SPDX-License-Identifier: Apache-2.0
#include "gateway/cli/access_text.h"

#include "tests/support/networks.h"

#include <gtest/gtest.h>

namespace mailgate::cli {
namespace {

using store::AccessRule;
using store::Verdict;

AccessRule rule() {
    AccessRule rule;
    rule.id = 12;
    rule.verdict = Verdict::Allow;
    rule.network = network("198.51.100.0/24");
    rule.created_by = "alice";
    rule.created_at = 1'700'000'000;
    return rule;
}

TEST(AccessTextTest, ARuleAsASentence) {
    AccessRule one = rule();
    EXPECT_EQ(sentenceOf(one), "rule 12: allow 198.51.100.0/24 on all listeners");
    one.listener = "mx";
    one.note = "ACME\n\x1B[2J";
    one.limits = {0, 60};
    one.expires_at = 1'900'000'000;
    EXPECT_EQ(sentenceOf(one),
              "rule 12: allow 198.51.100.0/24 on listener mx, \"ACME\\u000a\\u001b[2J\", unlimited "
              "concurrent sessions per client, 60 new sessions per minute per client, expires "
              "2030-03-17T17:46:40Z");
}

TEST(AccessTextTest, RulesAsATable) {
    AccessRule limited = rule();
    limited.limits = {20, 0};
    limited.hits = 7;
    limited.last_hit_at = 1'700'000'001;
    limited.listener = "mx";
    EXPECT_EQ(
        rulesAsTable(std::vector{rule(), limited}, {}, Times(Zone::Utc)),
        "RULE  VERDICT  NETWORK          LISTENER  LIMITS               EXPIRES  HITS  LAST HIT            "
        "  BY     NOTE\n"
        "12    allow    198.51.100.0/24  all       -                    -        0     -                   "
        "  alice\n"
        "12    allow    198.51.100.0/24  mx        20 at once, any/min  -        7     2023-11-14T22:13:21Z"
        "  alice\n");
}

TEST(AccessTextTest, RulesAsJson) {
    EXPECT_EQ(rulesAsJson({}), "[]\n");
    AccessRule one = rule();
    one.note = "say \"x\"";
    one.limits.sessions = 0;
    EXPECT_EQ(rulesAsJson(std::vector{one}),
              "[\n  {\"id\":12,\"network\":\"198.51.100.0/24\",\"verdict\":\"allow\",\"listener\":null,"
              "\"note\":\"say \\\"x\\\"\",\"created_at\":\"2023-11-14T22:13:20Z\",\"created_by\":\"alice\","
              "\"expires_at\":null,\"client_sessions\":0,\"client_rate\":null,\"hits\":0,\"last_hit_at\":"
              "null}\n]\n");
}

TEST(AccessTextTest, TheHistoryAsTableAndJson) {
    const std::vector<store::RuleStore::AuditEntry> entries{
        {1, 1'700'000'000, "alice", "add", 12, "", "allow 192.0.2.1"},
        {2, 1'700'000'001, "bob", "change", 12, "allow 192.0.2.1", "allow 192.0.2.1 note"},
        {3, 1'700'000'002, "eve\t", "remove", 12, "allow 192.0.2.1 note", ""}};
    EXPECT_EQ(historyAsTable(entries, {}, Times(Zone::Utc)),
              "TIME                  BY         ACTION  RULE  WHAT\n"
              "2023-11-14T22:13:20Z  alice      add     12    allow 192.0.2.1\n"
              "2023-11-14T22:13:21Z  bob        change  12    allow 192.0.2.1  ->  allow 192.0.2.1 note\n"
              "2023-11-14T22:13:22Z  eve\\u0009  remove  12    allow 192.0.2.1 note\n");
    EXPECT_EQ(
        historyAsJson(std::span(entries).first(1)),
        "[\n  {\"id\":1,\"time\":\"2023-11-14T22:13:20Z\",\"who\":\"alice\",\"action\":\"add\",\"rule\":12,"
        "\"before\":null,\"after\":\"allow 192.0.2.1\"}\n]\n");
}

TEST(AccessTextTest, WhyAChangeWasNotMade) {
    rules::Hazardous refused{rule(), 0, {rules::WholeInternet{true, true}}};
    EXPECT_EQ(sentenceOf(refused),
              "allowing 198.51.100.0/24 would let in half of IPv4: nothing was changed; use --force to "
              "do it anyway");
    refused.rule.verdict = Verdict::Deny;
    refused.hazards = {rules::WholeInternet{false, false}, rules::OwnBalancers{network("10.0.0.0/8"), "mx"},
                       rules::OwnServer{"smtp/a", "mail:25"}};
    EXPECT_EQ(sentenceOf(refused),
              "denying 198.51.100.0/24 would shut out all of IPv6, the balancers 10.0.0.0/8 of listener mx, "
              "the server smtp/a (mail:25): nothing was changed; use --force to do it anyway");
}

TEST(AccessTextTest, WhatARuleMeets) {
    using rules::Standing;
    const std::string other = "rule 12: allow 198.51.100.0/24 on all listeners";
    EXPECT_EQ(sentenceOf(rules::Overlap{3, Standing::Wins, rule()}), "rule 3 overrides " + other);
    EXPECT_EQ(sentenceOf(rules::Overlap{3, Standing::WithoutEffect, rule()}),
              "rule 3 has no effect where " + other + " applies");
    EXPECT_EQ(sentenceOf(rules::Overlap{3, Standing::OverriddenInside, rule()}),
              "rule 3 is overridden inside 198.51.100.0/24 by " + other);
    EXPECT_EQ(sentenceOf(rules::Overlap{3, Standing::MoreSpecific, rule()}),
              "rule 3 is more specific and overrides " + other);
    using Relation = rules::NearMiss::Relation;
    EXPECT_EQ(sentenceOf(rules::NearMiss{Relation::Same, rule()}), "the same network: " + other);
    EXPECT_EQ(sentenceOf(rules::NearMiss{Relation::Around, rule()}), "a larger network: " + other);
    EXPECT_EQ(sentenceOf(rules::NearMiss{Relation::Contains, rule()}), "a smaller network: " + other);
}

TEST(AccessTextTest, AnExportedNoteShowsWhatItIs) {
    AccessRule one = rule();
    one.note = "B\xC3\xBCro";
    EXPECT_EQ(exportLine(one), "allow 198.51.100.0/24 B\xC3\xBCro");
    one.note = "abc\xE2\x80\xAE";
    EXPECT_EQ(exportLine(one), "allow 198.51.100.0/24 \"abc\\xE2\\x80\\xAE\"");
}

}  // namespace
}  // namespace mailgate::cli
