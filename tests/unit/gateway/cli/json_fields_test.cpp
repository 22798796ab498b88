// SPDX-License-Identifier: Apache-2.0
#include "gateway/cli/json_fields.h"

#include <Poco/JSON/Parser.h>

#include <gmock/gmock.h>

#include <string>
#include <vector>

namespace mailgate::cli {
namespace {

Poco::JSON::Object::Ptr document(const std::string& text) {
    return Poco::JSON::Parser().parse(text).extract<Poco::JSON::Object::Ptr>();
}

TEST(JsonFields, WhatIsNotThereIsEmpty) {
    const auto object = document(R"({"none":null,"number":7,"yes":true,"text":"mx"})");
    EXPECT_EQ(textOf(*object, "text"), "mx");
    EXPECT_EQ(textOf(*object, "number"), "7");
    EXPECT_EQ(numberOf(*object, "number"), 7u);
    EXPECT_TRUE(isSet(*object, "yes"));
    for (const char* key : {"none", "absent"}) {
        EXPECT_EQ(textOf(*object, key), "");
        EXPECT_EQ(numberOf(*object, key), 0u);
        EXPECT_FALSE(isSet(*object, key));
        EXPECT_EQ(joinedTexts(*object, key), "");
        forEachOf(*object, key, [](const Poco::JSON::Object&) { FAIL(); });
    }
}

TEST(JsonFields, WhatAClientHasSentStaysOnItsLine) {
    EXPECT_EQ(lineOf(*document(R"({"helo":"a\nb\u001b[2J\u202e\"c\""})"), "helo"),
              "a\\u000ab\\u001b[2J\\u202e\"c\"");
}

TEST(JsonFields, ArraysAreGoneThrough) {
    const auto object = document(R"({"names":["a","b"],"rows":[{"n":1},2,{"n":3}]})");
    EXPECT_EQ(joinedTexts(*object, "names"), "a, b");
    std::vector<std::uint64_t> numbers;
    forEachOf(*object, "rows", [&](const Poco::JSON::Object& row) { numbers.push_back(numberOf(row, "n")); });
    EXPECT_THAT(numbers, testing::ElementsAre(1, 3));
}

}  // namespace
}  // namespace mailgate::cli
