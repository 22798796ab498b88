// SPDX-License-Identifier: Apache-2.0
#include "gateway/console/rules_page.h"

#include <Poco/JSON/Parser.h>
#include <gmock/gmock.h>

namespace mailgate::console {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::Not;
using testing::Pair;

Poco::JSON::Object answerOf(const std::string& text) {
    return *Poco::JSON::Parser().parse(text).extract<Poco::JSON::Object::Ptr>();
}

const Viewer kEditor{"alice (console)", true, "token"};
const Viewer kReader{"bob (console)", false, "token"};
const std::string kEvilRule =
    R"({"id": 7, "set": "<s>", "network": "192.0.2.0/24", "name": null, "verdict": "deny", "listener": null,
        "note": "<script>\u202e\"'", "owner": "<o>", "expires_at": null, "hits": 3, "last_hit_at": null})";

TEST(RulesPage, HasOrdersForWhoMayGiveThem) {
    const auto found = answerOf(R"({"found": 1, "next": "7", "rules": [)" + kEvilRule + "]}");
    const std::string page =
        rulesPage(kEditor, {{"note", "<n>"}, {"show", "unused-90d"}}, {{"smtp"}, {"office"}}, found);
    for (const char* words :
         {"/rules/7/edit", "/rules/7/remove", "/rules/add", "/rules/import", "1 rule found",
          "&lt;script&gt;\\u202e&quot;&#39;", "&lt;s&gt;", "&lt;o&gt;",
          "?cursor=7&amp;note=%3Cn%3E&amp;show=unused-90d", "<option value=\"unused-90d\" selected>"})
        EXPECT_THAT(page, HasSubstr(words));
    EXPECT_THAT(page, Not(HasSubstr("<script>")));
    const std::string seen = rulesPage(kReader, {}, {}, found);
    for (const char* words : {"/edit", "/remove", "/rules/add", "/rules/import"})
        EXPECT_THAT(seen, Not(HasSubstr(words)));
}

TEST(RulesPage, ThatIsEmptySaysWhatToDo) {
    const auto nothing = answerOf(R"({"found": 0, "next": null, "rules": []})");
    EXPECT_THAT(rulesPage(kEditor, {}, {}, nothing), HasSubstr("Add the first rule"));
    EXPECT_THAT(rulesPage(kReader, {}, {}, nothing), Not(HasSubstr("Add the first rule")));
    EXPECT_THAT(rulesPage(kEditor, {{"note", "x"}}, {}, nothing), HasSubstr("No rule is like that"));
    EXPECT_THAT(historyPage(kEditor, {}, answerOf(R"({"changes": [], "next": null})")),
                HasSubstr("No rule has been changed yet"));
}

TEST(RulesPage, AsksTheApiForWhatIsChosen) {
    EXPECT_THAT(listQuery({{"show", "expiring-7d"}, {"note", "x"}, {"set", ""}, {"limit", "9"}}),
                ElementsAre(Pair("note", "x"), Pair("expiring", "7d")));
    EXPECT_THAT(listQuery({{"show", "<x>"}, {"match", "192.0.2.1"}}),
                ElementsAre(Pair("match", "192.0.2.1")));
    EXPECT_THAT(listQuery({{"show", ""}, {"cursor", "7"}}), ElementsAre(Pair("cursor", "7")));
}

TEST(WhyPage, NamesTheRuleThatDecides) {
    const auto decisions = answerOf(
        R"({"decisions": [{"address": "192.0.2.1", "listener": "smtp", "allowed": false, "rule": )" +
        kEvilRule + R"(, "others": [{"expired": true, "rule": )" + kEvilRule +
        R"(}]}, {"address": "192.0.2.1", "listener": "imap", "allowed": true, "rule": null, "others": []}]})");
    const std::string page = whyPage(kEditor, {{"address", "192.0.2.1"}}, {}, &decisions);
    for (const char* words :
         {"Listener smtp: <span class=\"bad\">refused", "The rule that decides", "no: expired",
          "Listener imap: <span class=\"good\">admitted", "No rule covers the address"})
        EXPECT_THAT(page, HasSubstr(words));
    EXPECT_THAT(whyPage(kEditor, {{"address", "<x>"}}, {}, nullptr, "<y>"), HasSubstr("&lt;y&gt;"));
}

