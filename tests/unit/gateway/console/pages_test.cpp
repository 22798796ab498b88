// SPDX-License-Identifier: Apache-2.0
#include "gateway/console/pages.h"

#include <Poco/JSON/Parser.h>
#include <gmock/gmock.h>

namespace mailgate::console {
namespace {

using testing::HasSubstr;
using testing::Not;

Poco::JSON::Object objectOf(const std::string& text) {
    return *Poco::JSON::Parser().parse(text).extract<Poco::JSON::Object::Ptr>();
}

const Viewer kOperator{"alice (console)", true, "token"};

TEST(Pages, SayWhatNeedsAttention) {
    const std::string well =
        R"("listeners": [{"name": "mx", "available": true}], "rules": {"store_failed": false},
           "journal": {"lost": 0, "failure": null}, "log_failure": null)";
    EXPECT_THAT(overviewPage(kOperator, objectOf("{" + well + "}"), 0), Not(HasSubstr("alarms")));
    const std::string page = overviewPage(
        kOperator,
        objectOf(
            R"({"last_reload_failed": true, "config_change": {"file": null}, "address_alarms": ["<mx>"], "journal": {"lost": 3, "failure": "no space"}, "log_failure": "cannot be written: no <space>",
            "tls_files": [{"failure": null}, {"failure": "a.key: is gone"}], "rules": {"store_failed": true}, "listeners": [{"name": "mx", "available": false}]})"),
        0);
    for (const char* words :
         {"The last reload was refused", "and is not loaded: mailgate reload",
          "listener &lt;mx&gt; come from one private address", "The journal has lost 3 sessions",
          "The journal cannot be written: no space", "The log fails: cannot be written: no &lt;space&gt;",
          "Changed TLS files are not in use: a.key: is gone", "The access rules cannot be read",
          "Listener mx has no server"})
        EXPECT_THAT(page, HasSubstr(words));
}

TEST(Pages, SayWhatBringsAChangedConfigurationIntoForce) {
    const auto page = [](const std::string& change) {
        return overviewPage(kOperator, objectOf(R"({"config_change": {)" + change + "}}"), 0);
    };
    EXPECT_THAT(page(R"("restart": [], "refused": null)"), HasSubstr("is not loaded: mailgate reload"));
    EXPECT_THAT(page(R"("restart": ["gateway.workers"], "refused": null)"),
                HasSubstr("some of it can only change with a restart"));
    EXPECT_THAT(page(R"("restart": [], "refused": "x: unknown key")"),
                HasSubstr("a reload would fail, and perhaps a restart"));
}

TEST(Pages, SayHowTheDayWasWhereThatIsKnown) {
    const auto day = objectOf(R"({"sessions": 312, "refused": 7, "failed_logins": 1})");
    EXPECT_THAT(overviewPage(kOperator, objectOf("{}"), 0, &day),
                HasSubstr("312 sessions, 7 refused, 1 with failed logins"));
    EXPECT_THAT(overviewPage(kOperator, objectOf("{}"), 0), Not(HasSubstr("24 hours")));
    EXPECT_THAT(overviewPart(objectOf("{}"), 0, &day).str(), HasSubstr("24 hours")) << "it refreshes itself";
}

TEST(Pages, OfWhoMayNotChangeAnythingHaveNoOrders) {
    const auto live =
        objectOf(R"({"found": 1, "sessions": [{"session": "01JD", "started": "2026-11-26T10:00:00Z"}]})");
    EXPECT_THAT(liveSessionsPage(kOperator, live), HasSubstr("href=\"/sessions/01JD/end\""));
    EXPECT_THAT(liveSessionsPage({"bob", false, "token"}, live), Not(HasSubstr("/end")));
}

TEST(Pages, HavePartsThatAreOfNobody) {
    const auto status = objectOf(R"({"totals": {"admitted": 7, "refused": 2, "turned_away": 1}})");
    const auto live =
        objectOf(R"({"found": 200, "sessions": [{"session": "01JD", "started": "2026-11-26T10:00:00Z"}]})");
    for (const std::string& part : {overviewPart(status, 5).str(), liveSessionsPart(true, live).str()}) {
        EXPECT_THAT(part, Not(HasSubstr("csrf")));
        EXPECT_THAT(part, HasSubstr("data-live"));
    }
    EXPECT_THAT(overviewPage(kOperator, status, 5), HasSubstr(overviewPart(status, 5).str().substr(0, 400)));
    EXPECT_THAT(overviewPart(status, 5).str(), HasSubstr("data-at=\"5\""));
    EXPECT_THAT(overviewPart(status, 5).str(),
                HasSubstr("data-admitted=\"7\" data-refused=\"2\" data-turned_away=\"1\""));
    EXPECT_THAT(liveSessionsPage(kOperator, live), HasSubstr(liveSessionsPart(true, live).str()));
    EXPECT_THAT(liveSessionsPart(true, live).str(), HasSubstr("1 of 200 sessions under way"));
}

