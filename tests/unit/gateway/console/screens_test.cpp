// SPDX-License-Identifier: Apache-2.0
#include "gateway/console/screens.h"

#include <gmock/gmock.h>

namespace mailgate::console {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;
using testing::Pair;

TEST(Form, HasFields) {
    EXPECT_THAT(formFields("user=alice&password=a+b%26c%3D%C3%A9"),
                ElementsAre(Pair("user", "alice"), Pair("password", "a b&c=\xc3\xa9")));
    EXPECT_THAT(formFields("a=1&a=2&&b&=x"),
                ElementsAre(Pair("a", "1"), Pair("a", "2"), Pair("b", ""), Pair("", "x")));
    for (const char* text : {"", "&", "&&", "a=%", "a=%4", "a=%zz"})
        EXPECT_THAT(formFields(text), IsEmpty()) << text;
}

TEST(Form, HasAFieldOnce) {
    const auto fields = formFields("a=1&b=2&b=3");
    EXPECT_EQ(fieldNamed(fields, "a"), "1");
    EXPECT_EQ(fieldNamed(fields, "b"), "") << "which of them";
    EXPECT_EQ(fieldNamed(fields, "c"), "");
}

}  // namespace
}  // namespace mailgate::console
