// SPDX-License-Identifier: Apache-2.0
#include "store/rules/sqlite/bulk.h"

#include "store/backends/rules.h"
#include "store/rules/import_export.h"
#include "tests/unit/store/support.h"

#include <gmock/gmock.h>

#include <algorithm>
#include <array>
#include <map>
#include <random>

namespace mailgate::store {
namespace {

using testing::Contains;
using testing::HasSubstr;
using testing::IsEmpty;

/// A store with a file of its own.
struct Kept {
    explicit Kept(std::size_t bulk_from)
        : store(openRules("sqlite:" + folder.file("rules.db"), {.bulk_from = bulk_from})) {}

    /// Without ids, which are given in another order.
    std::vector<std::string> rules() const {
        std::vector<std::string> lines;
        store->forEachRule([&](const AccessRule& one) {
            lines.push_back(one.created_by + ": " + formatRule(one) + " " + std::to_string(one.hits));
        });
        std::sort(lines.begin(), lines.end());
        return lines;
    }
    std::map<std::string, std::int64_t> ids() const {
        std::map<std::string, std::int64_t> ids;
        store->forEachRule([&](const AccessRule& one) { ids[subjectOf(one)] = one.id; });
        return ids;
    }
    std::vector<std::string> trail() const {
        std::vector<std::string> lines;
        store->forEachEntry(0, [&](const RuleStore::AuditEntry& one) {
            lines.push_back(one.who + " " + one.action + ": " + one.before + " > " + one.after);
        });
        std::sort(lines.begin(), lines.end());
        return lines;
    }

