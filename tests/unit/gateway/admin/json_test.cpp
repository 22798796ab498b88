// SPDX-License-Identifier: Apache-2.0
#include "gateway/admin/json.h"

#include "tests/support/fake_control.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

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

}  // namespace
}  // namespace mailgate::admin
