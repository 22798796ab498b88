// SPDX-License-Identifier: Apache-2.0
#include "gateway/cli/access_text.h"

#include "tests/support/networks.h"

#include <gmock/gmock.h>

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
    one.limits = {1, 1};
    EXPECT_THAT(
        sentenceOf(one),
        testing::HasSubstr(", 1 concurrent session per client, 1 new session per minute per client, "));
}

TEST(AccessTextTest, RulesAsATable) {
    AccessRule limited = rule();
    limited.limits = {20, 0};
    limited.hits = 7;
    limited.last_hit_at = 1'700'000'001;
    limited.listener = "mx";
    EXPECT_EQ(
        rulesAsTable(std::vector{rule(), limited}, {}, Times(Zone::Utc)),
        "RULE  SET     VERDICT  NETWORK          LISTENER  LIMITS               EXPIRES  HITS  LAST HIT    "
        "          BY     NOTE\n"
        "12    manual  allow    198.51.100.0/24  all       -                    -        0     -           "
        "          alice\n"
        "12    manual  allow    198.51.100.0/24  mx        20 at once, any/min  -        7     "
        "2023-11-14T22:13:21Z  alice\n");
    AccessRule owned = rule();
    owned.ticket = "CHG-1";
    owned.set = "git";
    EXPECT_EQ(
        rulesAsTable(std::vector{owned}, {}, Times(Zone::Utc)),
        "RULE  SET  VERDICT  NETWORK          LISTENER  LIMITS  EXPIRES  HITS  LAST HIT  BY     TICKET  "
        "NOTE\n"
        "12    git  allow    198.51.100.0/24  all       -       -        0     -         alice  CHG-1\n");
}

TEST(AccessTextTest, ChangesAsLines) {
    EXPECT_EQ(changeLine({1, 0, "eve", "add", 1, "", "allow 192.0.2.1 owner=\"A \\\\ B\"", 1}),
              "+ allow 192.0.2.1 owner=\"A \\\\ B\"");
    EXPECT_EQ(changeLine({1, 0, "eve", "remove", 1, "deny 192.0.2.1 \x1B[2J", "", 1}),
              "- deny 192.0.2.1 \\u001b[2J");
    EXPECT_EQ(changeLine({1, 0, "eve", "change", 1, "deny 192.0.2.1", "deny 192.0.2.1 x", 1}),
              "~ deny 192.0.2.1  ->  deny 192.0.2.1 x");
    EXPECT_EQ(changeLine({1, 0, "eve", "change", 0, "set acme expires=15552000s ACME's relays",
                          "set acme expires=3600s \"expires=1s\"", 1}),
              "~ set acme expires=180d ACME's relays  ->  set acme expires=1h \"expires=1s\"");
    EXPECT_EQ(changeLine({1, 0, "eve", "remove", 0, "set acme expires=86400s", "", 1}),
              "- set acme expires=1d");
}

TEST(AccessTextTest, ARuleSaysWhatItsClientsHear) {
    AccessRule one = rule();
    one.verdict = Verdict::Deny;
    one.reply = {.temporary = true, .shows_note = true};
    EXPECT_EQ(sentenceOf(one),
              "rule 12: deny 198.51.100.0/24 on all listeners, reply temporary, reply with note");
    EXPECT_NE(rulesAsTable(std::vector{one}, {}, Times(Zone::Utc)).find("REPLY"), std::string::npos);
    EXPECT_NE(ruleAsJson(one).find(R"("reply":"temporary,note")"), std::string::npos);
}

