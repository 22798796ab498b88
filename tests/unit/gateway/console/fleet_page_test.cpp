// SPDX-License-Identifier: Apache-2.0
#include "gateway/console/fleet_page.h"

#include <Poco/JSON/Parser.h>
#include <gmock/gmock.h>

#include <algorithm>
#include <string>

namespace mailgate::console {
namespace {

using testing::HasSubstr;
using testing::Not;

const Viewer kViewer{"bob", false, "token", false, true};

std::string pageOf(const std::string& json) {
    return fleetPage(kViewer, *Poco::JSON::Parser().parse(json).extract<Poco::JSON::Object::Ptr>());
}

std::string member(const std::string& name, int silent, int version, int behind) {
    return R"({"gateway": ")" + name + R"(", "version": "0.1.0", "started": "2026-11-26T09:00:00Z",
        "seen": "2026-11-26T10:00:00Z", "silent_seconds": )" +
           std::to_string(silent) + R"(, "rules_version": )" + std::to_string(version) + R"(, "behind": )" +
           std::to_string(behind) + R"(, "ahead": )" + std::to_string(std::max(0, version - 7)) + "}";
}

std::string fleetOf(const std::string& members, const std::string& here) {
    return R"({"fleet": "f", "url": "postgresql://mailgate@db.example.net/mailgate", "rules_version": 7,
        "here": {"gateway": "mx-1", "joined": true, "rules_version": 7, "sessions": 12, )" +
           here + R"(}, "members": [)" + members + R"(], "failure": null,
        "standing": {"connected": true, "since": "2026-11-26T09:30:00Z", "failure": null, "notified": true,
                     "rules_version": 7, "lag_seconds": 0.1}})";
}

const std::string kNothingOwn = R"("failure": null, "rules_added_here": 0, "rules_changed_here": 0)";

TEST(FleetPage, ListsGatewaysAndSaysThatAllIsWell) {
    const std::string page =
        pageOf(fleetOf(member("mx-1", 1, 7, 0) + "," + member("mx-2", 2, 7, 0), kNothingOwn));
    for (const char* words :
         {"mx-1 <strong>(this one)</strong>", "<td>mx-2</td>", "datetime=\"2026-11-26T10:00:00Z\"",
          "class=\"good\">All gateways have the fleet", "<dd>12</dd>", "it answers", "it notifies of them",
          "<a href=\"/fleet\" aria-current=\"page\">Fleet</a>"})
        EXPECT_THAT(page, HasSubstr(words));
    EXPECT_THAT(page, Not(HasSubstr("class=\"alarms\"")));
}

TEST(FleetPage, SaysWhatToTypeNext) {
    const std::string page = pageOf(
        fleetOf(member("mx-2", 90, 7, 0) + "," + member("mx-3", 1, 5, 2) + "," + member("mx-4", 1, 9, 0),
                R"("failure": "this gateway has not joined: mailgate fleet join", "rules_added_here": 1,
                   "rules_changed_here": 2)"));
    for (const char* words :
         {"<code>mailgate fleet forget mx-2</code>", "silent</span> for 90 s", "2 changes behind",
          "with a version that the database does not have", "mailgate fleet join --dry-run",
          "This gateway: this gateway has not joined: mailgate fleet join.",
          "1 rule of this gateway is its own", "href=\"/rules?set=here\"",
          "were changed on this gateway alone", "<code>mailgate fleet push</code>"})
        EXPECT_THAT(page, HasSubstr(words));
    EXPECT_THAT(page, Not(HasSubstr("All gateways have")));
    EXPECT_THAT(page, Not(HasSubstr("forget mx-3")));
}

TEST(FleetPage, ListsWhatIsDrainedEverywhere) {
    const auto with = [](const std::string& drains) {
        return pageOf(fleetOf(member("mx-1", 1, 7, 0),
                              kNothingOwn + R"(}, "drains": )" + drains + R"(, "more": {"a": 1)"));
    };
    const std::string page = with(
        R"([{"upstream": "mail", "server": "<m1>", "since": "2026-11-25T08:00:00Z", "by": "bob at mx-2"}])");
    for (const char* words : {"<td>&lt;m1&gt;</td>", "datetime=\"2026-11-25T08:00:00Z\"",
                              "<td>bob at mx-2</td>", "mailgate server ready UPSTREAM/SERVER --everywhere"})
        EXPECT_THAT(page, HasSubstr(words));
    EXPECT_THAT(with("[]"), HasSubstr("mailgate server drain UPSTREAM/SERVER --everywhere"));
    EXPECT_THAT(with("null"), Not(HasSubstr("drained everywhere"))) << "that is not known";
}

TEST(FleetPage, ShowsWhatIsKnownWithoutTheDatabase) {
    const std::string page = pageOf(
        R"({"fleet": null, "url": "postgresql://<db>", "rules_version": null, "here": {"gateway": "mx-1",
        "joined": null, "rules_version": 7, "sessions": 3, "failure": null, "rules_added_here": null,
        "rules_changed_here": null}, "members": null, "failure": "the <db> does not answer", "standing": {"connected":
        false, "since": "2026-11-26T09:30:00Z", "failure": "<db> does not answer", "lag_seconds": 75.2}})");
    for (const char* words :
         {"<li>The &lt;db&gt; does not answer. The rules stay as they are, 75 s old.", "--here --expires 1d",
          "it does not answer", "only the database knows", "<dd>not known</dd>", "<dd>3</dd>"})
        EXPECT_THAT(page, HasSubstr(words));
    EXPECT_EQ(page.find("&lt;db&gt; does not answer"), page.rfind("&lt;db&gt; does not answer")) << "once";
}