    TemporaryFolder folder;
    std::unique_ptr<RuleStore> store;
};

/// What no two rules have in common.
std::string placeOf(const AccessRule& rule) {
    return rule.network.toString() + ' ' + std::string(toString(rule.verdict)) + ' ' + rule.listener + ' ' +
           rule.set;
}

/// What the trail writes in one way or another.
constexpr std::array<const char*, 12> kNotes{"a=b",        "say \"no\"",    "C:\\mail", "# no",
                                             "; no",       "\u00E9t\u00E9", "#",        "a # b",
                                             "two\nlines", "host:a",        "x ",       " x"};
constexpr std::array<UnixSeconds, 5> kExpiries{1'000'000'000, 4'000'000'000, 253'402'300'799, 253'402'300'800,
                                               1'893'456'000};

/// Of networks whose texts have up to 15 characters, 16 or 17, and more.
constexpr std::array<const char*, 3> kBeginnings{"192.0.2.", "100.100.100.", "2001:db8:100:200::"};

/// Different rules of few networks, so that many are there already.
std::vector<AccessRule> someRules(std::mt19937& random) {
    const auto below = [&](unsigned most) { return random() % most; };
    std::map<std::string, AccessRule> rules;
    for (unsigned left = 60; left > 0; --left) {
        AccessRule one;
        one.network = network(kBeginnings[below(kBeginnings.size())] + std::to_string(below(14)));
        one.verdict = below(2) == 0 ? Verdict::Allow : Verdict::Deny;
        one.listener = below(3) == 0 ? "mx" : "";
        one.set = below(2) == 0 ? "manual" : "git";
        if (below(3) == 0) one.note = "note " + std::to_string(below(3));
        if (below(3) == 0) one.note = kNotes[below(kNotes.size())];
        if (below(5) == 0) one.expires_at = kExpiries[below(kExpiries.size())];
        if (below(6) == 0) one.owner = "Anna \"ops\" Smith";
        if (below(6) == 0) one.ticket = below(2) == 0 ? "OPS-12/3@a:b+c" : "\\ a ticket \u00E9";
        if (one.verdict == Verdict::Allow && below(4) == 0) one.limits.sessions = 5;
        if (one.verdict == Verdict::Allow && below(4) == 0) one.limits.per_minute = 0;
        if (one.verdict == Verdict::Deny && below(4) == 0) one.reply = {below(2) == 0, below(2) == 0};
        rules.try_emplace(placeOf(one), one);
    }
    std::vector<AccessRule> list;
    for (auto& [line, one] : rules)
        list.push_back(std::move(one));
    std::shuffle(list.begin(), list.end(), random);
    return list;
}

TEST(Bulk, LeavesTheSameRulesAndTheSameTrailAsOneByOne) {
    std::mt19937 random(7);
    Kept slow(1'000'000), fast(1);
    const std::vector<std::string> people{"alice", "bob", programName("fail2ban")};
    const auto both = [&](const auto& work) {
        for (Kept* kept : {&slow, &fast})
            work(*kept->store);
    };
    for (int round = 0; round < 25; ++round) {
        SCOPED_TRACE(round);
        const auto rules = someRules(random);
        const std::string& who = people[random() % people.size()];
        const bool replaces = random() % 3 == 0;
        const bool one_set = random() % 2 == 0;
        both([&](RuleStore& store) {
            if (replaces) {
                auto wanted = rules;
                if (one_set)
                    for (AccessRule& one : wanted)
                        one.set = "git";
                // Of one set there may be no two rules of a kind.
                std::map<std::string, AccessRule> last;
                for (AccessRule& one : wanted)
                    last.try_emplace(placeOf(one), one);
                wanted.clear();
                for (const auto& [line, one] : last)
                    wanted.push_back(one);
                store.replaceAll(
                    wanted, one_set ? RuleStore::Sets({"git"}) : std::nullopt,
                    [](AccessRule& rule, std::uint64_t, const AccessRule* present) {
                        if (present != nullptr && rule.note.empty()) rule.note = present->note;
                    },
                    who);
            } else {
                store.editList(
                    rules,
                    [](AccessRule& rule, const AccessRule& wanted, std::uint64_t, bool is_new) {
                        if (!wanted.note.empty()) rule.note = wanted.note;
                        if (is_new && rule.note.empty()) rule.note = "new";
                        if (wanted.expires_at) rule.expires_at = wanted.expires_at;
                    },
                    who);
            }
        });
        ASSERT_EQ(fast.rules(), slow.rules());
        ASSERT_EQ(fast.trail(), slow.trail());
        ASSERT_EQ(fast.store->version(), slow.store->version());
    }
    EXPECT_NO_THROW(fast.store->checkTrail());
}

AccessRule denied(std::string_view text, std::string note = "") {
    AccessRule one;
    one.network = network(text);
    one.note = std::move(note);
    return one;
}

/// What there is, and what comes of a list, in entries of the trail but for their times.
std::vector<std::string> entriesOf(RuleStore& store, const std::vector<AccessRule>& rules) {
    std::vector<std::string> entries;
    const auto end = store.endOfTrail();
    store.replaceAll(rules, RuleStore::Sets({"git"}), {}, "alice");
    store.forEachEntry(end, [&](const RuleStore::AuditEntry& one) {
        entries.push_back(std::to_string(one.id) + ' ' + std::to_string(one.change) + ' ' + one.action + ' ' +
                          std::to_string(one.rule_id) + ": " + one.before + " > " + one.after);
    });
    return entries;
}

TEST(Bulk, IsRehearsedApartAsItIsDone) {
    std::mt19937 random(11);
    Kept kept(1);
    for (int round = 0; round < 20; ++round) {
        SCOPED_TRACE(round);
        auto rules = someRules(random);
        for (AccessRule& one : rules)
            one.set = "git";
        std::map<RuleStore::Rehearsal, std::vector<std::string>> rehearsed;
        for (const auto how : {RuleStore::Rehearsal::Apart, RuleStore::Rehearsal::Brief})
            kept.store->rehearse([&] { rehearsed[how] = entriesOf(*kept.store, rules); }, how);
        const auto done = entriesOf(*kept.store, rules);
        ASSERT_EQ(rehearsed[RuleStore::Rehearsal::Apart], done);
        ASSERT_EQ(rehearsed[RuleStore::Rehearsal::Brief], done);
        kept.store->editList(
            someRules(random), [](AccessRule&, const AccessRule&, std::uint64_t, bool) {}, "bob");
    }
}

TEST(Bulk, TriggersFireAgainAfterwards) {
    Kept kept(1);
    const std::vector<AccessRule> rules{denied("192.0.2.1"), denied("192.0.2.2")};
    kept.store->replaceAll(rules, {}, {}, "alice");
    kept.store->replaceAll(std::span(rules).first(1), {}, {}, "bob");
    const AccessRule one = denied("192.0.2.3");
    kept.store->put(std::span(&one, 1), "carol");
    EXPECT_THAT(kept.trail(), Contains("carol add:  > deny 192.0.2.3"));
    Shell(kept.folder.file("rules.db")).run("DELETE FROM access_rule WHERE network = '192.0.2.1'");
    EXPECT_THAT(kept.trail(), Contains("sqlite3 remove: deny 192.0.2.1 > "));
}

TEST(Bulk, IsOneChangeThatCanBeUndone) {
    Kept kept(1);
    kept.store->replaceAll(std::vector{denied("192.0.2.1", "one"), denied("192.0.2.2")}, {}, {}, "alice");
    const auto before = kept.rules();
    kept.store->replaceAll(std::vector{denied("192.0.2.2", "2"), denied("192.0.2.3")}, {}, {}, "alice");
    const auto undone = kept.store->undo(kept.store->lastChangeBy("alice"), "alice");
    EXPECT_EQ(undone.kind, RuleStore::UndoResult::Kind::Done);
    EXPECT_EQ(undone.entries.size(), 3u);
    EXPECT_EQ(kept.rules(), before);
}

TEST(Bulk, OfLinesForTheSameRuleTheLastOneCounts) {
    Kept kept(1);
    const std::vector<AccessRule> rules{denied("192.0.2.1", "a"), denied("192.0.2.1", "b"),
                                        denied("192.0.2.1", "b")};
    const auto put = kept.store->replaceAll(rules, {}, {}, "alice");
    EXPECT_EQ(put.added, 1u);
    EXPECT_EQ(put.changed, 1u);
    EXPECT_EQ(put.unchanged, 1u);
    EXPECT_THAT(kept.rules(), testing::ElementsAre("alice: deny 192.0.2.1 b 0"));
}

TEST(Bulk, WhatFailsLeavesNothing) {
    Kept kept(1);
    kept.store->replaceAll(std::vector{denied("192.0.2.1")}, {}, {}, "alice");
    const auto trail = kept.trail();
    kept.store->report(Progress([](Progress::Step step, std::size_t, std::size_t) {
        if (step == Progress::Step::Finish) throw std::runtime_error("interrupted");
    }));
    EXPECT_THROW(
        kept.store->replaceAll(std::vector{denied("192.0.2.2"), denied("192.0.2.3")}, {}, {}, "alice"),
        std::runtime_error);
    EXPECT_THAT(kept.rules(), testing::ElementsAre("alice: deny 192.0.2.1 0"));
    EXPECT_EQ(kept.trail(), trail);
    kept.store->report({});
    kept.store->rehearse([&] {
        kept.store->replaceAll(std::vector{denied("192.0.2.2"), denied("192.0.2.3")}, {}, {}, "alice");
    });
    EXPECT_EQ(kept.trail(), trail);
    kept.store->replaceAll(std::vector{denied("192.0.2.2"), denied("192.0.2.3")}, {}, {}, "alice");
    EXPECT_EQ(kept.rules().size(), 2u);
}

TEST(Bulk, TellsHowFarItHasCome) {
    Kept kept(1);
    std::vector<AccessRule> rules;
    for (unsigned at = 0; at < 10'000; ++at)
        rules.push_back(denied("10.0." + std::to_string(at / 256) + "." + std::to_string(at % 256)));
    std::map<Progress::Step, std::size_t> told;
    kept.store->report(Progress([&](Progress::Step step, std::size_t done, std::size_t total) {
        EXPECT_LE(done, total);
        ++told[step];
    }));
    kept.store->replaceAll(rules, {}, {}, "alice");
    EXPECT_EQ(told[Progress::Step::Compare], 3u);
    EXPECT_EQ(told[Progress::Step::Sort], 1u);
    EXPECT_EQ(told[Progress::Step::Write], 3u);
    EXPECT_EQ(told[Progress::Step::Finish], 2u) << "of their lines, and of all";
}

TEST(Bulk, ReplacesAllMostAndFewOfWhatIsThere) {
    Kept slow(1'000'000), fast(1);
    std::vector<AccessRule> rules;
    for (int at = 0; at < 40; ++at)
        rules.push_back(denied("192.0.2." + std::to_string(at)));
    for (const auto& [first, count] : {std::pair(0u, 40u), std::pair(20u, 20u), std::pair(0u, 20u),
                                       std::pair(0u, 15u), std::pair(13u, 2u), std::pair(0u, 40u)}) {
        SCOPED_TRACE(first);
        std::vector<std::string> removed[2];
        for (auto* kept : {&slow, &fast})
            removed[kept == &fast] =
                kept->store->replaceAll(RuleList(std::span(rules).subspan(first, count)), {}, {}, "alice")
                    .removed;
        EXPECT_THAT(removed[1], testing::UnorderedElementsAreArray(removed[0]));
        ASSERT_EQ(fast.rules(), slow.rules());
        ASSERT_EQ(fast.trail(), slow.trail());
    }
}

TEST(Bulk, WhatTheShellHasNumberedIsNotTakenForNew) {
    Kept kept(1);
    Shell shell(kept.folder.file("rules.db"));
    shell.run(
        "INSERT INTO access_rule(id, network, verdict) VALUES (0, '192.0.2.1', 'deny'), (-3, '192.0.2.2', "
        "'deny')");
    const auto put = kept.store->replaceAll(
        std::vector{denied("192.0.2.1", "one"), denied("192.0.2.2"), denied("192.0.2.3")}, {}, {}, "alice");
    EXPECT_EQ(put.changed, 1u);
    EXPECT_EQ(put.unchanged, 1u);
    EXPECT_EQ(put.added, 1u);
    EXPECT_EQ(put.removals, 0u);
    EXPECT_EQ(kept.ids(),
              (std::map<std::string, std::int64_t>{{"192.0.2.1", 0}, {"192.0.2.2", -3}, {"192.0.2.3", 1}}));
}

TEST(Bulk, NewRulesHaveTheirIdsInTheOrderOfTheirNetworks) {
    Kept kept(1);
    kept.store->replaceAll(std::vector{denied("192.0.2.9"), denied("192.0.2.3"),
                                       denied("2001:db8:1:2:3::/80"), denied("2001:db8:1:2::/64")},
                           {}, {}, "alice");
    EXPECT_EQ(kept.ids(),
              (std::map<std::string, std::int64_t>{
                  {"192.0.2.3", 1}, {"192.0.2.9", 2}, {"2001:db8:1:2:3::/80", 3}, {"2001:db8:1:2::/64", 4}}));
}

TEST(Bulk, PutsNoRuleThatTheTableDoesNotAllow) {
    const auto put = [](const auto& spoil) {
        Kept kept(1);
        std::vector<AccessRule> rules(3);
        for (std::size_t at = 0; at < rules.size(); ++at)
            rules[at].network = network("192.0.2." + std::to_string(at));
        spoil(rules[1]);
        kept.store->replaceAll(rules, std::nullopt, {}, "alice");
        return kept.rules().size();
    };
    EXPECT_EQ(put([](AccessRule&) {}), 3u);
    EXPECT_THROW(put([](AccessRule& one) { one.listener = "a b"; }), StoreError);
    EXPECT_THROW(put([](AccessRule& one) { one.set = ""; }), StoreError);
    EXPECT_THROW(put([](AccessRule& one) { one.set = "a/b"; }), StoreError);
    EXPECT_THROW(put([](AccessRule& one) { one.limits.sessions = 1; }), StoreError) << "of a denial";
    EXPECT_THROW(put([](AccessRule& one) {
                     one.verdict = Verdict::Allow;
                     one.limits.per_minute = kMaxClientLimit + 1;
                 }),
                 StoreError);
    EXPECT_THROW(put([](AccessRule& one) {
                     one.verdict = Verdict::Allow;
                     one.reply.temporary = true;
                 }),
                 StoreError);
}

}  // namespace
}  // namespace mailgate::store
