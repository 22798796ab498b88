// SPDX-License-Identifier: Apache-2.0
#include "tests/support/command_line.h"

#include <gmock/gmock.h>

#include <string>

namespace mailgate::cli {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

class ReloadCommandTest : public test::CommandTest {};

TEST_F(ReloadCommandTest, SaysWhatHasChanged) {
    startGateway();
    control_.reload_outcome.message = "log.level; timeouts.hold";
    const test::Ran reloaded = run({"reload"});
    EXPECT_EQ(reloaded.exit_code, kDone);
    EXPECT_EQ(reloaded.output, file_ + ": reloaded: log.level; timeouts.hold\n");
    EXPECT_EQ(reloaded.errors, "");
    EXPECT_THAT(control_.orders, ElementsAre("reload"));
}

TEST_F(ReloadCommandTest, AFileThatIsNotTheGatewaysIsNotReloaded) {
    startGateway();
    control_.now.config_file = "/etc/mailgate/other.toml";
    const test::Ran other = run({"reload"});
    EXPECT_EQ(other.exit_code, kRefusedOrNotFound);
    EXPECT_EQ(other.output, "");
    EXPECT_EQ(
        other.errors,
        "mailgate: nothing was reloaded: the gateway that runs was started with /etc/mailgate/other.toml, "
        "and reads that file again, not " +
            file_ + "\n");
    EXPECT_THAT(control_.orders, IsEmpty());
    control_.now.config_file = file_;
    EXPECT_EQ(run({"reload"}).exit_code, kDone);
}

TEST_F(ReloadCommandTest, AFileThatCannotBeLoadedDoesNotReachTheGateway) {
    startGateway();
    configure("nonsense = 1\n");
    const test::Ran wrong = run({"reload"});
    EXPECT_EQ(wrong.exit_code, kBadConfiguration);
    EXPECT_THAT(wrong.errors, HasSubstr(file_ + ":1:1: nonsense: unknown key"));
    EXPECT_THAT(control_.orders, IsEmpty());
}

TEST_F(ReloadCommandTest, WhyTheGatewayRefusesIsToldAsItSaysIt) {
    startGateway();
    control_.reload_outcome = {false, "cannot listen on 0.0.0.0:25"};
    const test::Ran refused = run({"reload"});
    EXPECT_EQ(refused.exit_code, kRefusedOrNotFound);
    EXPECT_EQ(refused.errors, "mailgate: cannot listen on 0.0.0.0:25\n");
    EXPECT_EQ(refused.output, "");
}

TEST_F(ReloadCommandTest, WarnsOfRulesForListenersThatAreGone) {
    configure(std::string(kSite).replace(std::string(kSite).find("name = \"smtp\""), 13, "name = \"mx\""));
    startGateway();
    control_.now.rules_without_listener = {{"smtp", 1}};
    control_.now.listeners[0].closed = true;
    const test::Ran reloaded = run({"reload"});
    EXPECT_EQ(reloaded.exit_code, kDone);
    EXPECT_THAT(reloaded.errors,
                testing::AllOf(testing::StartsWith("warning: no listener is named \"smtp\": 1 access rule "),
                               HasSubstr("\nwarning: nobody may enter listener \"smtp\": ")));
}

TEST_F(ReloadCommandTest, WithoutAGatewayItFails) {
    EXPECT_EQ(run({"reload"}).exit_code, kRefusedOrNotFound);
    const std::string said = notListening();
    EXPECT_THAT(run({"reload"}).errors, testing::StartsWith(said.substr(0, said.size() - 1) +
                                                            " (a change of admin.socket needs a restart"));
}

}  // namespace
}  // namespace mailgate::cli
