// SPDX-License-Identifier: Apache-2.0
#include "gateway/api/api.h"
#include "tests/support/fake_control.h"

#include <Poco/Net/ServerSocket.h>
#include <Poco/Net/StreamSocket.h>
#include <gmock/gmock.h>

#include <future>
#include <memory>

namespace mailgate::api {
namespace {

using testing::AllOf;
using testing::HasSubstr;
using testing::Not;

class ProbeApiTest : public testing::Test {
  protected:
    /// A server of so many addresses, all of them the listening socket's.
    Response probe(std::size_t addresses) {
        auto config = std::make_shared<Config>();
        ServerConfig server{.name = "mx1", .address = "mx.example:25", .endpoints = {}};
        server.endpoints.assign(addresses, {*IpAddress::parse("127.0.0.1"), silent_.address().port()});
        UpstreamConfig& upstream = config->upstreams.emplace_back();
        upstream.name = "mail";
        upstream.check_protocol = Protocol::Smtp;
        upstream.servers.push_back(server);
        Api api({.control = control_, .config = [config] { return config; }, .site = {}});
        Request request;
        request.who = {"alice", store::Role::Operator};
        request.method = "POST";
        request.path = {"servers", "mail", "mx1", "probe"};
        return api.handle(request);
    }

    Poco::Net::ServerSocket silent_{Poco::Net::SocketAddress("127.0.0.1", 0)};
    admin::FakeControl control_;
};

TEST_F(ProbeApiTest, AsksOneServerAtATime) {
    auto first = std::async(std::launch::async, [&] { return probe(1); });
    {
        const Poco::Net::StreamSocket asked = silent_.acceptConnection();
        const Response second = probe(1);
        EXPECT_EQ(second.status, 409);
        EXPECT_THAT(second.body, HasSubstr(R"("code":"busy")"));
    }
    silent_.close();
    EXPECT_EQ(first.get().status, 200);
}

TEST_F(ProbeApiTest, AsksNoServerOfManyAddresses) {
    EXPECT_THAT(probe(5).body,
                AllOf(HasSubstr(R"("code":"too_many")"), HasSubstr("mailgate probe mail/mx1 asks them all")));
}

TEST(StatusApi, TellsAdministratorsAloneWhatHasFailed) {
    admin::FakeControl control;
    control.now.journal_failure = "secret-1";
    control.now.log_failure = "secret-2";
    control.now.fleet.failure = "secret-3";
    Api api({.control = control, .config = [] { return std::make_shared<Config>(); }, .site = {}});
    const auto told = [&](store::Role role) {
        Request request;
        request.who = {"alice", role};
        request.method = "GET";
        request.path = {"status"};
        return api.handle(request).body;
    };
    for (const store::Role role : {store::Role::Viewer, store::Role::Operator})
        EXPECT_THAT(told(role),
                    AllOf(Not(HasSubstr("secret")), HasSubstr("who has the role admin is told why")));
    EXPECT_THAT(told(store::Role::Admin), AllOf(HasSubstr("secret-1"), HasSubstr("secret-2")));
}

}  // namespace
}  // namespace mailgate::api
