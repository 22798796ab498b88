// SPDX-License-Identifier: Apache-2.0
#include "gateway/cli/running_gateway.h"

#include "tests/support/command_line.h"

#include <gmock/gmock.h>

#include <string>

namespace mailgate::cli {
namespace {

using test::Ran;
using testing::AllOf;
using testing::HasSubstr;

/// A gateway that runs while its file has been edited.
class RunningGatewayTest : public test::CommandTest {
  protected:
    RunningGatewayTest() {
        startGateway();
        control_.now.listeners.resize(1);
        control_.now.listeners[0] = {};
        control_.now.listeners[0].name = "smtp";
        control_.now.store = "sqlite:" + folder_.file("mailgate.db");
    }
};

TEST_F(RunningGatewayTest, AChangeInAnotherStoreIsNotInForce) {
    const Ran same = run({"access", "allow", "192.0.2.1"});
    EXPECT_EQ(same.exit_code, kDone) << same.errors;
    EXPECT_EQ(same.errors, "");
    control_.now.store = "sqlite:/var/lib/elsewhere.db";
    const Ran other = run({"access", "deny", "192.0.2.2"});
    EXPECT_EQ(other.exit_code, kRefusedOrNotFound);
    EXPECT_THAT(other.errors,
                AllOf(HasSubstr("the running gateway reads the rules in /var/lib/elsewhere.db, not "),
                      HasSubstr("the change is not in force")));
    const Ran tested = run({"access", "test", "192.0.2.1"});
    EXPECT_EQ(tested.exit_code, kDone);
    EXPECT_THAT(tested.errors,
                HasSubstr("warning: the running gateway reads the rules in /var/lib/elsewhere.db"));
}

TEST_F(RunningGatewayTest, AListenerThatItDoesNotHaveYetIsTold) {
    control_.now.listeners[0].name = "mx";
    const Ran put = run({"access", "allow", "192.0.2.1", "--listener", "smtp"});
    EXPECT_EQ(put.exit_code, kDone);
    EXPECT_EQ(put.errors, "warning: the running gateway has no listener smtp yet (mailgate reload)\n");
    EXPECT_EQ(run({"access", "allow", "192.0.2.2"}).errors, "") << "which is for all there are";
}

TEST_F(RunningGatewayTest, ATestSaysWhenItsAccessIsAnotherStill) {
    run({"access", "allow", "192.0.2.1"});
    EXPECT_EQ(run({"access", "test", "192.0.2.1"}).errors, "");
    control_.now.listeners[0].access = "open";
    EXPECT_EQ(
        run({"access", "test", "192.0.2.1"}).errors,
        "warning: listener smtp of the running gateway has access = \"open\" still (mailgate reload)\n");
    control_.now.listeners[0].mode = "monitor";
    EXPECT_THAT(run({"access", "test", "192.0.2.1"}).errors,
                HasSubstr("has access = \"open\" and mode = \"monitor\" still"));
}

}  // namespace
}  // namespace mailgate::cli