TEST(FleetPage, TellsWhatIsMissingAmongTheFleetsSessions) {
    std::string gateway = member("<mx>", 1, 7, 0);
    gateway.insert(gateway.size() - 1, R"(, "missing": {"records": 7, "exact": false, "from": null,
        "to": "2026-11-26T10:00:00Z"})");
    std::string other = member("mx-2", 1, 7, 0);
    other.insert(other.size() - 1, R"(, "missing": {"records": 1, "exact": true,
        "from": "2026-11-26T08:00:00Z", "to": "2026-11-26T09:00:00Z"})");
    const std::string page =
        pageOf(fleetOf(gateway + "," + other + "," + member("mx-3", 1, 7, 0), kNothingOwn));
    for (const char* words :
         {"<li>up to 7 records of &lt;mx&gt; to <time datetime=\"2026-11-26T10:00:00Z\">",
          " are missing among", "<li>1 record of mx-2 from <time datetime=\"2026-11-26T08:00:00Z\">",
          " is missing among"})
        EXPECT_THAT(page, HasSubstr(words));
    EXPECT_THAT(page, Not(HasSubstr("of mx-3")));
}

TEST(FleetPage, MarksWhatNoGatewayWrites) {
    const std::string page = pageOf(fleetOf(
        R"({"gateway": "mx-5", "version": "x", "started": null, "seen": null, "silent_seconds": 0, "rules_version": 0,
            "behind": 0, "ahead": 0, "damaged": true})",
        kNothingOwn));
    for (const char* words :
         {"<span class=\"bad\">not known</span>", "<code>mailgate fleet forget mx-5</code>"})
        EXPECT_THAT(page, HasSubstr(words));
    for (const char* words : {"All gateways have", "are not shown", ">up<"})
        EXPECT_THAT(page, Not(HasSubstr(words)));
    std::string many = fleetOf(member("mx-1", 1, 7, 0), kNothingOwn);
    many.insert(1, R"("more_members": true, )");
    EXPECT_THAT(pageOf(many), HasSubstr("There are more, which are not shown."));
}

TEST(FleetPage, TakesNamesForText) {
    const std::string page =
        pageOf(fleetOf(member("<script>\u202e; rm -rf /", 90, 7, 0) + "," + member("--help", 90, 7, 0) + "," +
                           member("mx$(id)", 90, 7, 0),
                       kNothingOwn));
    EXPECT_THAT(page, HasSubstr("&lt;script&gt;\\u202e; rm -rf /"));
    EXPECT_THAT(page, Not(HasSubstr("<script>")));
    for (const char* command : {"forget &lt;", "forget --help", "forget mx$"})
        EXPECT_THAT(page, Not(HasSubstr(command))) << "nothing that a shell reads otherwise";
    EXPECT_THAT(page, HasSubstr("<code>mailgate fleet forget NAME</code>"));
}

TEST(FleetPage, IsNamedWhereThereIsAFleet) {
    EXPECT_THAT(page(kViewer, Place::Overview, "x", {}), HasSubstr("href=\"/fleet\""));
    EXPECT_THAT(page(Viewer{"bob", false, "token"}, Place::Overview, "x", {}),
                Not(HasSubstr("href=\"/fleet\"")));
}

}  // namespace
}  // namespace mailgate::console
