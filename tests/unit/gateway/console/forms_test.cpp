// SPDX-License-Identifier: Apache-2.0
#include "gateway/console/forms.h"

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

TEST(Form, HasSeveralFieldsOfAName) {
    const auto fields = formFields("a=1&b=2&a=3");
    EXPECT_THAT(fieldsNamed(fields, "a"), ElementsAre("1", "3"));
    EXPECT_THAT(fieldsNamed(fields, "c"), IsEmpty());
}

TEST(Form, OfSeveralPartsHasFilesAsTexts) {
    EXPECT_EQ(boundaryOf("multipart/form-data; boundary=----x"), "----x");
    EXPECT_EQ(boundaryOf("Multipart/Form-Data; charset=utf-8; Boundary=\"a b\""), "a b");
    for (const char* type :
         {"", "multipart/form-data", "application/x-www-form-urlencoded", "text/x; boundary=x"})
        EXPECT_EQ(boundaryOf(type), "") << type;
    const std::string body =
        "--x\r\nContent-Disposition: form-data; name=\"text\"\r\n\r\na\r\n--y\r\n\r\n--x\r\n"
        "content-disposition: form-data; name=\"list\"; filename=\"a;b.txt\"\r\nContent-Type: "
        "text/plain\r\n\r\n"
        "deny 192.0.2.0/24\n\r\n--x--\r\n";
    EXPECT_THAT(multipartFields(body, "x"),
                ElementsAre(Pair("text", "a\r\n--y\r\n"), Pair("list", "deny 192.0.2.0/24\n")));
    for (std::size_t cut = 0; cut < body.size() - 4; ++cut)
        EXPECT_THAT(multipartFields(body.substr(0, cut), "x"), IsEmpty()) << cut;
    for (const char* bad : {"", "--x", "--x\r\n\r\n\r\n--x--", "--x\r\nA: b\r\n\r\nc\r\n--x--",
                            "--x\r\n--x--", "--x\r\nContent-Disposition: form-data; name=\"a\"\r\n\r\n--x--"})
        EXPECT_THAT(multipartFields(bad, "x"), IsEmpty()) << bad;
    EXPECT_THAT(multipartFields(body, ""), IsEmpty());
}

}  // namespace
}  // namespace mailgate::console
