// SPDX-License-Identifier: Apache-2.0
#include "protocols/stream/stream_filter.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <set>
#include <string>

namespace mailgate {
namespace {

TEST(Violation, HasAWordOfItsOwnThatIsFitForLogs) {
    std::set<std::string_view> words;
    for (int number = 0; number <= static_cast<int>(Violation::NoMemory); ++number) {
        const std::string_view word = toString(static_cast<Violation>(number));
        EXPECT_TRUE(std::all_of(word.begin(), word.end(), [](char c) {
            return (c >= 'a' && c <= 'z') || c == '_';
        })) << word;
        words.insert(word);
    }
    EXPECT_EQ(words, (std::set<std::string_view>{"bare_lf", "forbidden_command", "proxy_header",
                                                 "bad_command", "too_long", "unexpected_reply", "no_memory",
                                                 "plaintext_after_starttls", "tls_required"}));
    EXPECT_EQ(toString(static_cast<Violation>(200)), "");
}

TEST(Side, HasAnother) {
    EXPECT_EQ(other(Side::Client), Side::Server);
    EXPECT_EQ(other(Side::Server), Side::Client);
}

/// Says no more than it has to.
class Passive final : public StreamFilter {
  public:
    Rest onBytes(Side, std::string_view bytes, Output& out) noexcept override {
        out.pass(bytes.size());
        return Rest::More;
    }
    bool serverAtBoundary() const noexcept override { return true; }
    bool interruptible() const noexcept override { return interruptible_; }
    void finish(std::string_view /*told*/) noexcept override {}

    bool interruptible_ = false;
};

TEST(StreamFilter, OfWhichNothingElseIsKnownFindsNothingWrong) {
    Passive filter;
    EXPECT_FALSE(filter.violation());
    EXPECT_FALSE(filter.opaque());
    EXPECT_FALSE(filter.startsTls());
    EXPECT_FALSE(filter.awaitsFinalReply());
    EXPECT_EQ(filter.sender(), "");
    EXPECT_FALSE(filter.noReplyPending()) << "or a line of ours would be taken for the reply";
    filter.interruptible_ = true;
    EXPECT_TRUE(filter.noReplyPending());
}

}  // namespace
}  // namespace mailgate
