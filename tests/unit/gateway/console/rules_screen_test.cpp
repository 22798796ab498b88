// SPDX-License-Identifier: Apache-2.0
#include "gateway/console/rules_screen.h"

#include <Poco/JSON/Parser.h>
#include <gmock/gmock.h>

#include <sstream>

namespace mailgate::console {
namespace {

using Poco::JSON::Object;

std::string asText(const Object::Ptr& body) {
    std::ostringstream text;
    body->stringify(text);
    return text.str();
}

Object ruleOf(const std::string& text) {
    return *Poco::JSON::Parser().parse(text).extract<Object::Ptr>();
}

TEST(RuleForms, BecomeNewRules) {
    EXPECT_EQ(asText(newRulesFrom({{"csrf_token", "x"},
                                   {"networks", "192.0.2.0/24\r\n 2001:db8::/32 , host:mx.example.org\n\n"},
                                   {"verdict", "allow"},
                                   {"listeners", "smtp"},
                                   {"listeners", "imap"},
                                   {"note", "a \"b\""},
                                   {"expires_at", ""},
                                   {"client_rate", "7"},
                                   {"client_sessions", "many"},
                                   {"set", "office"},
                                   {"cut", "true"},
                                   {"step", "do"}})),
              R"({"client_rate":7,"client_sessions":"many","cut":true,"listeners":["smtp","imap"],)"
              R"("networks":["192.0.2.0/24","2001:db8::/32","host:mx.example.org"],"note":"a \"b\"",)"
              R"("set":"office","verdict":"allow"})");
    EXPECT_EQ(asText(newRulesFrom({})), R"({"listeners":[],"networks":[],"verdict":""})");
}

TEST(RuleForms, HaveNames) {
    using testing::Contains;
    using testing::Not;
    EXPECT_THAT(namesOfRulesForm({"rules", "add"}).value(), Contains("networks"));
    EXPECT_THAT(namesOfRulesForm({"rules", "import"}).value(), Contains("text"));
    EXPECT_THAT(namesOfRulesForm({"rules", "7", "edit"}).value(), Contains("etag"));
    EXPECT_THAT(namesOfRulesForm({"rules", "remove"}).value(), testing::ElementsAre("id", "etag"));
    EXPECT_THAT(namesOfRulesForm({"rules", "add"}).value(), Not(Contains("csrf_token")));
    EXPECT_THAT(namesOfRulesForm({"rules", "add"}).value(), Not(Contains("step")))
        << "what was sent is shown first";
    for (const std::vector<std::string>& other :
         {std::vector<std::string>{"rules"}, {"rules", "why"}, {"rules", "7"}, {"rules", "a", "b", "c"}})
        EXPECT_EQ(namesOfRulesForm(other), std::nullopt);
}

TEST(RuleForms, SayOnlyWhatIsDifferent) {
    const Object rule = ruleOf(
        R"({"id": 7, "note": "old\u202e", "owner": null, "ticket": "4711", "expires_at": "2026-12-01T00:00:00Z",
            "client_sessions": 5, "client_rate": null, "reply": null})");
    const Fields same{{"etag", "x"},
                      {"note", "old\\u202e"},
                      {"owner", ""},
                      {"ticket", "4711"},
                      {"client_sessions", "5"},
                      {"expires_at", "2026-12-01T00:00:00Z"},
                      {"client_rate", ""},
                      {"reply", ""}};
    EXPECT_EQ(asText(changesFrom(same, rule)), "{}") << "shown escaped, and kept as it is";
    EXPECT_EQ(asText(changesFrom(
                  {{"note", ""}, {"owner", "bob"}, {"client_sessions", "0"}, {"expires_at", ""}}, rule)),
              R"({"client_sessions":0,"expires_at":null,"note":null,"owner":"bob"})");
    EXPECT_EQ(asText(changesFrom({{"note", "a"}, {"note", "b"}}, rule)), "{}") << "which of them";
}

TEST(RuleForms, ThatWereSentTwiceAreKnownThoughASpanBeginsAnew) {
    const std::string rule = "deny 192.0.2.0/24 set=spam expires=2026-12-04T10:00:00Z why";
    EXPECT_TRUE(isThereAlready(rule, "deny 192.0.2.0/24 set=spam expires=2026-12-04T10:00:02Z why"));
    for (const char* other :
         {"deny 192.0.2.0/24 set=spam expires=2026-12-04T10:00:02Z other", "deny 192.0.2.0/24 set=spam why",
          "", "deny 192.0.2.0/24 set=spam expires=2026-12-04T10:02:00Z why",
          "deny 192.0.2.0/24 set=spam expires=2026-12-04T09:59:59Z why"}) {
        EXPECT_FALSE(isThereAlready(rule, other)) << other;
        EXPECT_FALSE(isThereAlready("", other)) << "it was not there";
    }
}

TEST(RuleForms, BecomeImports) {
    EXPECT_EQ(asText(importFrom({{"text", "deny 192.0.2.1\r\n"}, {"replace", "all"}, {"verdict", ""}})),
              R"({"all_sets":true,"replace":true,"text":"deny 192.0.2.1\r\n"})");
    EXPECT_EQ(asText(importFrom({{"text", ""}, {"replace", "set"}, {"set", "s"}, {"force", "true"}})),
              R"({"force":true,"replace":true,"set":"s","text":""})");
}

}  // namespace
}  // namespace mailgate::console
