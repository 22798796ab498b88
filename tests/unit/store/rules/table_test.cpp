// SPDX-License-Identifier: Apache-2.0
#include "store/rules/table.h"

#include "store/rules/table_part.h"
#include "tests/unit/store/support.h"

#include <gmock/gmock.h>

#include <malloc.h>

#include <algorithm>
#include <map>
#include <random>
#include <thread>
#include <tuple>
#include <vector>

namespace mailgate::store {
namespace {

constexpr UnixSeconds kNow = 1'800'000'000;
const std::vector<std::string> kThreeListeners{"smtp", "imap", "pop3"};
constexpr ListenerIndex kSmtp = 0;
constexpr ListenerIndex kImap = 1;

struct Spec {
    const char* verdict;
    const char* network;
    const char* listener = "";
    std::optional<UnixSeconds> expires = {};
};

std::shared_ptr<const AccessTable> tableOf(const std::vector<Spec>& specs) {
    AccessTable::Builder builder(kThreeListeners);
    std::int64_t id = 0;
    for (const Spec& spec : specs)
        builder.add(++id, network(spec.network),
                    std::string_view(spec.verdict) == "allow" ? Verdict::Allow : Verdict::Deny, spec.listener,
                    spec.expires);
    return builder.build(7);
}

/// "allow 192.0.2.0/24 #3" or "none".
std::string answer(const AccessTable& table, std::string_view text, ListenerIndex listener = kSmtp,
                   UnixSeconds now = kNow) {
    const auto match = table.lookup(address(text), listener, now);
    if (!match) return "none";
    return std::string(toString(match->verdict)) + " " + match->network.toString() + " #" +
           std::to_string(table.ruleId(match->rule));
}

TEST(AccessTable, RulesOfUnknownListenersDecideNothingAndAreCounted) {
    const auto table = tableOf({{"deny", "192.0.2.0/24", "gone"},
                                {"deny", "192.0.2.1", "gone"},
                                {"allow", "192.0.2.0/24", "smtp"},
                                {"deny", "192.0.2.0/24", "older", kNow + 1}});
    EXPECT_EQ(table->size(), 1u);
    EXPECT_THAT(table->unknownListeners(kNow),
                testing::ElementsAre(std::pair("gone", 2), std::pair("older", 1)));
    EXPECT_THAT(table->unknownListeners(kNow + 1), testing::ElementsAre(std::pair("gone", 2)))
        << "an expired one is as removed";
    AccessTable::Builder replacing(table);
    replacing.replace(network("192.0.2.0/24"));
    EXPECT_THAT(replacing.build(8)->unknownListeners(kNow), testing::ElementsAre(std::pair("gone", 1)));
}

TEST(AccessTable, TheRuleThatDecidesGivesTheLimits) {
    AccessTable::Builder builder(kThreeListeners);
    const ClientLimits partner{20, {}};
    const ClientLimits office{{}, 0};
    builder.add(1, network("2001:db8::/32"), Verdict::Allow, "", {}, office);
    builder.add(2, network("192.0.2.0/24"), Verdict::Allow, "", {}, partner);
    builder.add(3, network("192.0.2.7"), Verdict::Allow, "", {});
    const auto table = builder.build(1);
    const auto limits = [&](std::string_view client) {
        return table->lookup(address(client), kSmtp, kNow)->limits;
    };
    EXPECT_EQ(limits("192.0.2.1"), partner);
    EXPECT_EQ(limits("192.0.2.7"), ClientLimits{});
    EXPECT_EQ(limits("2001:db8::1"), office);
}

TEST(AccessTable, TheRuleThatDeniesSaysWhetherForGood) {
    AccessTable::Builder builder(kThreeListeners);
    builder.add(1, network("2001:db8::/32"), Verdict::Deny, "", {}, {}, kManualSet, true);
    builder.add(2, network("192.0.2.0/24"), Verdict::Deny, "", {}, {}, kManualSet, true);
    builder.add(3, network("192.0.2.7"), Verdict::Deny, "", {});
    builder.add(4, network("192.0.2.8"), Verdict::Allow, "", {});
    const auto table = builder.build(1);
    for (const auto& [client, temporary] :
         {std::pair("2001:db8::1", true), {"192.0.2.1", true}, {"192.0.2.7", false}, {"192.0.2.8", false}})
        EXPECT_EQ(table->lookup(address(client), kSmtp, kNow)->temporary, temporary) << client;
}

TEST(AccessTable, AnEmptyTableMatchesNothing) {
    const AccessTable empty;
    EXPECT_EQ(answer(empty, "192.0.2.1"), "none");
    EXPECT_EQ(answer(empty, "2001:db8::1"), "none");
    EXPECT_EQ(empty.size(), 0u);
    EXPECT_EQ(answer(*tableOf({}), "192.0.2.1"), "none");
}

TEST(AccessTable, TheMostSpecificNetworkWins) {
    const auto table = tableOf({{"allow", "192.0.2.0/24"},
                                {"deny", "192.0.2.64/26"},
                                {"allow", "192.0.2.66"},
                                {"deny", "2001:db8::/32"},
                                {"allow", "2001:db8:1::/48"}});
    EXPECT_EQ(answer(*table, "192.0.2.1"), "allow 192.0.2.0/24 #1");
    EXPECT_EQ(answer(*table, "192.0.2.65"), "deny 192.0.2.64/26 #2");
    EXPECT_EQ(answer(*table, "192.0.2.66"), "allow 192.0.2.66 #3");
    EXPECT_EQ(answer(*table, "192.0.2.128"), "allow 192.0.2.0/24 #1");
    EXPECT_EQ(answer(*table, "192.0.3.0"), "none");
    EXPECT_EQ(answer(*table, "192.0.1.255"), "none");
    EXPECT_EQ(answer(*table, "2001:db8:1::9"), "allow 2001:db8:1::/48 #5");
    EXPECT_EQ(answer(*table, "2001:db8:2::9"), "deny 2001:db8::/32 #4");
    EXPECT_EQ(answer(*table, "2001:db9::"), "none");
    EXPECT_EQ(table->version(), 7);
}

TEST(AccessTable, AtOneNetworkTheListenersRuleWinsAndThenDeny) {
    const auto table = tableOf({{"deny", "192.0.2.0/24"},
                                {"allow", "192.0.2.0/24"},
                                {"allow", "192.0.2.0/24", "imap"},
                                {"allow", "198.51.100.0/24", "smtp"},
                                {"deny", "198.51.100.0/24", "smtp"}});
    EXPECT_EQ(answer(*table, "192.0.2.1", kSmtp), "deny 192.0.2.0/24 #1");
    EXPECT_EQ(answer(*table, "192.0.2.1", kImap), "allow 192.0.2.0/24 #3");
    EXPECT_EQ(answer(*table, "198.51.100.1", kSmtp), "deny 198.51.100.0/24 #5");
    EXPECT_EQ(answer(*table, "198.51.100.1", kImap), "none");
}

// Whatever the order in which they were made: a gateway's copy of the rules has other ids.
TEST(AccessTable, OfSeveralSetsTheManualRuleDecidesAndThenTheFirstName) {
    const struct {
        std::int64_t id;
        Verdict verdict;
        const char* set;
    } rules[] = {{1, Verdict::Allow, "manual"}, {2, Verdict::Allow, "acme"},    {3, Verdict::Allow, "zeta"},
                 {4, Verdict::Deny, "zeta"},    {5, Verdict::Deny, "fail2ban"}, {6, Verdict::Deny, "manual"}};
    for (const std::int64_t sign : {1, -1}) {
        // From the one that decides first to the one that decides last, each being gone when the next is asked.
        std::vector<std::int64_t> order;
        std::vector<std::int64_t> gone;
        while (gone.size() < std::size(rules)) {
            AccessTable::Builder builder(kThreeListeners);
            for (const auto& one : rules)
                if (std::find(gone.begin(), gone.end(), one.id) == gone.end())
                    builder.add(sign * one.id, network("192.0.2.0/24"), one.verdict, "", {}, {}, one.set);
            const auto table = builder.build(1);
            gone.push_back(sign * table->ruleId(table->lookup(address("192.0.2.1"), 0, kNow)->rule));
            order.push_back(gone.back());
        }
        EXPECT_THAT(order, testing::ElementsAre(6, 5, 4, 1, 2, 3));
    }
}

TEST(AccessTable, ARuleForAnotherListenerLetsTheWiderOneDecide) {
    const auto table =
        tableOf({{"allow", "192.0.2.0/24"}, {"deny", "192.0.2.1", "imap"}, {"deny", "192.0.2.1", "gone"}});
    EXPECT_EQ(answer(*table, "192.0.2.1", kSmtp), "allow 192.0.2.0/24 #1");
    EXPECT_EQ(answer(*table, "192.0.2.1", kImap), "deny 192.0.2.1 #2");
    EXPECT_EQ(table->size(), 2u);
}

TEST(AccessTable, ARuleStopsMatchingInTheSecondItExpires) {
    const auto table = tableOf({{"allow", "192.0.2.0/24"},
                                {"deny", "192.0.2.1", "", kNow},
                                {"deny", "192.0.2.2", "", kNow + 1},
                                {"deny", "192.0.2.3", "", -5},
                                {"deny", "192.0.2.4", "", 0},
                                {"deny", "192.0.2.5", "", 253'402'300'799}});
    EXPECT_EQ(answer(*table, "192.0.2.1"), "allow 192.0.2.0/24 #1");
    EXPECT_EQ(answer(*table, "192.0.2.1", kSmtp, kNow - 1), "deny 192.0.2.1 #2");
    EXPECT_EQ(answer(*table, "192.0.2.2"), "deny 192.0.2.2 #3");
    EXPECT_EQ(answer(*table, "192.0.2.3"), "allow 192.0.2.0/24 #1");
    EXPECT_EQ(answer(*table, "192.0.2.4"), "allow 192.0.2.0/24 #1");
    EXPECT_EQ(answer(*table, "192.0.2.5"), "deny 192.0.2.5 #6");
}

TEST(AccessTable, TheEndsOfTheAddressSpaceAreNothingSpecial) {
    const auto table = tableOf({{"deny", "0.0.0.0"},
                                {"deny", "255.255.255.255"},
                                {"allow", "0.0.0.0/0"},
                                {"deny", "::"},
                                {"deny", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"},
                                {"allow", "::/0"}});
    EXPECT_EQ(answer(*table, "0.0.0.0"), "deny 0.0.0.0 #1");
    EXPECT_EQ(answer(*table, "255.255.255.255"), "deny 255.255.255.255 #2");
    EXPECT_EQ(answer(*table, "255.255.255.254"), "allow 0.0.0.0/0 #3");
    EXPECT_EQ(answer(*table, "::"), "deny :: #4");
    EXPECT_EQ(answer(*table, "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"),
              "deny ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff #5");
    EXPECT_EQ(answer(*table, "2001:db8::1"), "allow ::/0 #6");
}

TEST(AccessTable, MappedAddressesAreIpv4) {
    const auto table = tableOf({{"allow", "::ffff:192.0.2.0/120"}, {"deny", "::/0"}});
    EXPECT_EQ(answer(*table, "192.0.2.1"), "allow 192.0.2.0/24 #1");
    EXPECT_EQ(answer(*table, "::ffff:192.0.2.1"), "allow 192.0.2.0/24 #1");
    EXPECT_EQ(answer(*table, "198.51.100.1"), "none");
}

TEST(AccessTable, EveryPrefixLengthInsideTheNext) {
    AccessTable::Builder builder(kThreeListeners);
    for (unsigned length = 0; length <= 32; ++length)
        builder.add(length, {network("0.0.0.0").address, static_cast<std::uint8_t>(96 + length)},
                    Verdict::Deny, "", {});
    for (unsigned length = 0; length <= 128; ++length)
        builder.add(1000 + length, {AddressBytes{}, static_cast<std::uint8_t>(length)}, Verdict::Deny, "",
                    {});
    const auto table = builder.build(1);
    for (unsigned bit = 0; bit < 32; ++bit) {
        AddressBytes asked = address("0.0.0.0");
        asked[12 + bit / 8] |= static_cast<std::uint8_t>(0x80u >> bit % 8);
        EXPECT_EQ(table->ruleId(table->lookup(asked, kSmtp, kNow)->rule), bit);
    }
    for (unsigned bit = 0; bit < 128; ++bit) {
        AddressBytes asked{};
        asked[bit / 8] |= static_cast<std::uint8_t>(0x80u >> bit % 8);
        EXPECT_EQ(table->ruleId(table->lookup(asked, kSmtp, kNow)->rule), 1000 + bit);
    }
}

TEST(AccessTable, HitsAreTakenOnceWithTheRulesId) {
    const auto table = tableOf({{"allow", "192.0.2.0/24"}, {"deny", "2001:db8::/32"}});
    for (int times = 0; times < 3; ++times)
        table->hit(table->lookup(address("2001:db8::1"), kSmtp, kNow)->rule, kNow + times);
    std::vector<std::tuple<std::int64_t, std::uint32_t, UnixSeconds>> taken;
    const auto take = [&](std::int64_t id, std::uint32_t hits, UnixSeconds last) {
        taken.emplace_back(id, hits, last);
    };
    table->takeHits(take);
    EXPECT_THAT(taken, testing::ElementsAre(std::tuple(2, 3u, kNow + 2)));
    table->takeHits(take);
    EXPECT_EQ(taken.size(), 1u);
}

TEST(AccessTable, HitsOfManyThreadsAreAllCounted) {
    const auto table = tableOf({{"allow", "192.0.2.0/24"}});
    std::uint64_t taken = 0;
    const auto take = [&](std::int64_t, std::uint32_t hits, UnixSeconds) { taken += hits; };
    std::vector<std::thread> workers;
    for (int worker = 0; worker < 4; ++worker)
        workers.emplace_back([&] {
            for (int times = 0; times < 10'000; ++times)
                table->hit(0, kNow);
        });
    for (int times = 0; times < 100; ++times)
        table->takeHits(take);
    for (auto& worker : workers)
        worker.join();
    table->takeHits(take);
    EXPECT_EQ(taken, 40'000u);
}

/// The rule that wins, found by looking at all of them.
const AccessRule* naive(const std::vector<AccessRule>& rules, const AddressBytes& asked,
                        const std::string& listener) {
    const AccessRule* best = nullptr;
    const auto rank = [](const AccessRule& rule) {
        return std::tuple(rule.network.prefix_length, !rule.listener.empty(), rule.verdict == Verdict::Deny);
    };
    for (const AccessRule& rule : rules) {
        if (!rule.network.contains(asked) || (!rule.listener.empty() && rule.listener != listener)) continue;
        if (rule.expires_at && *rule.expires_at <= kNow) continue;
        if (best == nullptr || rank(rule) > rank(*best)) best = &rule;
    }
    return best;
}

class RandomRules {
  public:
    explicit RandomRules(unsigned seed) : generator_(seed) {}

    /// Few distinct bits, so that networks nest, repeat and touch.
    AddressBytes address() {
        AddressBytes bytes{};
        const bool v4 = below(2) == 0;
        if (v4) bytes[10] = bytes[11] = 0xFF;
        for (std::size_t at = v4 ? 12 : 0; at < bytes.size(); ++at) {
            constexpr std::uint8_t kChoices[] = {0x00, 0xFF, 0x80, 0x01};
            bytes[at] = kChoices[below(4)];
        }
        return bytes;
    }
    Network network() {
        Network result{address(), 128};
        const unsigned shortest = result.isV4() ? 96 : 0;
        result.prefix_length = static_cast<std::uint8_t>(shortest + below(129 - shortest));
        for (unsigned bit = result.prefix_length; bit < 128; ++bit)
            result.address[bit / 8] &= static_cast<std::uint8_t>(~(0x80u >> bit % 8));
        return result;
    }
    AccessRule rule() {
        AccessRule result;
        result.network = network();
        result.verdict = below(2) == 0 ? Verdict::Allow : Verdict::Deny;
        if (below(2) == 0) result.listener = kThreeListeners[below(3)];
        if (below(3) == 0) result.expires_at = kNow - 1 + below(3);
        return result;
    }
    unsigned below(unsigned bound) {
        return std::uniform_int_distribution<unsigned>(0, bound - 1)(generator_);
    }

  private:
    std::mt19937 generator_;
};

/// Whether some address is let in: what decides changes only where a network begins or has ended.
bool naivelyLetsIn(const std::vector<AccessRule>& rules, const std::string& listener) {
    const auto letsIn = [&](const AddressBytes& asked) {
        const AccessRule* decides = naive(rules, asked, listener);
        return decides != nullptr && decides->verdict == Verdict::Allow;
    };
    return std::any_of(rules.begin(), rules.end(), [&](const AccessRule& rule) {
        AddressBytes behind = rule.network.address;
        for (unsigned bit = rule.network.prefix_length; bit < 128; ++bit)
            behind[bit / 8] |= static_cast<std::uint8_t>(0x80u >> bit % 8);
        for (std::size_t at = behind.size(); at > 0 && ++behind[at - 1] == 0;)
            --at;
        return letsIn(rule.network.address) || letsIn(behind);
    });
}

TEST(AccessTable, FindsWhatIsLetInBetweenDenialsThatOverlap) {
    for (const std::string begin : {"192.0.2.", "2001:db8::"}) {
        const bool is_v4 = begin.back() == '.';
        AccessTable::Builder builder(kThreeListeners);
        std::int64_t id = 0;
        const auto add = [&](const char* v4, const char* v6, Verdict verdict) {
            builder.add(++id, network(begin + (is_v4 ? v4 : v6)), verdict, "", std::nullopt);
        };
        add("0/24", "0/120", Verdict::Allow);
        add("0/25", "0/121", Verdict::Deny);
        add("0/26", "0/122", Verdict::Deny);
        add("192/26", "c0/122", Verdict::Deny);
        EXPECT_TRUE(builder.build(1)->letsSomebodyIn(0, kNow)) << begin;
    }
}

TEST(AccessTable, AgreesWithLookingAtEveryRule) {
    for (unsigned seed = 1; seed <= 40; ++seed) {
        SCOPED_TRACE(seed);
        RandomRules random(seed);
        std::vector<AccessRule> rules(1 + random.below(seed % 4 == 0 ? 600 : 40));
        AccessTable::Builder builder(kThreeListeners);
        for (std::size_t at = 0; at < rules.size(); ++at) {
            rules[at] = random.rule();
            rules[at].id = static_cast<std::int64_t>(at) + 1;
            builder.add(rules[at].id, rules[at].network, rules[at].verdict, rules[at].listener,
                        rules[at].expires_at);
        }
        const auto table = builder.build(1);
        EXPECT_EQ(table->size(), rules.size());
        for (ListenerIndex listener = 0; listener < 3; ++listener)
            EXPECT_EQ(table->letsSomebodyIn(listener, kNow), naivelyLetsIn(rules, kThreeListeners[listener]));
        for (int times = 0; times < 500; ++times) {
            const AddressBytes asked =
                times % 2 == 0 ? random.address()
                               : rules[random.below(static_cast<unsigned>(rules.size()))].network.address;
            const auto listener = static_cast<ListenerIndex>(random.below(3));
            const AccessRule* expected = naive(rules, asked, kThreeListeners[listener]);
            const auto match = table->lookup(asked, listener, kNow);
            ASSERT_EQ(match.has_value(), expected != nullptr);
            if (expected == nullptr) continue;
            EXPECT_EQ(match->verdict, expected->verdict);
            EXPECT_EQ(match->network, expected->network);
            const AccessRule& named = rules[static_cast<std::size_t>(table->ruleId(match->rule)) - 1];
            EXPECT_EQ(named.network, expected->network);
            EXPECT_EQ(named.listener, expected->listener);
        }
    }
}

/// The same answers, whatever is asked.
void expectSame(const AccessTable& table, const AccessTable& other, RandomRules& random, int times) {
    EXPECT_EQ(table.size(), other.size());
    EXPECT_EQ(table.version(), other.version());
    for (const UnixSeconds now : {kNow - 2, kNow, kNow + 2})
        EXPECT_EQ(table.unknownListeners(now), other.unknownListeners(now));
    for (ListenerIndex listener = 0; listener < 3; ++listener)
        for (const UnixSeconds now : {kNow - 2, kNow, kNow + 2, UnixSeconds{5'000'000'000}})
            EXPECT_EQ(table.letsSomebodyIn(listener, now), other.letsSomebodyIn(listener, now));
    for (; times > 0; --times) {
        const AddressBytes asked = random.address();
        const auto listener = static_cast<ListenerIndex>(random.below(3));
        const auto one = table.lookup(asked, listener, kNow), two = other.lookup(asked, listener, kNow);
        ASSERT_EQ(one.has_value(), two.has_value());
        if (!one) continue;
        ASSERT_EQ(table.ruleId(one->rule), other.ruleId(two->rule));
        ASSERT_EQ(std::tuple(one->verdict, one->network, one->temporary),
                  std::tuple(two->verdict, two->network, two->temporary));
        ASSERT_EQ(one->limits, two->limits);
    }
}

// Long enough for the changes to become one piece with the rest, several times.
TEST(AccessTable, ATableOfChangesIsTheOneThatIsMadeAnew) {
    for (unsigned seed = 1; seed <= 8; ++seed) {
        SCOPED_TRACE(seed);
        RandomRules random(seed);
        std::map<Network, std::vector<AccessRule>> rules;
        std::int64_t id =
            seed % 2 == 0 ? 0 : std::int64_t{1} << 32;  // a number that does not fit is one, too
        const auto addAll = [&](AccessTable::Builder& builder, const std::vector<AccessRule>& some) {
            for (const AccessRule& one : some)
                builder.add(one.id, one.network, one.verdict, one.listener, one.expires_at, one.limits,
                            one.set, one.reply.temporary);
        };
        auto table = AccessTable::Builder(kThreeListeners).build(0);
        for (int turn = 1; turn <= 60; ++turn) {
            AccessTable::Builder next(table);
            for (unsigned left = 1 + random.below(40); left > 0; --left) {
                auto& some = rules[random.network()];
                some.clear();
            }
            for (auto& [network, some] : rules) {
                if (!some.empty()) continue;
                next.replace(network);
                for (unsigned left = random.below(4); left > 0; --left) {
                    AccessRule one = random.rule();
                    one.id = ++id;
                    one.network = network;
                    one.set = random.below(2) == 0 ? "manual" : "git";
                    if (random.below(4) == 0) one.listener = random.below(2) == 0 ? "gone" : "older";
                    if (one.verdict == Verdict::Allow && random.below(3) == 0) one.limits.sessions = left;
                    one.reply.temporary = random.below(3) == 0;
                    some.push_back(std::move(one));
                }
                addAll(next, some);
            }
            std::erase_if(rules, [](const auto& one) { return one.second.empty(); });
            table = next.build(turn);
            AccessTable::Builder anew(kThreeListeners);
            for (const auto& [network, some] : rules)
                addAll(anew, some);
            expectSame(*table, *anew.build(turn), random, 300);
            if (testing::Test::HasFatalFailure()) return;
        }
        for (const auto& [network, some] : rules) {
            std::vector<std::int64_t> expected;
            for (const AccessRule& one : some)
                expected.push_back(one.id);
            EXPECT_THAT(table->rulesOf(network), testing::UnorderedElementsAreArray(expected));
            EXPECT_TRUE(table->holdsAny(expected));
        }
        EXPECT_FALSE(table->holdsAny(std::vector<std::int64_t>{0, id + 1}));
    }
}

TEST(AccessTable, ARuleThatWasReplacedIsNotHeld) {
    const auto before = tableOf({{"allow", "192.0.2.0/24"}, {"deny", "2001:db8::/32"}});
    AccessTable::Builder next(before);
    next.replace(network("2001:db8::/32"));
    const auto table = next.build(8);
    EXPECT_TRUE(before->holdsAny(std::vector<std::int64_t>{2}));
    EXPECT_FALSE(table->holdsAny(std::vector<std::int64_t>{2}));
    EXPECT_EQ(answer(*table, "2001:db8::1"), "none");
    EXPECT_EQ(answer(*before, "2001:db8::1"), "deny 2001:db8::/32 #2");
}

TEST(AccessTable, WhatIsNotReplacedIsSharedWithItsHits) {
    const auto before = tableOf({{"allow", "192.0.2.0/24"}, {"deny", "192.0.2.1"}});
    AccessTable::Builder next(before);
    next.add(3, network("192.0.2.1"), Verdict::Allow, "", {});
    const auto table = next.build(8);
    const auto hit = [](const AccessTable& one, std::string_view client) {
        one.hit(one.lookup(address(client), kSmtp, kNow)->rule, kNow);
    };
    hit(*before, "192.0.2.1");
    hit(*before, "192.0.2.2");
    hit(*table, "192.0.2.1");
    hit(*table, "192.0.2.2");
    std::map<std::int64_t, std::uint32_t> taken;
    for (const auto& one : {before, table})
        one->takeHits([&](std::int64_t id, std::uint32_t hits, UnixSeconds) { taken[id] += hits; });
    EXPECT_THAT(taken, testing::ElementsAre(std::pair(1, 2u), std::pair(2, 1u), std::pair(3, 1u)));
}

TEST(AccessTable, WhomDenialsTakeWholeIsNotLetIn) {
    const auto letsIn = [](const std::vector<Spec>& rules, UnixSeconds now = kNow) {
        const auto table = tableOf(rules);
        return std::pair(table->letsSomebodyIn(kSmtp, now), table->letsSomebodyIn(kImap, now));
    };
    const std::pair both(true, true), none(false, false);
    EXPECT_EQ(letsIn({{"allow", "192.0.2.0/24", ""}}), both);
    EXPECT_EQ(letsIn({{"allow", "192.0.2.0/24", ""}, {"deny", "192.0.2.0/24", ""}}), none);
    EXPECT_EQ(letsIn({{"allow", "192.0.2.0/24", ""}, {"deny", "192.0.2.0/24", "smtp"}}),
              std::pair(false, true));
    EXPECT_EQ(letsIn({{"allow", "192.0.2.0/24", "smtp"}, {"deny", "192.0.2.0/24", ""}}),
              std::pair(true, false));
    EXPECT_EQ(letsIn({{"allow", "192.0.2.0/24", ""}, {"deny", "192.0.0.0/16", ""}}), both)
        << "the narrower decides";
    EXPECT_EQ(letsIn({{"allow", "192.0.2.0/24", ""}, {"deny", "192.0.2.0/25", ""}}), both);
    EXPECT_EQ(
        letsIn({{"allow", "192.0.2.0/24", ""}, {"deny", "192.0.2.0/25", ""}, {"deny", "192.0.2.128/25", ""}}),
        none);
    EXPECT_EQ(letsIn({{"allow", "192.0.2.0/24", ""},
                      {"deny", "192.0.2.0/25", ""},
                      {"deny", "192.0.2.128/25", "", kNow + 1}}),
              none);
    EXPECT_EQ(letsIn({{"allow", "192.0.2.0/24", ""},
                      {"deny", "192.0.2.0/25", ""},
                      {"deny", "192.0.2.128/25", "", kNow + 1}},
                     kNow + 1),
              both)
        << "one of them has expired";
    for (const auto& [all, lower, upper] :
         {std::tuple("0.0.0.0/0", "0.0.0.0/1", "128.0.0.0/1"), std::tuple("::/0", "::/1", "8000::/1"),
          std::tuple("255.255.255.254/31", "255.255.255.254/32", "255.255.255.255/32"),
          std::tuple("2001:db8::/63", "2001:db8::/64", "2001:db8:0:1::/64"),
          std::tuple("2001:db8:0:1:ffff:ffff:ffff:fffe/127", "2001:db8:0:1:ffff:ffff:ffff:fffe/128",
                     "2001:db8:0:1:ffff:ffff:ffff:ffff/128")}) {
        EXPECT_EQ(letsIn({{"allow", all, ""}, {"deny", lower, ""}, {"deny", upper, ""}}), none) << all;
        EXPECT_EQ(letsIn({{"allow", all, ""}, {"deny", upper, ""}}), both) << all;
        EXPECT_EQ(letsIn({{"allow", all, ""}, {"deny", lower, ""}}), both) << all;
    }
}

TEST(AccessTable, VeryManyUnknownListenersAreCountedTogether) {
    AccessTable::Builder builder(kThreeListeners);
    for (unsigned at = 0; at < 1'500; ++at)
        builder.add(at, network("192.0.2.1"), Verdict::Deny, "gone" + std::to_string(at), {});
    const auto table = builder.build(1);
    EXPECT_EQ(table->size(), 0u);
    EXPECT_EQ(table->unknownListeners(kNow).at("..."), 500u);
    EXPECT_EQ(answer(*table, "192.0.2.1"), "none");
}

TEST(AccessTable, VeryManyRulesInAnyOrder) {
    // Of each /24 two rules, an address within every other one, and what is around all.
    std::vector<std::tuple<Network, Verdict, std::int64_t>> rules;
    for (unsigned at = 0; at < 40'000; ++at) {
        Network one = network("10.0.0.0/24");
        one.address[13] = static_cast<std::uint8_t>(at >> 8);
        one.address[14] = static_cast<std::uint8_t>(at);
        rules.emplace_back(one, Verdict::Allow, 4 * at + 1);
        rules.emplace_back(one, Verdict::Deny, 4 * at + 2);
        one.prefix_length = 128;
        one.address[15] = 7;
        if (at % 2 == 0) rules.emplace_back(one, Verdict::Allow, 4 * at + 3);
    }
    rules.emplace_back(network("10.0.0.0/8"), Verdict::Allow, 4);
    constexpr std::int64_t kFirstV6 = 1'000'000;
    const auto v6 = [](unsigned at) {
        Network one = network("2001:db8::7");
        one.address[at % 3 == 0 ? 2 : 7] = static_cast<std::uint8_t>(at);
        one.address[at % 2 == 0 ? 4 : 14] = static_cast<std::uint8_t>(at >> 4);
        return one;
    };
    for (unsigned at = 0; at < 2'000; ++at)
        rules.emplace_back(v6(at), Verdict::Deny, kFirstV6 + at);
    std::shuffle(rules.begin(), rules.end(), std::mt19937(7));
    AccessTable::Builder builder(kThreeListeners);
    for (const auto& [network, verdict, id] : rules)
        builder.add(id, network, verdict, "", {});
    const auto table = builder.build(1);
    EXPECT_EQ(table->size(), rules.size());
    for (unsigned at = 0; at < 40'000; ++at) {
        AddressBytes asked = address("10.0.0.7");
        asked[13] = static_cast<std::uint8_t>(at >> 8);
        asked[14] = static_cast<std::uint8_t>(at);
        const auto match = table->lookup(asked, kSmtp, kNow);
        ASSERT_TRUE(match);
        ASSERT_EQ(table->ruleId(match->rule), 4 * at + (at % 2 == 0 ? 3 : 2));
    }
    for (unsigned at = 0; at < 2'000; ++at) {
        const auto match = table->lookup(v6(at).address, kSmtp, kNow);
        ASSERT_TRUE(match);
        ASSERT_EQ(v6(static_cast<unsigned>(table->ruleId(match->rule) - kFirstV6)), v6(at));
    }
    EXPECT_EQ(answer(*table, "10.255.0.1"), "allow 10.0.0.0/8 #4");
    EXPECT_EQ(answer(*table, "11.0.0.1"), "none");
}

TEST(AccessTable, WhatHasBeenTakenOfAPileIsGivenBack) {
    constexpr unsigned kMany = 100'000;
    parts::Pile<unsigned> pile;
    for (unsigned at = 0; at < kMany; ++at)
        pile.push_back(at);
    const std::size_t before = ::malloc_usable_size(pile.begin());
    EXPECT_GE(before, kMany * sizeof(unsigned));
    for (unsigned at = kMany; at > kMany / 4; --at)
        ASSERT_EQ(pile.takeLast(), at - 1);
    EXPECT_EQ(pile.last(), kMany / 4 - 1);
    EXPECT_LE(::malloc_usable_size(pile.begin()), before / 2);
}

TEST(AccessTable, ARuleCostsAtMostFortyBytes) {
    AccessTable::Builder builder(kThreeListeners);
    constexpr unsigned kRules = 10'000;
    for (unsigned at = 0; at < kRules; ++at) {
        Network one = network(at % 2 == 0 ? "10.0.0.0" : "2001:db8::");
        one.address[14] = static_cast<std::uint8_t>(at >> 8);
        one.address[15] = static_cast<std::uint8_t>(at);
        builder.add(at, one, Verdict::Deny, "", {});
    }
    EXPECT_LE(builder.build(1)->memoryBytes(), kRules * 40);
}

}  // namespace
}  // namespace mailgate::store
