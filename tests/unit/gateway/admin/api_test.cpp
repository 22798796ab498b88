// SPDX-License-Identifier: Apache-2.0
#include "gateway/admin/api.h"

#include "tests/support/fake_control.h"
#include "tests/support/scripted_host.h"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <regex>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace mailgate::admin {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Not;
using testing::StartsWith;
using Query = std::vector<std::pair<std::string, std::string>>;

class ApiTest : public testing::Test {
  protected:
    /// `path`: without the first slash.
    Response ask(const std::string& method, std::string_view path, std::string body = {}, Query query = {},
                 Origin origin = Origin::Socket) {
        Request request;
        request.origin = origin;
        request.user = "alice";
        request.method = method;
        for (std::size_t end; !path.empty(); path.remove_prefix(std::min(end + 1, path.size()))) {
            end = std::min(path.find('/'), path.size());
            request.path.emplace_back(path.substr(0, end));
        }
        request.query = std::move(query);
        request.body = std::move(body);
        return api_.handle(request);
    }
    /// The status and what the error says.
    std::string refusal(const std::string& method, std::string_view path, std::string body = {},
                        Query query = {}) {
        const Response response = ask(method, path, std::move(body), std::move(query));
        EXPECT_EQ(response.content_type, "application/json") << path;
        EXPECT_THAT(response.body, StartsWith("{\"error\":\"")) << path;
        return fmt::format("{} {}", response.status,
                           std::regex_replace(response.body.substr(10), std::regex("\\\\\""), "\""));
    }
    std::vector<std::string> sessionIds(Query query) {
        std::vector<std::string> ids;
        const std::string body = ask("GET", "v1/sessions", {}, std::move(query)).body;
        const std::regex id("\"session\":\"([^\"]*)\"");
        for (std::sregex_iterator match(body.begin(), body.end(), id), end; match != end; ++match)
            ids.push_back((*match)[1]);
        return ids;
    }

    FakeControl control_;
    test::RememberedEvents log_;
    Api api_{control_, &log_};
};

TEST_F(ApiTest, ListsTheSessionsThatAreAskedForTheOldestFirst) {
    EXPECT_THAT(sessionIds({}), ElementsAre("01A", "01B"));
    EXPECT_THAT(sessionIds({{"client", "192.0.2.0/24"}}), ElementsAre("01A"));
    EXPECT_THAT(sessionIds({{"client", "2001:db8::7"}}), ElementsAre("01B"));
    EXPECT_THAT(sessionIds({{"client", "::/0"}}), ElementsAre("01B"));
    EXPECT_THAT(sessionIds({{"listener", "imap"}}), ElementsAre("01B"));
    EXPECT_THAT(sessionIds({{"listener", "imap"}, {"listener", "smtp"}}), ElementsAre("01A", "01B"));
    EXPECT_THAT(sessionIds({{"listener", "imap"}, {"client", "192.0.2.7"}}), IsEmpty());
    control_.live[0].started_ms = control_.live[1].started_ms + 1;
    control_.live[0].client.reset();
    EXPECT_THAT(sessionIds({}), ElementsAre("01B", "01A"));
    EXPECT_THAT(sessionIds({{"client", "0.0.0.0/0"}}), IsEmpty()) << "whose client is not known is nobody's";
    control_.live.clear();
    EXPECT_EQ(ask("GET", "v1/sessions").body, R"({"sessions":[]})");
}

TEST_F(ApiTest, WhatAClientSaysStaysJson) {
    control_.live = {FakeControl::session("01A", "smtp", "192.0.2.7")};
    control_.live[0].helo = "a\"}]\n\xff\xc0\xaf\xed\xa0\x80 \xe2\x82";
    control_.live[0].from = "m\xc3\xbcller@example.net";
    const std::string body = ask("GET", "v1/sessions").body;
    EXPECT_THAT(body, HasSubstr("\"from\":\"m\xc3\xbcller@example.net\""));
    EXPECT_THAT(body, HasSubstr("\"helo\":\"a\\\"}]\\n\xef\xbf\xbd"));
    EXPECT_THAT(body, Not(HasSubstr("\xff")));
}

