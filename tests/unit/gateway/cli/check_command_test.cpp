// SPDX-License-Identifier: Apache-2.0
#include "tests/support/command_line.h"

#include <gmock/gmock.h>

#include <string>

namespace mailgate::cli {
namespace {

using testing::AllOf;
using testing::EndsWith;
using testing::HasSubstr;

class CheckCommandTest : public test::CommandTest {};

TEST_F(CheckCommandTest, SaysOkWithCountsAndWarnings) {
    configure(std::string(kSite).replace(std::string(kSite).find("10.0.0.0/8"), 10, "0.0.0.0/0"));
    const test::Ran checked = run({"check"});
    EXPECT_EQ(checked.exit_code, kDone);
    EXPECT_THAT(checked.output,
                AllOf(HasSubstr("warning: "), EndsWith("\n" + file_ + ": ok, 1 listener, 1 upstream\n")));
    EXPECT_EQ(checked.errors, "");
}

TEST_F(CheckCommandTest, WhatIsWrongWithTheFileOrTheMachineIsABadConfiguration) {
    configure("[log]\nlevel = \"loud\"\n");
    const test::Ran file = run({"check"});
    EXPECT_EQ(file.exit_code, kBadConfiguration);
    EXPECT_THAT(file.errors, HasSubstr(file_ + ":2:9: log.level: expected "));
    configure(std::string("log.target = \"file:nowhere/gw.log\"\n") + kSite);
    const test::Ran machine = run({"check"});
    EXPECT_EQ(machine.exit_code, kBadConfiguration);
    EXPECT_THAT(machine.errors, AllOf(testing::StartsWith(file_ + ": "), HasSubstr("nowhere")));
    EXPECT_EQ(machine.output.find(": ok"), std::string::npos);
}

}  // namespace
}  // namespace mailgate::cli
