// SPDX-License-Identifier: Apache-2.0
#include "protocols/values/lean_string.h"

#include <gtest/gtest.h>

#include <string>
#include <utility>

namespace mailgate {
namespace {

TEST(LeanString, IsOnePointerAndEmptyAtFirst) {
    static_assert(sizeof(LeanString) == sizeof(void*));
    const LeanString none;
    EXPECT_TRUE(none.empty());
    EXPECT_EQ(none.size(), 0U);
    EXPECT_EQ(none, "");
}

TEST(LeanString, HoldsWhatItWasGivenLast) {
    LeanString text = "mx.example.org";
    EXPECT_EQ(text, "mx.example.org");
    text = std::string(300, 'x');
    EXPECT_EQ(text.size(), 300U);
    text = text.view().substr(298);
    EXPECT_EQ(text, "xx") << "a part of itself";
    text = std::string_view("a\0b", 3);
    EXPECT_EQ(text.size(), 3U);
    text = "";
    EXPECT_TRUE(text.empty());
}

TEST(LeanString, CopiesAndMoves) {
    LeanString text = "mx.example.org";
    LeanString copy = text;
    const LeanString moved = std::move(text);
    copy = "other";
    EXPECT_EQ(moved, "mx.example.org");
    EXPECT_EQ(copy, "other");
    copy.clear();
    EXPECT_TRUE(copy.empty());
}

}  // namespace
}  // namespace mailgate
