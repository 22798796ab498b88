// SPDX-License-Identifier: Apache-2.0
#include "store/rules/import_lines.h"

#include <gtest/gtest.h>

namespace mailgate::store::import {
namespace {

TEST(ImportLine, CountsCharactersUpToAPartOfIt) {
    const std::string_view line = "a m\xC3\xBC\xE2\x82\xAC z";
    EXPECT_EQ(placeIn(line, line), 1u);
    EXPECT_EQ(placeIn(line, line.substr(line.find('z'))), 7u);
    EXPECT_EQ(placeIn(line, line.substr(line.size())), 8u);
    EXPECT_EQ(placeIn(line, {}), 0u);
    EXPECT_EQ(placeIn(line.substr(2), line), 0u) << "before it";
}

TEST(ImportLine, IsUtf8OrIsNot) {
    for (const char* text :
         {"", "plain", "m\xC3\xBC", "\xE2\x82\xAC", "\xF0\x9F\x93\xA7 x", "\xED\x9F\xBF", "\xF4\x8F\xBF\xBF"})
        EXPECT_TRUE(isUtf8(text)) << text;
    for (const char* text :
         {"\xFC", "m\xFCller", "\xC3", "\xC3(", "\xE2\x82", "\x80", "\xC0\xAF", "\xE0\x80\xAF",
          "\xED\xA0\x80", "\xF4\x90\x80\x80", "\xF8\x88\x80\x80\x80", "\xF0\x9F\x93"})
        EXPECT_FALSE(isUtf8(text)) << testing::PrintToString(text);
}

}  // namespace
}  // namespace mailgate::store::import