TEST(Pages, WithoutAnythingSayWhatToDo) {
    const auto nothing = objectOf(R"({"sessions": [], "next": null, "meaning": null, "also": []})");
    EXPECT_THAT(sessionsPage(kOperator, "", nothing), HasSubstr("No session has ended yet"));
    EXPECT_THAT(sessionsPage(kOperator, "x", nothing), HasSubstr("The journal has nothing of this name"));
    EXPECT_THAT(liveSessionsPage(kOperator, nothing), HasSubstr("No session is under way"));
}

TEST(Pages, CountWhatAListLeavesOut) {
    const std::string page = sessionsPage(kOperator, "", objectOf(R"({"sessions": [
        {"session": "01JD", "event": "session.end", "mail_count": 98, "mail": [
            {"from": "a@example.org", "recipients": ["b@example.net", "c@example.net"], "recipient_count": 41},
            {"from": "d@example.org", "recipients": []}]},
        {"session": "01JE", "event": "session.mail", "from": "e@example.org", "recipients": ["f@example.net"]}]})"));
    for (const char* words : {"<td>a@example.org and 97 more</td>", "<td>b@example.net and 40 more</td>",
                              "<td>e@example.org</td>", "<td>f@example.net</td>"})
        EXPECT_THAT(page, HasSubstr(words));
}

TEST(Pages, OfAFleetSayWhoseSessionsTheyHave) {
    const Viewer viewer{"bob", false, "token", false, true};
    const Fields all{{"gateways", "all"}};
    const auto found = objectOf(
        R"({"meaning": {"name": "from", "words": "a sender"}, "also": [{"name": "to", "words": "a recipient"}], "next": "7-01JD",
            "gateways": [{"gateway": "mx-1"}], "said": "asked the fleet's database: mx-1, <mx>",
            "sessions": [{"session": "01JD", "gateway": "mx&1", "time": "2026-11-26T10:00:00Z"}]})");
    const std::string page = sessionsPage(viewer, "a&b", found, all);
    for (const char* words :
         {"<option value=\"all\" selected>", "Asked the fleet&#39;s database: mx-1, &lt;mx&gt;.",
          "href=\"/sessions/01JD?gateway=mx%261\"", "<th scope=\"col\">Gateway</th>",
          "href=\"/sessions?q=a%26b&amp;as=to&amp;gateways=all\"",
          "href=\"/sessions?cursor=7-01JD&amp;q=a%26b&amp;as=from&amp;gateways=all\""})
        EXPECT_THAT(page, HasSubstr(words));
    EXPECT_THAT(sessionPage(viewer, objectOf(R"({"gateways": [], "sessions": [{"client": "192.0.2.1"}]})")),
                HasSubstr("href=\"/sessions?q=192.0.2.1&amp;gateways=all\""));
    const auto own = objectOf(R"({"meaning": null, "sessions": [{"session": "01JD", "gateway": "mx-1"}]})");
    const std::string here = sessionsPage(viewer, "x", own);
    for (const char* words : {"<option value=\"\" selected>", "href=\"/sessions/01JD\"",
                              "<a href=\"/sessions?q=x&amp;gateways=all\">ask all gateways</a>"})
        EXPECT_THAT(here, HasSubstr(words));
    EXPECT_THAT(here, Not(HasSubstr("<th scope=\"col\">Gateway</th>")));
    EXPECT_THAT(sessionsPage(kOperator, "x", own), Not(HasSubstr("gateways"))) << "there is no fleet";
}

TEST(Pages, AreOfNobodyBeforeTheLogIn) {
    EXPECT_THAT(logInPage("<i>"), HasSubstr("&lt;i&gt;"));
    EXPECT_THAT(logInPage(""), Not(HasSubstr("<nav")));
    EXPECT_THAT(messagePage(kOperator, "a", "b"), HasSubstr("<nav"));
}

TEST(Pages, HaveNoScriptInThem) {
    for (const std::string& page : {overviewPage(kOperator, objectOf("{}"), 0), logInPage("")}) {
        for (std::size_t at = page.find("<script"); at != std::string::npos;
             at = page.find("<script", at + 1))
            EXPECT_EQ(page.substr(at).find("<script src=\"/assets/"), 0U) << page.substr(at, 80);
        EXPECT_THAT(page, Not(HasSubstr("style=")));
        EXPECT_THAT(page, Not(HasSubstr("<style")));
    }
    EXPECT_THAT(logInPage(""), Not(HasSubstr("<script"))) << "it needs none";
}

}  // namespace
}  // namespace mailgate::console
