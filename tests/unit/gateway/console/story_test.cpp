// SPDX-License-Identifier: Apache-2.0
#include "gateway/console/story.h"

#include <Poco/JSON/Parser.h>
#include <gmock/gmock.h>

#include <string>

namespace mailgate::console {
namespace {

using testing::HasSubstr;
using testing::Not;

std::string storyIn(const std::string& session) {
    return storyOf(*Poco::JSON::Parser().parse(session).extract<Poco::JSON::Object::Ptr>()).str();
}

TEST(Story, IsInTheOrderOfWhatHappened) {
    const std::string story = storyIn(
        R"({"event": "session.end", "client": "198.51.100.7", "balancer": "10.0.0.1", "listener": "mx",
            "destination": "203.0.113.1", "destination_port": 25, "access": "allow", "rule": "198.51.100.0/24",
            "upstream": "postfix", "server": "mx1", "header_ms": 1, "connect_ms": 2, "greeting_ms": 30,
            "helo": "relay.example", "tls": {"mode": "starttls", "version": "TLSv1.3"}, "user": "eve",
            "authenticated": true, "failed_logins": 2, "failed_users": ["<eve>", "adam"],
            "mail": [{"from": "", "recipients": ["a@b.example", "c@d.example"],
                      "refused": [{"to": "x@y.example", "reply": "550 no"}], "reply": "250 queued as 4"}],
            "duration_ms": 71, "bytes_in": 5, "bytes_out": 6, "end": "client_quit"})");
    std::size_t at = 0;
    for (const char* words :
         {"0 ms</span> 198.51.100.7 connected at 203.0.113.1, port 25, to listener mx, by the balancer "
          "10.0.0.1",
          "1 ms</span> admitted by the rule 198.51.100.0/24",
          "3 ms</span> connected to server mx1 of postfix", "33 ms</span> the server&#39;s greeting",
          "relay.example", "TLS (starttls): TLSv1.3", "2 refused logins as &lt;eve&gt;, adam",
          "logged in as eve", "mail from &lt;&gt; to a@b.example, c@d.example", "not to x@y.example: 550 no",
          "250 queued as 4", "71 ms</span> ended: client_quit, after 5 bytes from the client and 6 to it"}) {
        const std::size_t found = story.find(words, at);
        ASSERT_NE(found, std::string::npos) << words << " in " << story.substr(at);
        at = found;
    }
}

TEST(Story, OfWhoWasRefusedSaysBecauseOfWhat) {
    const std::string refused = storyIn(
        R"({"event": "session.refused", "client": "192.0.2.1", "listener": "mx", "access": "deny", "rule": null,
            "reason": "access", "reply": "554 no"})");
    for (const char* words : {"denied by the listener&#39;s default", "refused: access", "reply: 554 no"})
        EXPECT_THAT(refused, HasSubstr(words));
    EXPECT_THAT(refused, Not(HasSubstr("ended")));
    EXPECT_THAT(storyIn(R"({"event": "session.end", "access": "deny", "rule": "192.0.2.0/24"})"),
                HasSubstr("the rule 192.0.2.0/24 would have refused it"));
    EXPECT_THAT(storyIn("{}"), HasSubstr("<ol"));
}

}  // namespace
}  // namespace mailgate::console
