// SPDX-License-Identifier: Apache-2.0
#include "store/rules/hygiene.h"

#include "store/rules/table.h"
#include "tests/support/networks.h"

#include <gmock/gmock.h>

#include <random>

namespace mailgate::rules {
namespace {

using store::AccessRule;
using store::Verdict;
using testing::ElementsAre;
using testing::IsEmpty;

const std::vector<std::string> kMxAndImap{"mx", "imap"};

struct HygieneCase {
    const char* network;
    Verdict verdict = Verdict::Allow;
    const char* listener = "";
    const char* set = "manual";
    std::optional<UnixSeconds> expires_at{};
    const char* name = "";
};

/// Their ids are 1, 2, ...
std::vector<AccessRule> numbered(const std::vector<HygieneCase>& cases) {
    std::vector<AccessRule> rules;
    for (const HygieneCase& one : cases) {
        AccessRule& rule = rules.emplace_back();
        rule.id = static_cast<std::int64_t>(rules.size());
        rule.network = network(one.network);
        rule.verdict = one.verdict;
        rule.listener = one.listener;
        rule.set = one.set;
        rule.expires_at = one.expires_at;
        rule.name = one.name;
    }
    return rules;
}

std::set<std::int64_t> shadowedOf(const std::vector<HygieneCase>& cases) {
    return shadowed(numbered(cases), kMxAndImap);
}

TEST(HygieneTest, WhatAnotherRuleOfTheNetworkDecidesIsShadowed) {
    EXPECT_THAT(shadowedOf({{"192.0.2.0/24"}, {"192.0.2.0/24", Verdict::Deny}}), ElementsAre(1));
    EXPECT_THAT(shadowedOf({{"192.0.2.0/24", Verdict::Allow, "mx"}, {"192.0.2.0/24", Verdict::Deny}}),
                IsEmpty());
    EXPECT_THAT(shadowedOf({{"192.0.2.0/24", Verdict::Allow, "mx"},
                            {"192.0.2.0/24", Verdict::Deny},
                            {"192.0.2.0/24", Verdict::Allow, "imap"}}),
                ElementsAre(2));
    EXPECT_THAT(shadowedOf({{"192.0.2.0/24", Verdict::Allow, "", "git"},
                            {"192.0.2.0/24", Verdict::Allow, "", "partners"},
                            {"192.0.2.0/24"}}),
                ElementsAre(1, 2));
    EXPECT_THAT(shadowedOf({{"192.0.2.0/24", Verdict::Allow, "gone"}}), ElementsAre(1));
}

TEST(HygieneTest, WhatNarrowerRulesCoverIsShadowed) {
    EXPECT_THAT(shadowedOf({{"192.0.2.0/24"}, {"192.0.2.0/25"}, {"192.0.2.128/25"}}), ElementsAre(1));
    EXPECT_THAT(shadowedOf({{"192.0.2.0/24"}, {"192.0.2.0/25"}, {"192.0.2.128/26"}, {"192.0.2.192/26"}}),
                ElementsAre(1));
    EXPECT_THAT(shadowedOf({{"192.0.2.0/24"}, {"192.0.2.128/25"}}), IsEmpty());
    EXPECT_THAT(shadowedOf({{"192.0.2.0/24"}, {"192.0.2.0/26"}, {"192.0.2.128/25"}}), IsEmpty())
        << "there is a gap";
    EXPECT_THAT(shadowedOf({{"192.0.2.0/24"}, {"192.0.2.0/25"}, {"192.0.2.128/25", Verdict::Deny, "mx"}}),
                IsEmpty());
    EXPECT_THAT(shadowedOf({{"255.255.255.254/31"}, {"255.255.255.254"}, {"255.255.255.255"}}),
                ElementsAre(1));
    EXPECT_THAT(shadowedOf({{"::/0"}, {"::/1"}, {"8000::/1"}, {"0.0.0.0/0"}}), ElementsAre(1));
    EXPECT_THAT(shadowedOf({{"::/0"}, {"8000::/1"}, {"0.0.0.0/0"}, {"192.0.2.1"}}), IsEmpty());
    EXPECT_THAT(shadowedOf({{"::/0"}}), IsEmpty());
}

// Who removes a denial that is shadowed by exceptions for a day lets them in for good.
TEST(HygieneTest, WhatIsCoveredForATimeOnlyIsNotShadowed) {
    const auto allow = Verdict::Allow, deny = Verdict::Deny;
    EXPECT_THAT(shadowedOf({{"192.0.2.0/24", deny},
                            {"192.0.2.0/25", allow, "", "manual", 4'000'000'000},
                            {"192.0.2.128/25", allow}}),
                IsEmpty());
    EXPECT_THAT(shadowedOf({{"192.0.2.0/24", allow}, {"192.0.2.0/24", deny, "", "manual", 4'000'000'000}}),
                IsEmpty());
    EXPECT_THAT(
        shadowedOf({{"192.0.2.1", deny, "", "a"}, {"192.0.2.1", deny, "", "b", {}, "host:a.example"}}),
        ElementsAre(2));
    EXPECT_THAT(
        shadowedOf({{"192.0.2.1", deny, "", "b"}, {"192.0.2.1", deny, "", "a", {}, "host:a.example"}}),
        IsEmpty());
}

TEST(HygieneTest, OverlappingNetworksShareAListener) {
    const auto of = [](const std::vector<HygieneCase>& cases) { return overlapping(numbered(cases)); };
    EXPECT_THAT(of({{"192.0.2.0/24"}, {"192.0.2.7"}, {"198.51.100.1"}}), ElementsAre(1, 2));
    EXPECT_THAT(of({{"192.0.2.0/24", Verdict::Allow, "mx"}, {"192.0.2.7", Verdict::Allow, "imap"}}),
                IsEmpty());
    EXPECT_THAT(of({{"192.0.2.0/24", Verdict::Allow, "mx"}, {"192.0.2.0/24", Verdict::Deny}}),
                ElementsAre(1, 2));
    EXPECT_THAT(of({{"::/0"}, {"192.0.2.7"}}), IsEmpty());
    EXPECT_THAT(of({{"10.0.0.0/8", Verdict::Allow, "mx"},
                    {"10.0.0.0/16", Verdict::Allow, "imap"},
                    {"10.0.0.1", Verdict::Deny, "mx"}}),
                ElementsAre(1, 3));
}

/// Not even when all others that expire are gone.
bool decidesNothing(const AccessRule& rule, const std::vector<AccessRule>& rules) {
    store::AccessTable::Builder builder(kMxAndImap);
    for (const AccessRule& one : rules)
        if (one.id == rule.id || !one.expires_at)
            builder.add(one.id, one.network, one.verdict, one.listener, {}, {}, one.set);
    const auto table = builder.build(1);
    for (unsigned last = 0; last < 32; ++last)
        for (store::ListenerIndex listener = 0; listener < 2; ++listener)
            if (const auto match = table->lookup(address("192.0.2." + std::to_string(last)), listener, 1))
                if (table->ruleId(match->rule) == rule.id) return false;
    return true;
}

// The table is the judge: what it never finds is shadowed, and nothing else.
TEST(HygieneTest, AgreesWithTheTable) {
    for (unsigned seed = 1; seed <= 200; ++seed) {
        std::mt19937 random(seed);
        const auto below = [&](unsigned end) { return random() % end; };
        std::vector<AccessRule> rules;
        for (std::int64_t id = 1; id <= 40; ++id) {
            AccessRule rule;
            rule.id = id;
            rule.network = networkAround(address("192.0.2." + std::to_string(below(32))), 123 + below(6));
            rule.verdict = below(2) == 0 ? Verdict::Allow : Verdict::Deny;
            rule.listener = std::vector<std::string>{"", "mx", "imap"}[below(3)];
            rule.set = std::vector<std::string>{"manual", "git", "abc"}[below(3)];
            if (std::any_of(rules.begin(), rules.end(), [&](const AccessRule& other) {
                    return other.network == rule.network && other.verdict == rule.verdict &&
                           other.listener == rule.listener && other.set == rule.set;
                }))
                continue;
            if (seed % 2 == 0 && below(3) == 0) rule.expires_at = 4'000'000'000;
            rules.push_back(std::move(rule));
        }
        std::set<std::int64_t> idle;
        for (const AccessRule& rule : rules)
            if (decidesNothing(rule, rules)) idle.insert(rule.id);
        EXPECT_EQ(shadowed(rules, kMxAndImap), idle) << "seed " << seed;
    }
}

}  // namespace
}  // namespace mailgate::rules
