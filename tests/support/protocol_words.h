// SPDX-License-Identifier: Apache-2.0
/// \file  What a protocol says in place of a server, for the tests of each.
#pragma once

#include "protocols/dialogue/protocol_traits.h"

#include <gtest/gtest.h>

#include <initializer_list>
#include <regex>
#include <string>
#include <string_view>

namespace mailgate::test {

inline constexpr RefusalText kNamed{"gw.example.org", "203.0.113.9", "gw1-7f3a"};

/// Empty: the protocol has no such refusal.
inline std::string lineOf(const ProtocolTraits& protocol, Refusal refusal) {
    const Wording wording = protocol.wording(refusal);
    return wording.code.empty() ? std::string() : protocol.reply_line(wording, RefusalNames(kNamed));
}

/// What the dialogue says to all of `said`, which comes byte by byte; ends early when it is done.
inline std::string converse(Dialogue& dialogue, std::string_view said, bool& done) {
    std::string replies;
    for (const char byte : said) {
        if (done) break;
        const Dialogue::Step step = dialogue.onBytes(std::string_view(&byte, 1));
        replies += step.reply;
        done = step.done;
    }
    return replies;
}

/// A balancer probe that says `said`, and is over then.
inline void expectProbe(const ProtocolTraits& protocol, std::string_view greeting, std::string_view said,
                        std::string_view replies) {
    const auto dialogue = protocol.make_probe_dialogue(RefusalNames(kNamed));
    const Dialogue::Step opening = dialogue->open();
    EXPECT_EQ(opening.reply, greeting);
    EXPECT_FALSE(opening.done);
    bool done = false;
    EXPECT_EQ(converse(*dialogue, said, done), replies);
    EXPECT_TRUE(done);
}

/// A balancer that is configured as the script says takes what mailgate answers to it.
inline void expectBalancerIsContent(const ProtocolTraits& protocol) {
    const auto matches = [](const std::string& reply, std::string_view pattern) {
        return std::regex_search(reply, std::regex(std::string(pattern), std::regex::multiline));
    };
    const auto dialogue = protocol.make_probe_dialogue(RefusalNames(kNamed));
    EXPECT_TRUE(matches(dialogue->open().reply, protocol.balancer.greeting));
    const Dialogue::Step last = dialogue->onBytes(std::string(protocol.balancer.goodbye) + "\r\n");
    EXPECT_TRUE(matches(last.reply, protocol.balancer.answer)) << last.reply;
    EXPECT_TRUE(last.done);
    const std::string refusal = lineOf(protocol, Refusal::NoServer);
    EXPECT_FALSE(matches(refusal, protocol.balancer.greeting)) << refusal;
}

inline void expectGreetings(const ProtocolTraits& protocol, Greeting want,
                            std::initializer_list<std::string_view> lines) {
    for (const std::string_view line : lines)
        EXPECT_EQ(protocol.judge_greeting(line), want) << line;
}

}  // namespace mailgate::test
