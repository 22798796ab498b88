// SPDX-License-Identifier: Apache-2.0
#include "gateway/admin/json.h"

#include "store/journal/fields.h"
#include "tests/support/fake_control.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <set>
#include <string>
#include <vector>

namespace mailgate::admin {
namespace {

using testing::HasSubstr;
using testing::StartsWith;

TEST(AdminJson, WhatIsNotKnownIsNull) {
    LiveSession session = FakeControl::session("01A", "smtp", "192.0.2.7");
    EXPECT_THAT(toText(toJson(session)),
                StartsWith(R"({"session":"01A","listener":"smtp","protocol":"smtp","state":"relay",)"
                           R"("client":"192.0.2.7","client_port":40000,"balancer":null,)"));
    session.client.reset();
    const std::string text = toText(toJson(session));
    EXPECT_THAT(text, HasSubstr(R"("client":null,"client_port":null)"));
    EXPECT_THAT(text, HasSubstr(R"("user":null)"));
    EXPECT_THAT(text, HasSubstr(R"("started":"2026-11-18T)"));
}

// Written by itself, because what a record always has may not be known yet, and is null then. Whoever reads `sessions
// --json` reads `sessions --live --json` too.
TEST(AdminJson, ALiveSessionHasTheNamesOfARecordInItsOrder) {
    std::vector<std::string> names;
    store::journal::eachField<store::JournalSession>(
        [&](const auto& field) { names.emplace_back(field.object.empty() ? field.name : field.object); });
    const std::set<std::string> of_the_living{"state", "from", "started", "idle_ms"};
    auto at = names.begin();
    std::size_t shared = 0;
    for (const std::string& key : toJson(LiveSession()).getNames()) {
        if (of_the_living.contains(key)) continue;
        at = std::find(at, names.end(), key);
        ASSERT_NE(at, names.end()) << key;
        ++shared;
    }
    EXPECT_GE(shared, 14u);
}

TEST(AdminJson, TheTlsOfALiveSessionIsAnObjectAsInARecord) {
    LiveSession session;
    EXPECT_THAT(toText(toJson(session)), HasSubstr(R"("tls":null)"));
    session.tls = "starttls";
    EXPECT_THAT(toText(toJson(session)), HasSubstr(R"("tls":{"mode":"starttls"})"));
}

TEST(AdminJson, ClientsTextIsJsonWhateverItHolds) {
    LiveSession session = FakeControl::session("01A", "smtp", "192.0.2.7");
    session.helo = "\"}\n\xff";
    EXPECT_THAT(toText(toJson(session)), HasSubstr("\"helo\":\"\\\"}\\n\xef\xbf\xbd\""));
}

TEST(AdminJson, AStatusNamesItsCounters) {
    FakeControl control;
    control.now.ends = {{"client_quit", 5}};
    control.now.listeners[0].mode = "monitor";
    control.now.listeners[0].would_refuse = {{"access", 8}};
    const std::string text = toText(toJson(control.status()));
    EXPECT_THAT(text, StartsWith(R"({"name":"gw.example.net","version":"1.2.3",)"));
    EXPECT_THAT(text, HasSubstr(R"("refusals":{"access":3,"too_many":1})"));
    EXPECT_THAT(text, HasSubstr(R"("mode":"monitor")"));
    EXPECT_THAT(text, HasSubstr(R"("would_refuse":{"access":8})"));
    EXPECT_THAT(text, HasSubstr(R"("ends":{"client_quit":5})"));
}

TEST(AdminJson, AServerHasItsAdminState) {
    FakeControl control;
    control.now.servers.front().draining = false;
    control.now.servers.back().draining = true;
    control.now.servers.back().drained = {1'795'000'000, "alice"};
    const std::string text = toText(toJson(control.status()));
    EXPECT_THAT(
        text, HasSubstr(R"("draining":false,"admin_state":"ready","drained_since":null,"drained_by":null)"));
    EXPECT_THAT(
        text,
        HasSubstr(
            R"("draining":true,"admin_state":"drain","drained_since":"2026-11-18T11:06:40Z","drained_by":"alice")"));
}

}  // namespace
}  // namespace mailgate::admin
