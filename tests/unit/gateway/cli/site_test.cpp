// SPDX-License-Identifier: Apache-2.0
#include "gateway/cli/site.h"

#include "gateway/daemon/preflight.h"
#include "gateway/daemon/site.h"

#include "tests/support/networks.h"

#include <gtest/gtest.h>

namespace mailgate::cli {
namespace {

TEST(SiteTest, HoldsWhomARuleMayShutOut) {
    Config config;
    config.listeners.resize(2);
    config.listeners[0].name = "mx";
    config.listeners[0].access = AccessDefault::Allowlist;
    config.listeners[0].trusted = {network("10.0.0.0/8")};
    config.listeners[1].name = "imap";
    config.listeners[1].access = AccessDefault::Open;
    config.upstreams.resize(1);
    config.upstreams[0].name = "smtp";
    config.upstreams[0].servers.resize(1);
    ServerConfig& server = config.upstreams[0].servers[0];
    server.name = "a";
    server.address = "mail.example.org:25";
    server.endpoints.resize(2);
    server.endpoints[1].address.bytes = address("192.0.2.25");

    const rules::Site site = siteOf(config);
    ASSERT_EQ(site.listeners.size(), 2u);
    EXPECT_EQ(site.listeners[0].name, "mx");
    EXPECT_TRUE(site.listeners[0].allowlist);
    EXPECT_EQ(site.listeners[0].balancers, std::vector{network("10.0.0.0/8")});
    EXPECT_FALSE(site.listeners[1].allowlist);
    ASSERT_EQ(site.servers.size(), 1u);
    EXPECT_EQ(site.servers[0].name, "smtp/a");
    EXPECT_EQ(site.servers[0].address, "mail.example.org:25");
    ASSERT_EQ(site.servers[0].endpoints.size(), 2u);
    EXPECT_EQ(site.servers[0].endpoints[1], address("192.0.2.25"));
    EXPECT_EQ(listenerNames(config), (std::vector<std::string>{"mx", "imap"}));
    EXPECT_EQ(serverNames(config), std::vector<std::string>{"smtp/a"});
}

}  // namespace
}  // namespace mailgate::cli