TEST_F(ApiTest, TakesOrders) {
    EXPECT_EQ(ask("DELETE", "v1/sessions/01A").body, R"({"ok":true})");
    EXPECT_EQ(ask("POST", "v1/cut", R"({"network":"192.0.2.0/24"})").body, R"({"cut":3})");
    control_.now.rules_version = 7;
    ask("POST", "v1/cut", R"({"network":"192.0.2.1","listeners":["smtp","imap"],"rules_version":7})");
    ask("POST", "v1/servers/postfix/mx1", R"({"admin_state":"drain"})");
    EXPECT_EQ(control_.ordered_by, "alice");
    ask("POST", "v1/servers/postfix/mx1", R"({"wish":"ready"})");
    control_.reload_outcome.message = "log.level";
    EXPECT_EQ(ask("POST", "v1/reload").body, R"({"ok":true,"detail":"log.level"})");
    EXPECT_THAT(control_.orders,
                ElementsAre("kill 01A", "cut 192.0.2.0/24", "cut 192.0.2.1 smtp imap denied by version 7",
                            "drain postfix/mx1", "ready postfix/mx1", "reload"));
}

TEST_F(ApiTest, SaysWhatIsWrongWithARequest) {
    struct Case {
        const char *method, *path, *body, *expected;
    };
    const Case cases[] = {
        {"GET", "", "", "404 there is no \"/\" here"},
        {"GET", "v2/status", "", "404 there is no \"/v2/status\" here"},
        {"GET", "v1/status/x", "", "404 there is no \"/v1/status/x\" here"},
        {"GET", "v1/\x1B[2J", "", "404 there is no \"/v1/\\\\u001b[2J\" here"},
        {"GET", "v1/sessions/01A", "", "405 \"/v1/sessions/01A\" takes DELETE"},
        {"DELETE", "v1/sessions/01Z", "", "404 there is no live session \"01Z\""},
        {"DELETE", "v1/sessions", "", "405 \"/v1/sessions\" takes GET"},
        {"get", "v1/status", "", "405 \"/v1/status\" takes GET"},
        {"PUT", "v1/reload", "", "405 \"/v1/reload\" takes POST"},
        {"POST", "v1/cut", "", "400 expected {\"network\""},
        {"POST", "v1/cut", "{}", "400 expected {\"network\""},
        {"POST", "v1/cut", "[]", "400 expected {\"network\""},
        {"POST", "v1/cut", "{\"network\":\"192.0.2.0/24\"", "400 expected {\"network\""},
        {"POST", "v1/cut", R"({"network":7})", "400 expected {\"network\""},
        {"POST", "v1/cut", R"({"network":"192.0.2.0/24","listeners":"smtp"})", "400 expected {\"network\""},
        {"POST", "v1/cut", R"({"network":"192.0.2.0/24","listeners":[1]})", "400 expected {\"network\""},
        {"POST", "v1/cut", R"({"network":"example.net"})", "400 "},
        {"POST", "v1/cut", R"({"network":"192.0.2.5/24"})", "400 192.0.2.5/24 has host bits set"},
        {"POST", "v1/cut", R"({"network":"192.0.2.0/24","rules_version":"7"})", "400 expected {\"network\""},
        {"POST", "v1/cut", R"({"network":"192.0.2.0/24","rules_version":null})", "400 expected {\"network\""},
        {"POST", "v1/cut", R"({"network":"192.0.2.0/24","rules_version":99999999999999999999})",
         "400 expected {\"network\""},
        {"POST", "v1/servers/postfix/mx1", R"({"wish":"down"})", "400 expected {\"admin_state\""},
        {"POST", "v1/servers/postfix/mx1", R"({"admin_state":"down"})", "400 expected {\"admin_state\""},
        {"POST", "v1/servers/postfix/mx1", R"({"admin_state":null,"wish":"drain"})", "400 expected "},
        {"POST", "v1/servers/postfix/mx1", R"({"admin_state":"ready","wish":"drain"})", "400 expected "},
        {"POST", "v1/servers/postfix/mx1", R"({"wish":["drain"]})", "400 expected {\"admin_state\""},
        {"POST", "v1/servers/postfix/mx1", R"({"admin_state":"drain","everywhere":"yes"})",
         "400 everywhere: expected true or false"},
        {"POST", "v1/servers/postfix/mx1", R"({"admin_state":"drain","everywhere":true})",
         "404 this gateway has no part in a fleet"},
        {"POST", "v1/servers/postfix", R"({"admin_state":"drain"})",
         "404 there is no \"/v1/servers/postfix\""},
    };
    for (const Case& wrong : cases)
        EXPECT_THAT(refusal(wrong.method, wrong.path, wrong.body), StartsWith(wrong.expected)) << wrong.body;
    EXPECT_THAT(refusal("GET", "v1/sessions", {}, {{"clinet", "192.0.2.1"}}),
                StartsWith("400 unknown parameter \"clinet\""));
    EXPECT_THAT(refusal("GET", "v1/sessions", {}, {{"client", "192.0.2.5/24"}}),
                StartsWith("400 192.0.2.5/24 has host bits set"));
    EXPECT_THAT(control_.orders, ElementsAre("kill 01Z"));
}

