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

}  // namespace
}  // namespace mailgate::store::import