TEST(Preview, SaysWhomAChangeWouldConcern) {
    const Pending pending{"Add this?",
                          "/rules/add",
                          "Add",
                          "/rules",
                          {{"note", "<\u202e>\n\""}, {"step", "preview"}, {"csrf_token", "old"}},
                          true};
    std::string clients;
    for (int number = 1; number <= 25; ++number)
        clients += (number == 1 ? "" : ",") +
                   (R"({"client": "192.0.2.)" + std::to_string(number) +
                    R"(", "listener": "smtp", "sessions": 2, "allowed": )") +
                   (number <= 20 ? "false}" : "true}");
    const std::string page = previewPage(
        kEditor, pending,
        answerOf(
            R"({"added": 1, "changed": 0, "removed": 0, "sessions": {"decided_otherwise": 1200, "admitted": 200, "refused": 1000, "not_known": 1, "complete": true, "clients_found": 1005, "clients": [)" +
            clients + R"(]}, "changes": [{"before": null, "after": "deny 192.0.2.0/24 <b>"}]})"));
    for (const char* words :
         {"1,000 sessions of the last seven days would have been refused",
          "200 sessions of the last seven days would have been admitted",
          "The 20 clients with most sessions, of 1,005", "Not known of 1 session,", "1 rule to be added",
          "<ins>+ deny 192.0.2.0/24 &lt;b&gt;</ins>", "name=\"note\" value=\"&lt;\u202e&gt;&#10;&quot;\"",
          "name=\"csrf_token\" value=\"token\"", "Back to the form"})
        EXPECT_THAT(page, HasSubstr(words));
    EXPECT_THAT(page, Not(HasSubstr("\"old\"")));
    EXPECT_THAT(page, Not(HasSubstr("192.0.2.21\"")));
    EXPECT_THAT(previewPage(kEditor, pending, answerOf(R"({"added": 0, "sessions": null, "changes": []})")),
                HasSubstr("The journal is off"));
}

TEST(RuleForm, ComesBackWithWhatWasWrong) {
    const Fields fields{
        {"networks", "192.0.2.0/24\n<x>"}, {"verdict", "deny"}, {"listeners", "imap"}, {"note", "\"><b>"}};
    const std::string page =
        addRulePage(kEditor, fields, {{"smtp", "imap"}, {}}, {"<why>", {"<line>"}, true});
    for (const char* words : {"role=\"alert\"", "&lt;why&gt;", "&lt;line&gt;", "name=\"force\"",
                              "192.0.2.0/24\n&lt;x&gt;</textarea>", "value=\"deny\" checked",
                              "value=\"imap\" checked", "&quot;&gt;&lt;b&gt;"})
        EXPECT_THAT(page, HasSubstr(words));
    EXPECT_THAT(page, Not(HasSubstr("value=\"smtp\" checked")));
    EXPECT_THAT(addRulePage(kEditor, {}, {}, {}), Not(HasSubstr("name=\"force\"")));
}

TEST(RuleForm, ThatIsTooLateShowsBoth) {
    const std::string page =
        changedMeanwhilePage(kEditor, answerOf(R"({"id": 7, "note": "<theirs>", "owner": null})"),
                             {{"note", "mine"}, {"owner", "me"}});
    for (const char* words :
         {"Rule 7 was changed meanwhile", "&lt;theirs&gt;", "mine", "me", "/rules/7/edit"})
        EXPECT_THAT(page, HasSubstr(words));
}

}  // namespace
}  // namespace mailgate::console