TEST(AccessTextTest, ChangesAsJson) {
    const std::vector<store::RuleStore::AuditEntry> entries{
        {5, 0, "eve", "add", 1, "", "deny 192.0.2.1 \"x\"", 5},
        {6, 0, "eve", "change", 0, "set a x", "set a y", 5}};
    EXPECT_EQ(changesAsJson({.added = 1, .changed = 1, .entries = entries}),
              "{\"dry_run\":false,\"added\":1,\"changed\":1,\"removed\":0,\"changes\":[\n"
              R"(  {"change":5,"action":"add","rule":1,"before":null,"after":"deny 192.0.2.1 \"x\""},)"
              "\n"
              R"(  {"change":5,"action":"change","rule":null,"before":"set a x","after":"set a y"})"
              "\n]}\n");
    EXPECT_EQ(changesAsJson(
                  {.dry_run = true, .added = 1, .entries = std::span(entries).first(1), .sessions = "{}"}),
              "{\"dry_run\":true,\"added\":1,\"changed\":0,\"removed\":0,\"sessions\":{},\"changes\":[\n"
              R"(  {"change":null,"action":"add","rule":null,"before":null,"after":"deny 192.0.2.1 \"x\""})"
              "\n]}\n")
        << "numbers of what is not there name nothing";
    EXPECT_EQ(changesAsJson({}),
              "{\"dry_run\":false,\"added\":0,\"changed\":0,\"removed\":0,\"changes\":[]}\n");
}

TEST(AccessTextTest, DecisionsAsJson) {
    rules::Decision decision{.client = address("198.51.100.7"), .listener = "mx", .allowed = true};
    EXPECT_EQ(decisionsAsJson(std::vector{decision}, 0),
              "{\"decisions\":[\n  "
              "{\"address\":\"198.51.100.7\",\"listener\":\"mx\",\"allowed\":true,\"rule\":null,"
              "\"others\":[]}\n]}\n");
    decision.by = rule();
    decision.others = {rule()};
    decision.others[0].expires_at = 10;
    const std::string json = decisionsAsJson(std::vector{decision}, 10);
    EXPECT_NE(json.find(R"("rule":{"id":12,)"), std::string::npos);
    EXPECT_NE(json.find(R"("others":[{"expired":true,"rule":{"id":12,)"), std::string::npos);
}

TEST(AccessTextTest, RulesAsCsv) {
    const rules::Site site{{{"mx", true, {}}, {"imap", false, {}}}, {}};
    AccessRule one = rule();
    one.note = "=cmd \"x\", evil\n";
    one.owner = "-1";
    one.expires_at = 1'900'000'000;
    one.listener = "mx";
    EXPECT_EQ(rulesAsCsv(std::vector{one}, site),
              "network,verdict,listener,set,note,owner,ticket,created_at,created_by,expires_at,hits,last_hit_"
              "at,id,stands_for\r\n"
              "others,deny,mx,,access = allowlist,,,,,,,,,\r\n"
              "others,allow,imap,,access = open,,,,,,,,,\r\n"
              "198.51.100.0/24,allow,mx,manual,\"'=cmd \"\"x\"\", "
              "evil\\u000a\",\"'-1\",,2023-11-14T22:13:20Z,alice,"
              "2030-03-17T17:46:40Z,0,,12,\r\n");
    one = rule();
    one.name = "host:home.example.org";
    EXPECT_THAT(
        rulesAsCsv(std::vector{one}, site,
                   {{12, {{network("192.0.2.1"), network("2001:db8::1")}, 0, {}, 0, ""}}}),
        testing::HasSubstr("host:home.example.org,allow,all,manual,,,,2023-11-14T22:13:20Z,alice,,0,,12,"
                           "192.0.2.1 2001:db8::1\r\n"));
}