TEST_F(ApiTest, ABodyOfTheWorstKindIsRefusedBeforeItCostsAnything) {
    EXPECT_THAT(refusal("POST", "v1/cut", std::string(kMaxBody + 1, ' ')), StartsWith("413 "));
    EXPECT_THAT(refusal("POST", "v1/cut", std::string(kMaxBody, '[')), StartsWith("400 "));
    EXPECT_THAT(refusal("POST", "v1/cut", "{\"network\":\"\xff\xfe\"}"), StartsWith("400 "));
    EXPECT_THAT(control_.orders, IsEmpty());
}

TEST_F(ApiTest, AnOrderThatCannotBeCarriedOutSaysWhy) {
    EXPECT_THAT(refusal("POST", "v1/servers/postfix/mx9", R"({"admin_state":"drain"})"),
                StartsWith("404 there is no such server"));
    EXPECT_THAT(refusal("POST", "v1/cut", R"({"network":"192.0.2.0/24","rules_version":8})"),
                StartsWith("409 the access rules of version 8 are not in force: no session was ended"));
    control_.reload_outcome = {false, "mailgate.toml:3:1: gateway.nmae: unknown key"};
    EXPECT_THAT(refusal("POST", "v1/reload"), StartsWith("409 mailgate.toml:3:1: gateway.nmae: unknown key"));
}

TEST_F(ApiTest, A405SaysWhatThePathTakes) {
    EXPECT_EQ(ask("PUT", "v1/reload").allow, "POST");
    EXPECT_EQ(ask("GET", "v1/reload").status, 405);
    EXPECT_EQ(ask("GET", "v1/nothing").allow, "");
    EXPECT_EQ(ask("HEAD", "v1/status").status, 200);
    EXPECT_EQ(ask("HEAD", "v1/reload").status, 405) << "no order";
    EXPECT_THAT(control_.orders, IsEmpty());
}

TEST_F(ApiTest, OverHttpThereAreMetricsAndHealthAndNothingElse) {
    const auto status = [this](const char* method, const char* path) {
        return ask(method, path, R"({"network":"0.0.0.0/0","admin_state":"drain"})", {}, Origin::Http).status;
    };
    for (const char* path : {"metrics", "healthz", "readyz"}) {
        EXPECT_EQ(status("GET", path), 200) << path;
        EXPECT_EQ(status("POST", path), 405) << path;
    }
    EXPECT_EQ(status("GET", "v1/status"), 404);
    EXPECT_EQ(status("GET", "v1/sessions"), 404);
    for (const char* path : {"v1/cut", "v1/reload", "v1/servers/postfix/mx1"})
        EXPECT_EQ(status("POST", path), 404) << path;
    EXPECT_EQ(status("DELETE", "v1/sessions/01A"), 404);
    EXPECT_THAT(control_.orders, IsEmpty());
    EXPECT_EQ(log_.text, "");
}

