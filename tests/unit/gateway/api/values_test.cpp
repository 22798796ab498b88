// SPDX-License-Identifier: Apache-2.0
#include "gateway/api/values.h"

#include "gateway/api/problem.h"

#include <gmock/gmock.h>

namespace mailgate::api {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

Request asking(std::vector<std::pair<std::string, std::string>> query) {
    Request request;
    request.query = std::move(query);
    return request;
}

Request saying(std::string body) {
    Request request;
    request.body = std::move(body);
    return request;
}

/// Of the problem; empty: there is none.
template <typename Work>
std::string problemIn(const Work& work) {
    try {
        work();
    } catch (const Problem& problem) {
        EXPECT_EQ(problem.status, 400);
        return problem.detail;
    }
    return "";
}

TEST(QueryValues, AreReadByName) {
    const Request request = asking(
        {{"a", "1"}, {"b", ""}, {"c", "true"}, {"d", "x"}, {"d", "y"}, {"n", "192.0.2.0/24"}, {"s", "90s"}});
    QueryValues query(request);
    EXPECT_EQ(query.number("a"), 1);
    EXPECT_EQ(query.text("b"), "") << "which asks for nothing, and is asked";
    EXPECT_EQ(query.text("z"), std::nullopt);
    EXPECT_TRUE(query.flag("c"));
    EXPECT_TRUE(query.flag("b"));
    EXPECT_FALSE(query.flag("z"));
    EXPECT_THAT(query.texts("d"), ElementsAre("x", "y"));
    EXPECT_EQ(query.network("n")->toString(), "192.0.2.0/24");
    EXPECT_EQ(query.span("s"), 90);
    EXPECT_EQ(problemIn([&] { query.rejectOthers(); }), "");
}

TEST(QueryValues, ThatAreWrongAreProblems) {
    const Request request =
        asking({{"d", "x"}, {"d", "y"}, {"e", "perhaps"}, {"n", "192.0.2.1/24"}, {"limit", "11"}});
    QueryValues query(request);
    EXPECT_THAT(problemIn([&] { query.text("d"); }), HasSubstr("more than once"));
    EXPECT_THAT(problemIn([&] { query.flag("e"); }), HasSubstr("true or false"));
    EXPECT_THAT(problemIn([&] { query.number("e"); }), HasSubstr("whole number"));
    EXPECT_THAT(problemIn([&] { query.span("e"); }), HasSubstr("e: "));
    EXPECT_THAT(problemIn([&] { query.network("n"); }), HasSubstr("host bits"));
    EXPECT_THAT(problemIn([&] { query.limit(5, 10); }), HasSubstr("1 to 10"));
    EXPECT_EQ(query.limit(5, 11), 11u);
    EXPECT_EQ(problemIn([&] { query.rejectOthers(); }), "");
    QueryValues other(request);
    other.texts("d");
    EXPECT_THAT(problemIn([&] { other.rejectOthers(); }), HasSubstr("unknown parameter \"e\""));
}

TEST(BodyValues, AreReadByName) {
    const Request request = saying(R"({"t": "x", "n": 7, "yes": true, "none": null, "all": ["a", "b"]})");
    BodyValues body(request);
    EXPECT_EQ(body.text("t"), "x");
    EXPECT_EQ(body.number("n"), 7);
    EXPECT_TRUE(body.flag("yes"));
    EXPECT_TRUE(body.isNull("none"));
    EXPECT_EQ(body.text("none"), std::nullopt);
    EXPECT_FALSE(body.has("z"));
    EXPECT_FALSE(body.isNull("z"));
    EXPECT_THAT(body.texts("all"), ElementsAre("a", "b"));
    EXPECT_THAT(body.texts("z"), IsEmpty());
    EXPECT_EQ(problemIn([&] { body.rejectOthers(); }), "");
}

TEST(BodyValues, OfAnotherTypeAreProblems) {
    const Request request = saying(
        R"({"t": 7, "n": "7", "yes": "true", "all": "a", "some": ["a", 1], "large": 1e30, "f": 1.5, "b": true})");
    BodyValues body(request);
    EXPECT_THAT(problemIn([&] { body.text("t"); }), HasSubstr("t: expected a text"));
    EXPECT_THAT(problemIn([&] { body.number("n"); }), HasSubstr("whole number"));
    EXPECT_THAT(problemIn([&] { body.number("large"); }), HasSubstr("whole number"));
    EXPECT_THAT(problemIn([&] { body.number("f"); }), HasSubstr("whole number"));
    EXPECT_THAT(problemIn([&] { body.number("b"); }), HasSubstr("whole number"));
    EXPECT_THAT(problemIn([&] { body.flag("yes"); }), HasSubstr("true or false"));
    EXPECT_THAT(problemIn([&] { body.texts("all"); }), HasSubstr("array"));
    EXPECT_THAT(problemIn([&] { body.texts("some"); }), HasSubstr("array"));
    EXPECT_EQ(problemIn([&] { body.rejectOthers(); }), "");
    BodyValues other(request);
    EXPECT_THAT(problemIn([&] { other.rejectOthers(); }), HasSubstr("unknown member"));
}

TEST(BodyValues, AreAnObjectInUtf8) {
    const auto isMalformed = [](const std::string& text) {
        const Request request = saying(text);
        return problemIn([&] { BodyValues body(request); }).starts_with("expected a JSON object in UTF-8");
    };
    EXPECT_FALSE(isMalformed("{}"));
    EXPECT_FALSE(isMalformed("{\"a\": \"\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80\"}"));
    for (const std::string text :
         {"", "[]", "7", "\"x\"", "null", "{", "{\"a\"", "{} x", "{\"a\": 99999999999999999999}",
          "{\"a\": 18446744073709551616}", "{\"a\": \"x\\\"\", \"b\": [1234567890123456789]}",
          "{\"a\": 1, \"a\": 1}", "{\"a\": {\"b\": 1, \"c\": {}, \"b\": 2}}", "{\"a\": 1, \"\\u0061\": 2}"})
        EXPECT_TRUE(isMalformed(text)) << text;
    for (const std::string text :
         {"{\"a\": 999999999999999999}", "{\"a\": \"1234567890123456789\\\"1234567890123456789\"}",
          "{\"a\": {\"b\": 1}, \"b\": [{\"a\": 1}, {\"a\": 1}]}"})
        EXPECT_FALSE(isMalformed(text)) << text;
    for (const std::string bytes :
         {"\xff", "\xc0\x80", "\xc3", "\xe2\x82", "\xed\xa0\x80", "\xf4\x90\x80\x80", "\x80"})
        EXPECT_TRUE(isMalformed("{\"a\": \"" + bytes + "\"}")) << bytes.size();
    std::string nested;
    for (int i = 0; i < 10'000; ++i)
        nested += "{\"a\":";
    EXPECT_TRUE(isMalformed(nested));
    EXPECT_TRUE(isMalformed("{\"a\":" + std::string(10'000, '[') + std::string(10'000, ']') + "}"));
}

TEST(BodyValues, AreNotInTheQuery) {
    Request request = saying("{}");
    request.query = {{"dry_run", "true"}};
    EXPECT_THAT(problemIn([&] { BodyValues body(request); }), HasSubstr("unknown parameter \"dry_run\""));
}

TEST(Values, ThatNobodyTakesAreRefused) {
    EXPECT_EQ(problemIn([] { rejectValues({}); }), "");
    EXPECT_EQ(problemIn([] { rejectValues(saying("{}")); }), "");
    EXPECT_EQ(problemIn([] { rejectValues(saying(R"({"everywhere":true})")); }),
              "unknown member \"everywhere\": expected none");
    EXPECT_EQ(problemIn([] {
                  rejectValues(asking({{"dry_run", ""}}));
              }),
              "unknown parameter \"dry_run\": expected none");
    Request request = saying(R"({"dry_run":true})");
    request.query = {{"dry_run", "true"}};
    EXPECT_THAT(problemIn([&] { rejectMembers(request); }), HasSubstr("unknown member"));
    request.body.clear();
    EXPECT_EQ(problemIn([&] { rejectMembers(request); }), "");
}

}  // namespace
}  // namespace mailgate::api