TEST(AccessTextTest, SetsAsTableSentenceAndJson) {
    rules::SetSummary set{.name = "git", .allowing = 2, .denying = 1, .expired = 4, .hits = 7};
    EXPECT_EQ(setsAsTable(std::span(&set, 1), {}, Times(Zone::Utc)),
              "SET  RULES  ALLOW  DENY  EXPIRED  HITS  LAST HIT  EXPIRES AFTER  NOTE\n"
              "git  3      2      1     4        7     -         -\n");
    EXPECT_EQ(sentenceOf("git", 1, {}), "set git: 1 rule, no defaults");
    EXPECT_EQ(sentenceOf("git", 3, {"", 90}), "set git: 3 rules, new rules expire after 90s");
    set.defaults = {"from git", 180 * 86'400};
    EXPECT_EQ(sentenceOf("git", 0, set.defaults),
              "set git: 0 rules, new rules get the note \"from git\" and expire after 180d");
    const std::string json =
        "{\"name\":\"git\",\"rules\":3,\"allow\":2,\"deny\":1,\"expired\":4,\"hits\":7,\"last_hit_at\":null,"
        "\"default_note\":\"from git\",\"default_expires_after\":\"180d\"}";
    EXPECT_EQ(setsAsJson(std::span(&set, 1)), "{\"sets\":[\n  " + json + "\n]}\n");
    EXPECT_EQ(setAsJson(set, {}), "{\"sets\":[\n  " + json + "\n],\n\"rules\":[]}\n");
}

TEST(AccessTextTest, RulesAsJson) {
    EXPECT_EQ(rulesAsJson({}), "{\"rules\":[]}\n");
    AccessRule one = rule();
    one.note = "say \"x\"";
    one.limits.sessions = 0;
    EXPECT_EQ(
        rulesAsJson(std::vector{one}),
        "{\"rules\":[\n  {\"id\":12,\"set\":\"manual\",\"network\":\"198.51.100.0/24\",\"name\":null,"
        "\"stands_for\":null,\"verdict\":\"allow\",\"listener\":null,"
        "\"note\":\"say "
        "\\\"x\\\"\",\"owner\":null,\"ticket\":null,\"created_at\":\"2023-11-14T22:13:20Z\",\"created_by\":"
        "\"alice\","
        "\"expires_at\":null,\"client_sessions\":0,\"client_rate\":null,\"reply\":null,\"hits\":0,\"last_hit_"
        "at\":"
        "null}\n]}\n");
    one.network = network("192.0.2.1");
    EXPECT_NE(ruleAsJson(one).find("\"network\":\"192.0.2.1/32\""), std::string::npos);
    one.network = network("2001:db8::1");
    EXPECT_NE(ruleAsJson(one).find("\"network\":\"2001:db8::1/128\""), std::string::npos);
}

TEST(AccessTextTest, ARuleForANameTellsWhatThatStandsFor) {
    AccessRule one = rule();
    one.network = {};
    one.name = "host:home.example.org";
    store::NameState state;
    state.networks = {network("192.0.2.1"), network("2001:db8::/48")};
    state.due = 1'300;
    EXPECT_NE(ruleAsJson(one, {{one.id, state}})
                  .find("\"network\":null,\"name\":\"host:home.example.org\","
                        "\"stands_for\":[\"192.0.2.1/32\",\"2001:db8::/48\"],"),
              std::string::npos);
    EXPECT_NE(ruleAsJson(one).find("\"stands_for\":[],"), std::string::npos);
    const rules::Decision decision{
        .client = address("192.0.2.1"), .listener = "mx", .allowed = true, .by = one, .others = {one}};
    for (const std::string& json : {decisionsAsJson(std::vector{decision}, 0, {{one.id, state}}),
                                    reportAsJson(std::vector{one}, {}, {{one.id, state}}),
                                    setAsJson({.name = "manual"}, std::vector{one}, {{one.id, state}})})
        EXPECT_NE(json.find("\"stands_for\":[\"192.0.2.1/32\",\"2001:db8::/48\"],"), std::string::npos);
    EXPECT_NE(rulesAsTable(std::vector{one}, {}, Times(Zone::Utc), {{one.id, state}})
                  .find("host:home.example.org (192.0.2.1 and 1 more)"),
              std::string::npos);
    EXPECT_THAT(sentenceOf(one), testing::StartsWith("rule 12: allow host:home.example.org on"));
    EXPECT_EQ(sentenceOf(one, state, 1'000),
              "host:home.example.org is 192.0.2.1, 2001:db8::/48; asked again in 5m");
    state.error = "\"all\" is mute\x1b";
    EXPECT_EQ(sentenceOf(one, state, 1'000),
              "host:home.example.org is 192.0.2.1, 2001:db8::/48, as before: \"all\" is mute\\x1B");
    state.networks.clear();
    EXPECT_THAT(sentenceOf(one, state, 1'000),
                testing::HasSubstr("stands for nothing yet, so the rule matches nobody"));
    one.network = network("192.0.2.1");
    EXPECT_THAT(sentenceOf(one), testing::HasSubstr("allow host:home.example.org (192.0.2.1) on"));
}

TEST(AccessTextTest, TheHistoryAsTableAndJson) {
    const std::vector<store::RuleStore::AuditEntry> entries{
        {1, 1'700'000'000, "alice", "add", 12, "", "allow 192.0.2.1", 1},
        {2, 1'700'000'001, "bob", "change", 12, "allow 192.0.2.1", "allow 192.0.2.1 note", 2},
        {3, 1'700'000'002, "eve\t", "remove", 12, "allow 192.0.2.1 note", "", 2},
        {4, 1'700'000'003, "eve", "add", 0, "", "set git expires=604800s", 4}};
    EXPECT_EQ(
        historyAsTable(entries, {}, Times(Zone::Utc)),
        "TIME                  BY         CHANGE  ACTION  RULE  WHAT\n"
        "2023-11-14T22:13:20Z  alice      1       add     12    allow 192.0.2.1\n"
        "2023-11-14T22:13:21Z  bob        2       change  12    note \"\" -> \"note\" (allow 192.0.2.1)\n"
        "2023-11-14T22:13:22Z  eve\\u0009  2       remove  12    allow 192.0.2.1 note\n"
        "2023-11-14T22:13:23Z  eve        4       add     -     set git expires=7d\n");
    EXPECT_EQ(historyAsJson(std::span(entries).first(1)),
              "{\"changes\":[\n  "
              "{\"id\":1,\"change\":1,\"time\":\"2023-11-14T22:13:20Z\",\"who\":\"alice\",\"action\":\"add\","
              "\"rule\":12,"
              "\"before\":null,\"after\":\"allow 192.0.2.1\"}\n]}\n");
    EXPECT_THAT(historyAsJson(std::span(entries).last(1)),
                testing::HasSubstr("\"rule\":null,\"before\":null,\"after\":\"set git expires=7d\"}"));
}

/// The cell WHAT of a change.
std::string whatWasChanged(const std::string& before, const std::string& after) {
    const std::vector<store::RuleStore::AuditEntry> entries{{1, 0, "alice", "change", 1, before, after, 1}};
    TableStyle style;
    style.columns = {"what"};
    const std::string table = historyAsTable(entries, style, Times(Zone::Utc));
    return table.substr(5, table.size() - 6);
}

TEST(AccessTextTest, TheHistoryTellsWhatIsDifferent) {
    EXPECT_EQ(whatWasChanged("allow 203.0.113.7 listener=mx ticket=SEC-1 a note",
                             "allow 203.0.113.7 listener=mx expires=2026-12-24T00:00:00Z client_rate=20 "
                             "owner=\"the post\" ticket=SEC-2 a note"),
              "expires=never -> 2026-12-24T00:00:00Z, client_rate=none -> 20, owner=\"\" -> \"the post\", "
              "ticket=\"SEC-1\" -> \"SEC-2\" (allow 203.0.113.7)");
    EXPECT_EQ(whatWasChanged("deny host:a.example set=x listener=mx reply=temporary",
                             "deny host:a.example set=y reply=note"),
              "set=x -> y, listener=mx -> all, reply=temporary -> note (deny host:a.example)");
    EXPECT_EQ(whatWasChanged("set git expires=604800s", "set git since spring"),
              "expires=7d -> never, note \"\" -> \"since spring\" (set git)");
    EXPECT_EQ(whatWasChanged("host:a.example is 192.0.2.1", "host:a.example is 192.0.2.2"),
              "host:a.example is 192.0.2.1  ->  host:a.example is 192.0.2.2");
    EXPECT_EQ(whatWasChanged("deny 192.0.2.1 x", "allow 192.0.2.1 x"),
              "deny 192.0.2.1 x  ->  allow 192.0.2.1 x")
        << "with the sqlite3 shell";
    EXPECT_EQ(whatWasChanged("deny 192.0.2.1", "nonsense\x1B"), "deny 192.0.2.1  ->  nonsense\\u001b");
}

TEST(AccessTextTest, WhichOfTheHistoryIsAskedFor) {
    const auto entry = [](const char* who, const char* before, const char* after) {
        return store::RuleStore::AuditEntry{1, 1'700'000'000, who, "change", 1, before, after, 1};
    };
    const auto by = [&](const char* who, const char* wanted) {
        return passes(entry(who, "", "deny 192.0.2.1"), {.by = wanted});
    };
    for (const char* who : {"alice", "alice (sudo)", "alice (sudo -u mailgate)", "alice (console)",
                            "alice@gw2", "alice (console)@gw2"})
        EXPECT_TRUE(by(who, "alice")) << who;
    EXPECT_TRUE(by("alice (sudo)", "alice (sudo)"));
    EXPECT_TRUE(by("program fail2ban", "fail2ban"));
    EXPECT_FALSE(by("alicea", "alice"));
    EXPECT_FALSE(by("bob", "alice"));
    EXPECT_FALSE(by("alice", "alice (sudo)"));
    const auto of = [&](const char* before, const char* after, const char* set) {
        return passes(entry("a", before, after), {.set = set});
    };
    EXPECT_TRUE(of("", "deny 192.0.2.1", "manual"));
    EXPECT_TRUE(of("deny 192.0.2.1 set=x", "", "x"));
    EXPECT_TRUE(of("deny 192.0.2.1 set=x", "deny 192.0.2.1 set=y", "x"));
    EXPECT_TRUE(of("", "set x expires=60s", "x"));
    EXPECT_FALSE(of("", "deny 192.0.2.1 set=x", "manual"));
    EXPECT_FALSE(of("", "host:x is 192.0.2.1", "x"));
    const auto at = [&](std::int64_t since, std::int64_t until) {
        return passes(entry("a", "", ""), {.period = {since, until}});
    };
    EXPECT_TRUE(at(1'700'000'000'000, 1'700'000'000'000));
    EXPECT_FALSE(at(1'700'000'000'001, 1'700'000'009'000));
    EXPECT_FALSE(at(1'600'000'000'000, 1'699'999'999'999));
    EXPECT_TRUE(passes(entry("a", "", ""), {}));
}

TEST(AccessTextTest, WhyAChangeWasNotMade) {
    rules::Hazardous refused{rule(), 0, {rules::WholeInternet{true, true}}};
    EXPECT_EQ(dangerOf(refused), "allowing 198.51.100.0/24 would let in half of IPv4");
    refused.rule.verdict = Verdict::Deny;
    refused.hazards = {rules::WholeInternet{false, false}, rules::OwnBalancers{network("10.0.0.0/8"), "mx"},
                       rules::OwnServer{"smtp/a", "mail:25"}};
    EXPECT_EQ(dangerOf(refused),
              "denying 198.51.100.0/24 would shut out all of IPv6, the balancers 10.0.0.0/8 of listener mx, "
              "the server smtp/a (mail:25)");
    refused.hazards.clear();
    for (const char* listener : {"mx", "sub", "imap", "pop3", "sieve"})
        refused.hazards.emplace_back(rules::OwnBalancers{network("10.0.0.0/8"), listener});
    for (const char* name : {"a", "b", "c", "d"})
        refused.hazards.emplace_back(rules::OwnServer{name, "mail:25"});
    EXPECT_EQ(dangerOf(refused),
              "denying 198.51.100.0/24 would shut out the balancers 10.0.0.0/8 of listeners mx, sub, imap +2 "
              "more, the servers a (mail:25), b (mail:25), c (mail:25) +1 more");
    EXPECT_EQ(dangerOf(rules::TooMuchTogether{Verdict::Allow, "mx", true, 0.999, false}),
              "allowing these networks would let in 99% of IPv4 on listener mx");
    EXPECT_EQ(dangerOf(rules::TooMuchTogether{Verdict::Deny, "mx", false, 0.5, true}),
              "denying these networks would, together with the rules that are there, shut out 50% of IPv6 on "
              "listener mx");
    EXPECT_EQ(dangerOf(rules::MostRemoved{34, 37, false}),
              "34 of 37 rules would be removed: the list may be incomplete");
    EXPECT_EQ(dangerOf(rules::MostRemoved{1, 1, true}),
              "1 of 1 rule would be removed, and the list has no end mark (\"# end, N rules\", as the export "
              "writes "
              "it): the list may be incomplete");
}

TEST(AccessTextTest, WhatBecameOfAProgramsRule) {
    store::RuleStore::EditResult taken{store::RuleStore::PutKind::Changed, rule()};
    AccessRule former = rule();
    former.id = 7;
    former.created_by = "program fail2ban";
    taken.taken_over = std::make_shared<AccessRule>(former);
    EXPECT_EQ(takeOverNote(taken),
              "rule 12 was rule 7 of program fail2ban, which leaves it alone from now on");
    former.expires_at = 1'700'000'000;
    taken.taken_over = std::make_shared<AccessRule>(former);
    EXPECT_EQ(
        takeOverNote(taken),
        "rule 12 was rule 7 of program fail2ban, which leaves it alone from now on; it no longer expires at "
        "2023-11-14T22:13:20Z");
}

TEST(AccessTextTest, WhatARuleMeets) {
    using rules::Standing;
    const std::string other = "rule 12: allow 198.51.100.0/24 on all listeners";
    EXPECT_EQ(sentenceOf(rules::Overlap{3, Standing::Wins, rule()}), "rule 3 overrides " + other);
    EXPECT_EQ(sentenceOf(rules::Overlap{3, Standing::WithoutEffect, rule()}),
              "rule 3 has no effect where " + other + " applies");
    EXPECT_EQ(sentenceOf(rules::Overlap{3, Standing::OverriddenInside, rule()}),
              "rule 3 is overridden inside 198.51.100.0/24 by " + other);
    EXPECT_EQ(sentenceOf(rules::Overlap{3, Standing::ComesFirst, rule()}), "rule 3 comes before " + other);
    EXPECT_EQ(sentenceOf(rules::Overlap{3, Standing::ComesAfter, rule(), true}),
              "rule 3 comes after " + other + "; it stays in force when that has expired");
    EXPECT_EQ(sentenceOf(rules::Overlap{3, Standing::MoreSpecific, rule()}),
              "rule 3 is more specific and overrides " + other);
    const AccessRule planned = rule();
    EXPECT_EQ(sentenceOf(rules::Overlap{3, Standing::Wins, rule()}, &planned),
              "the new rule for 198.51.100.0/24 overrides " + other);
    using Relation = rules::NearMiss::Relation;
    EXPECT_EQ(sentenceOf(rules::NearMiss{Relation::Same, rule()}), "the same network: " + other);
    EXPECT_EQ(sentenceOf(rules::NearMiss{Relation::Around, rule()}), "a larger network: " + other);
    EXPECT_EQ(sentenceOf(rules::NearMiss{Relation::Contains, rule()}), "a smaller network: " + other);
}

TEST(AccessTextTest, AnExportedNoteShowsWhatItIs) {
    AccessRule one = rule();
    one.note = "B\xC3\xBCro";
    EXPECT_EQ(exportLine(one), "allow 198.51.100.0/24 B\xC3\xBCro");
    one.owner = "evil \xE2\x80\xAE";
    EXPECT_EQ(exportLine(one), "allow 198.51.100.0/24 owner=\"evil \\xE2\\x80\\xAE\" \"B\\xC3\\xBCro\"");
    one.owner.clear();
    one.note = "abc\xE2\x80\xAE";
    EXPECT_EQ(exportLine(one), "allow 198.51.100.0/24 \"abc\\xE2\\x80\\xAE\"");
    one.note.clear();
    EXPECT_EQ(exportLine(one, {"from git", 60}), "allow 198.51.100.0/24 expires=never \"\"");
}

}  // namespace
}  // namespace mailgate::cli
