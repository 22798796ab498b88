// SPDX-License-Identifier: Apache-2.0
#include "tests/support/command_line.h"

#include <gmock/gmock.h>

#include <string>

namespace mailgate::cli {
namespace {

using testing::ElementsAre;
using testing::EndsWith;
using testing::HasSubstr;
using testing::IsEmpty;

class ServerCommandTest : public test::CommandTest {};

TEST_F(ServerCommandTest, SetsWhatTheAdministratorWants) {
    startGateway();
    const test::Ran drained = run({"server", "drain", "postfix/mx1"});
    EXPECT_EQ(drained.exit_code, kDone);
    EXPECT_EQ(drained.output, "postfix/mx1: done\n");
    run({"server", "ready", "postfix/mx1"});
    EXPECT_THAT(control_.orders, ElementsAre("drain postfix/mx1", "ready postfix/mx1"));
}

TEST_F(ServerCommandTest, AServerThatTheGatewayDoesNotHaveIsARefusal) {
    startGateway();
    const test::Ran unknown = run({"server", "drain", "postfix/mx 9?"});
    EXPECT_EQ(unknown.exit_code, kUsage);
    EXPECT_EQ(unknown.errors, "mailgate: there is no such server\n");
    EXPECT_THAT(control_.orders, ElementsAre("drain postfix/mx 9?")) << "as it was written";
}

TEST_F(ServerCommandTest, WhatIsNoServersNameIsAUsageError) {
    startGateway();
    for (const char* name : {"postfix", "postfix/", "/mx1", "a/b/c", "/", ""}) {
        const test::Ran wrong = run({"server", "drain", name});
        EXPECT_EQ(wrong.exit_code, kUsage) << name;
        EXPECT_THAT(wrong.errors, HasSubstr("such as postfix/mx1")) << name;
    }
    EXPECT_EQ(run({"server", "drain"}).exit_code, kUsage);
    EXPECT_EQ(run({"server"}).exit_code, kUsage);
    EXPECT_THAT(control_.orders, IsEmpty());
}

TEST_F(ServerCommandTest, WhetherAllGatewaysHaveTheOrderMayNotBeKnown) {
    control_.fleet_failure = store::StoreError::Kind::Open;
    startGateway();
    const test::Ran refused = run({"server", "drain", "postfix/mx1", "--everywhere"});
    EXPECT_EQ(refused.exit_code, kRefusedOrNotFound);
    EXPECT_THAT(refused.errors, HasSubstr("does not answer; without --everywhere it is"));
    control_.fleet_failure = store::StoreError::Kind::Unknown;
    const test::Ran unknown = run({"server", "ready", "postfix/mx1", "--everywhere"});
    EXPECT_EQ(unknown.exit_code, kOutcomeUnknown);
    EXPECT_EQ(unknown.errors, "mailgate: the fleet's database does not answer\n");
}

TEST_F(ServerCommandTest, AMachineIsNamedOnceForAllItsUpstreams) {
    control_.now.servers = {admin::FakeControl::server("mx", "mx1", "192.0.2.1:25"),
                            admin::FakeControl::server("mx", "mx2", "192.0.2.2:25"),
                            admin::FakeControl::server("submission", "mx1", "192.0.2.1:587"),
                            admin::FakeControl::server("submission", "mx1", "[2001:db8::1]:587")};
    startGateway();
    EXPECT_EQ(run({"server", "drain", "*/mx1"}).output, "mx/mx1: done\nsubmission/mx1: done\n");
    EXPECT_THAT(control_.orders, ElementsAre("drain mx/mx1", "drain submission/mx1"));
    control_.orders.clear();
    const test::Ran none = run({"server", "ready", "*/mx9"});
    EXPECT_EQ(none.exit_code, kUsage);
    EXPECT_EQ(none.errors, "mailgate: no server is named \"*/mx9\"\n");
    EXPECT_THAT(control_.orders, IsEmpty());
}

TEST_F(ServerCommandTest, AHostIsOneByNameOrAddress) {
    startGateway();
    EXPECT_EQ(run({"server", "drain", "--host", "127.0.0.1"}).output, "postfix/mx1: done\n");
    EXPECT_THAT(control_.orders, ElementsAre("drain postfix/mx1"));
    EXPECT_EQ(run({"server", "drain", "--host", "192.0.2.9"}).errors,
              "mailgate: no server is on host \"192.0.2.9\"\n");
    EXPECT_EQ(run({"server", "drain", "postfix/mx1", "--host", "127.0.0.1"}).exit_code, kUsage);
}

TEST_F(ServerCommandTest, AHostIsFoundByItsAddressThoughTheFileHasItsName) {
    std::string site = kSite;
    configure(site.replace(site.find("127.0.0.1:"), 9, "localhost"));
    startGateway();
    for (const char* host : {"127.0.0.1", "localhost"})
        EXPECT_EQ(run({"server", "drain", "--host", host}).output, "postfix/mx1: done\n") << host;
}

TEST_F(ServerCommandTest, WithoutAGatewayItFails) {
    const test::Ran alone = run({"server", "drain", "postfix/mx1"});
    EXPECT_EQ(alone.exit_code, kRefusedOrNotFound);
    EXPECT_EQ(alone.errors, notListening());
}

}  // namespace
}  // namespace mailgate::cli
