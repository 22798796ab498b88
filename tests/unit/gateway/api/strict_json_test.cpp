// SPDX-License-Identifier: Apache-2.0
#include "gateway/api/strict_json.h"

#include <gmock/gmock.h>

namespace mailgate::api {
namespace {

using testing::HasSubstr;

TEST(StrictJson, HasAMemberOnce) {
    EXPECT_THAT(ambiguityIn(R"({"dry_run":true,"dry_run":false})"),
                HasSubstr("\"dry_run\" comes more than once"));
    EXPECT_THAT(ambiguityIn("{\"a\" :1,\n\t\"b\":[{\"c\":1,\"c\"\n:2}]}"), HasSubstr("\"c\""));
    EXPECT_THAT(ambiguityIn(R"({"dry\u005frun":true,"dry_run":false})"), HasSubstr("with an escape"));
    for (const char* text : {R"({"a":{"a":1},"b":[{"a":1},{"a":2}],"c":"a"})", R"({"a":"\"a\":1,\"a\":2"})",
                             R"(["a","a"])", "{}", ""})
        EXPECT_EQ(ambiguityIn(text), "") << text;
}

TEST(StrictJson, HasNumbersThatHavePlace) {
    for (const char* number : {"18446744073709551616", "9223372036854775808", "-9223372036854775809",
                               "99999999999999999999999999"})
        EXPECT_THAT(ambiguityIn(std::string(R"({"n": )") + number + "}"), HasSubstr("too large")) << number;
    for (const char* number :
         {"9223372036854775807", "-9223372036854775808", "0", "-1", "1e999", "18446744073709551616.0"})
        EXPECT_EQ(ambiguityIn(std::string(R"({"n":[)") + number + "]}"), "") << number;
    EXPECT_EQ(ambiguityIn(R"({"note":"18446744073709551616"})"), "");
}

TEST(StrictJson, ReadsAnything) {
    for (const char* text : {"\"", "\"\\", "{\"a", "{\"a\"", "}}}", "{\"a\":", "-", "{{\"a\":1}"})
        EXPECT_EQ(ambiguityIn(text), "") << text;
}

}  // namespace
}  // namespace mailgate::api
