// SPDX-License-Identifier: Apache-2.0
#include "store/rules/import_result.h"

#include <gtest/gtest.h>

namespace mailgate::store {
namespace {

TEST(ImportFormat, HasANameThatIsReadBack) {
    for (const ImportFormat format : kImportFormats) {
        EXPECT_NE(toString(format), "");
        EXPECT_EQ(importFormatOf(toString(format)), format);
    }
    for (const char* word : {"", "CIDR", "cidr ", "nftables"})
        EXPECT_EQ(importFormatOf(word), std::nullopt) << word;
}

TEST(ImportOptions, GuessNothing) {
    const ImportOptions options;
    EXPECT_EQ(options.format, ImportFormat::Auto);
    EXPECT_FALSE(options.verdict);
}

}  // namespace
}  // namespace mailgate::store
