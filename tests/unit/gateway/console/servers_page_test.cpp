// SPDX-License-Identifier: Apache-2.0
#include "gateway/console/servers_page.h"

#include <Poco/JSON/Parser.h>
#include <gmock/gmock.h>

namespace mailgate::console {
namespace {

using testing::HasSubstr;
using testing::Not;

Poco::JSON::Object serversOf(const std::string& text) {
    return *Poco::JSON::Parser().parse(text).extract<Poco::JSON::Object::Ptr>();
}

const std::string kServers = R"({"servers": [
    {"upstream": "mail", "server": "m1", "address": "192.0.2.1:25", "healthy": true, "draining": true,
     "drained_since": "2026-11-25T08:00:00Z", "drained_by": "<bob>", "sessions": 3},
    {"upstream": "mail", "server": "m1", "address": "192.0.2.2:25", "healthy": true, "draining": true, "sessions": 4},
    {"upstream": "mail", "server": "<m2>", "address": "192.0.2.3:25", "healthy": false, "reason": "<no greeting>",
     "changed": "2026-11-26T10:00:00Z", "draining": false, "sessions": 0}]})";

TEST(ServersPage, ShowsHealthBesideTheState) {
    const Viewer editor{"alice", true, "token"}, reader{"bob", false, "token"};
    const std::string page = serversPage(editor, serversOf(kServers));
    for (const char* words :
         {"drained</span> <span class=\"soft\">since <time datetime=\"2026-11-25T08:00:00Z\"",
          "by &lt;bob&gt;", "down</span>: &lt;no greeting&gt;", "datetime=\"2026-11-26T10:00:00Z\"",
          "/servers/mail/m1/ready", "/servers/mail/%3Cm2%3E/drain", "/servers/mail/%3Cm2%3E/probe"})
        EXPECT_THAT(page, HasSubstr(words));
    EXPECT_THAT(page, Not(HasSubstr("/servers/mail/m1/drain")));
    EXPECT_EQ(page.find("/servers/mail/m1/ready"), page.rfind("/servers/mail/m1/ready"))
        << "once, not per address";
    const std::string seen = serversPage(reader, serversOf(kServers));
    for (const char* order : {"/ready", "/drain", "/probe\""})
        EXPECT_THAT(seen, Not(HasSubstr(order)));
    EXPECT_THAT(serversPage(editor, serversOf(R"({"servers": []})")), HasSubstr("mailgate check"));
}

TEST(ServersPage, SaysWhatIsDrainedEverywhere) {
    const auto drained = [](const std::string& since, const std::string& by) {
        const auto object = serversOf(R"({"drains": [{"upstream": "mail", "server": "m1", "since": ")" +
                                      since + R"(", "by": ")" + by + "\"}]}");
        return serversPage({"bob", false, "token"}, serversOf(kServers), objectsOf(object, "drains"));
    };
    const std::string same = drained("2026-11-25T08:00:00Z", "<bob>");
    EXPECT_THAT(same, HasSubstr("drained</span> everywhere <span class=\"soft\">since <time "
                                "datetime=\"2026-11-25T08:00:00Z\""));
    EXPECT_THAT(same, HasSubstr("mailgate server ready UPSTREAM/SERVER --everywhere"));
    const std::string by_itself = drained("2026-11-26T08:00:00Z", "carol at mx-2");
    EXPECT_THAT(by_itself, HasSubstr("by &lt;bob&gt;</span>, everywhere <span"));
    EXPECT_THAT(by_itself, HasSubstr("by carol at mx-2"));
    EXPECT_THAT(serversPage({"bob", false, "token"}, serversOf(kServers)), Not(HasSubstr("everywhere")));
}

TEST(ServersPage, AsksBeforeADrainWhatItHits) {
    const Viewer editor{"alice", true, "token"};
    EXPECT_THAT(drainPage(editor, "mail", "m1", serversOf(kServers)), HasSubstr("7 sessions with it now"));
    EXPECT_THAT(drainPage(editor, "mail", "m1", serversOf(kServers)),
                HasSubstr("No other server of mail takes sessions"));
    const auto two =
        serversOf(R"({"servers": [{"upstream": "mail", "server": "a", "healthy": true, "sessions": 1},
        {"upstream": "mail", "server": "b", "healthy": true, "sessions": 9},
        {"upstream": "other", "server": "a", "healthy": true, "sessions": 9}]})");
    EXPECT_THAT(drainPage(editor, "mail", "a", two), HasSubstr("1 session with it now"));
    EXPECT_THAT(drainPage(editor, "mail", "a", two), Not(HasSubstr("No other server")));
}

TEST(ProbePage, SaysWhatToChange) {
    const Viewer editor{"alice", true, "token"};
    const std::string page = probePage(
        editor, "mail/<m>",
        serversOf(
            R"({"servers": [{"address": "192.0.2.1:25", "unreachable": null, "greets_without_header": false,
            "v1": {"accepted": true, "reason": null}, "v2": {"accepted": false, "reason": "<closed>"}, "tcp6": null, "tls": null,
            "local": null, "largest_header": 536, "advice": ["set <x>"]},
            {"address": "192.0.2.2:25", "unreachable": "<refused>", "advice": []}]})"));
    for (const char* words :
         {"Probe of mail/&lt;m&gt;", "refused</span>: &lt;closed&gt;", "set &lt;x&gt;", "536 bytes",
          "<dd>&lt;refused&gt;", "It accepts what mailgate is configured to send"})
        EXPECT_THAT(page, HasSubstr(words));
}

}  // namespace
}  // namespace mailgate::console