TEST_F(ApiTest, IsReadyWhenTheGatewayIs) {
    EXPECT_EQ(ask("GET", "readyz").status, 200);
    control_.is_ready = false;
    EXPECT_EQ(ask("GET", "readyz").status, 503);
    EXPECT_EQ(ask("GET", "healthz").status, 200);
}

TEST_F(ApiTest, IsReadyWithoutTheFleetsDatabaseAndSaysSo) {
    control_.now.fleet.configured = control_.now.fleet.connected = true;
    EXPECT_EQ(ask("GET", "readyz").body, "ready\n");
    control_.now.fleet.connected = false;
    control_.now.fleet.failure = "it does not answer";
    control_.now.fleet.lag_seconds = 12.4;
    EXPECT_EQ(ask("GET", "readyz").status, 200);
    EXPECT_EQ(ask("GET", "readyz").body, "ready\nfleet: the rules are 12 s old\n");
    control_.now.fleet.connected = true;
    control_.now.fleet_journal = {
        .configured = true, .failure = "another gateway called mx-1", .lag_seconds = 7};
    EXPECT_EQ(ask("GET", "readyz").body, "ready\nfleet: the journal has not come for 7 s\n");
    EXPECT_THAT(ask("GET", "v1/status").body, HasSubstr("\"failure\":\"it does not answer\""));
}

TEST_F(ApiTest, AListenerIsReadyWhileItHasAServer) {
    const auto ready = [this](const char* key, const char* listener) {
        const Response response = ask("GET", "readyz", {}, {{key, listener}}, Origin::Http);
        return fmt::format("{} {}", response.status, response.body);
    };
    control_.now.listeners[1].available = false;
    EXPECT_EQ(ready("listener", "smtp"), "200 ready\n");
    EXPECT_EQ(ready("listener", "imap"), "503 no server\n");
    EXPECT_EQ(ready("listener", "mx"), "404 no such listener\n");
    EXPECT_EQ(ready("upstream", "mx"), "400 unknown parameter: expected listener\n");
}

TEST_F(ApiTest, EveryOrderIsLoggedWithItsOutcomeAndReadingIsNone) {
    ask("DELETE", "v1/sessions/01A");
    ask("DELETE", "v1/sessions/01Z");
    ask("POST", "v1/cut", R"({"network":"192.0.2.0/24","listeners":["smtp","imap"]})");
    ask("POST", "v1/servers/postfix/mx9", R"({"admin_state":"drain"})");
    ask("POST", "v1/reload");
    ask("GET", "v1/status");
    ask("POST", "v1/cut", "nonsense");
    std::vector<std::string> lines;
    for (std::size_t from = 0, end; (end = log_.text.find('\n', from)) != std::string::npos; from = end + 1)
        lines.push_back(std::regex_replace(log_.text.substr(from, end - from),
                                           std::regex("\"time\":\"[^\"]*\",\"event\":\"admin.order\","), ""));
    EXPECT_THAT(
        lines,
        ElementsAre(
            R"({"order":"kill","user":"alice","target":"01A","ok":true})",
            StartsWith(R"({"level":"warning","order":"kill","user":"alice","target":"01Z","ok":false,)"),
            StartsWith(R"({"order":"cut","user":"alice","target":"192.0.2.0/24 on smtp, imap","ok":true,)"),
            StartsWith(R"({"level":"warning","order":"drain","user":"alice","target":"postfix/mx9",)"),
            StartsWith(R"({"order":"reload","user":"alice","target":null,"ok":true)")));
}

}  // namespace
}  // namespace mailgate::admin
