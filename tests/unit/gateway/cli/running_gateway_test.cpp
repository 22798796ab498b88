// SPDX-License-Identifier: Apache-2.0
#include "gateway/cli/running_gateway.h"

#include "tests/support/command_line.h"

#include <gmock/gmock.h>

#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

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

TEST_F(RunningGatewayTest, ADatabaseThatItHasReadIsNotMadeAnew) {
    control_.now.rules = 20'085;
    const std::string path = folder_.file("mailgate.db");
    for (const char* state : {"there is no such file", "the file is empty"}) {
        for (const std::string option : {"", "--dry-run"}) {
            std::vector<std::string> words{"access", "deny", "192.0.2.2"};
            if (!option.empty()) words.push_back(option);
            const Ran refused = run(words);
            EXPECT_NE(refused.exit_code, kDone);
            EXPECT_EQ(refused.output, "");
            EXPECT_THAT(
                refused.errors,
                HasSubstr(path + ": " + state +
                          ", but the running gateway has 20085 rules in force that it has read there"));
        }
        EXPECT_NE(run({"access", "list"}).exit_code, kDone) << "it would list none";
        EXPECT_TRUE(!std::filesystem::exists(path) || std::filesystem::file_size(path) == 0);
        std::ofstream(path).close();
    }
    control_.now.store = "sqlite:/var/lib/elsewhere.db";
    EXPECT_THAT(run({"access", "deny", "192.0.2.2"}).output, HasSubstr("added rule 1"));
    control_.now.store = "sqlite:" + path;
    EXPECT_EQ(run({"access", "deny", "192.0.2.3"}).exit_code, kDone) << "it is there";
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
