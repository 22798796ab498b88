// SPDX-License-Identifier: Apache-2.0
#include "store/rules/rule_list.h"

#include "tests/unit/store/support.h"

#include <gmock/gmock.h>

#include <string>
#include <vector>

namespace mailgate::store {
namespace {

/// Each with something else that most have not.
std::vector<AccessRule> differentRules() {
    std::vector<AccessRule> rules;
    const auto next = [&]() -> AccessRule& { return rules.emplace_back(); };
    next();
    next().network = network("2001:db8::/32");
    next().verdict = Verdict::Allow;
    next().name = "host:mx.example.org";
    next().listener = "smtp";
    next().set = "git";
    next().set = "";
    next().note = std::string("two\nlines\0 and more", 19);
    next().note = std::string(kMaxNoteLength, 'x');
    next().owner = "ops";
    next().ticket = "T 1";
    next().created_by = "alice";
    next().id = -7;
    next().created_at = -1;
    next().expires_at = 0;
    next().expires_at = 253'402'300'800;
    next().limits.sessions = 0;
    next().limits.per_minute = kMaxClientLimit;
    next().reply.temporary = true;
    next().reply.shows_note = true;
    next().hits = 9;
    next().last_hit_at = 8;
    AccessRule all = next();
    all = {.id = 1,
           .network = network("192.0.2.0/24"),
           .name = "spf:example.org",
           .verdict = Verdict::Allow,
           .listener = "imap",
           .set = "feed",
           .note = "a note",
           .owner = "ops",
           .ticket = "T",
           .created_at = 2,
           .created_by = "bob",
           .expires_at = 3,
           .limits = {4, 5},
           .reply = {true, true},
           .hits = 6,
           .last_hit_at = 7};
    rules.push_back(all);
    return rules;
}

TEST(RuleList, GivesBackWhatWasAdded) {
    const auto rules = differentRules();
    RuleList list;
    std::vector<std::size_t> added;
    // More than one block of them.
    for (std::size_t round = 0; round < 5'000; ++round) {
        const std::size_t which = round * 7 % rules.size();
        added.push_back(which);
        list.add(rules[which], round << 40 | which);
    }
    ASSERT_EQ(list.size(), added.size());
    AccessRule room = rules.back();
    for (std::size_t at = 0; at < added.size(); ++at) {
        const AccessRule& expected = rules[added[at]];
        list.read(at, room);
        ASSERT_EQ(room, expected) << added[at];
        ASSERT_EQ(list[at], expected) << added[at];
        ASSERT_EQ(list.network(at), expected.network);
        ASSERT_EQ(list.tag(at), at << 40 | added[at]);
    }
    EXPECT_EQ(RuleList(rules)[4], rules[4]);
    EXPECT_TRUE(RuleList().empty());
}

TEST(RuleList, KeepsWhatItHasWhenItIsMoved) {
    RuleList list;
    const auto rules = differentRules();
    list.add(rules[1], 3);
    const RuleList moved = std::move(list);
    EXPECT_EQ(moved[0], rules[1]);
    EXPECT_EQ(moved.tag(0), 3u);
}

}  // namespace
}  // namespace mailgate::store
