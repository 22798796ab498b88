// SPDX-License-Identifier: Apache-2.0
#include "tests/support/command_line.h"
#include "tests/support/held_port.h"

#include <fmt/format.h>
#include <gmock/gmock.h>

#include <string>

namespace mailgate::cli {
namespace {

using testing::HasSubstr;
using testing::Not;
using testing::StartsWith;

/// In front of two servers that refuse connections.
class ProbeCommandTest : public test::CommandTest {
  protected:
    ProbeCommandTest() {
        configure(
            fmt::format("[[listener]]\nname = \"smtp\"\nprotocol = \"smtp\"\naddress = \"0.0.0.0:2525\"\n"
                        "upstream = \"postfix\"\n[[upstream]]\nname = \"postfix\"\nserver = [\n"
                        "  {{name = \"mx1\", address = \"{0}\"}}, {{name = \"mx2\", address = \"{0}\"}},\n"
                        "  {{name = \"mx3\", address = \"mx3.invalid:25\"}}]\n",
                        address_));
    }

    const test::HeldPort held_{0, test::HeldPort::Kind::Refuses};
    const std::string address_ = held_.endpoint().toString();
};

TEST_F(ProbeCommandTest, SaysOfEachServerWhatItDoesAndWhatHasToChange) {
    const test::Ran all = run({"probe"});
    EXPECT_EQ(all.exit_code, kRefusedOrNotFound);
    EXPECT_EQ(all.errors, "");
    EXPECT_THAT(all.output, StartsWith("postfix/mx1 " + address_ +
                                       " (smtp)\n  connection       Connection refused\n"
                                       "  => nothing accepts connections at " +
                                       address_));
    EXPECT_THAT(all.output, HasSubstr("\npostfix/mx2 " + address_));
    EXPECT_THAT(all.output, HasSubstr("\npostfix/mx3 mx3.invalid:25\n  => its name cannot be resolved\n"));
    EXPECT_EQ(run({"probe", "postfix"}).output, all.output);
}

TEST_F(ProbeCommandTest, OneServerCanBeChosen) {
    const test::Ran one = run({"probe", "postfix/mx2"});
    EXPECT_EQ(one.exit_code, kRefusedOrNotFound);
    EXPECT_THAT(one.output, StartsWith("postfix/mx2 "));
    EXPECT_THAT(one.output, Not(HasSubstr("mx1")));
}

TEST_F(ProbeCommandTest, AServerThatIsNotConfiguredIsNamed) {
    for (const char* name : {"postfix/mx9", "mx1", "postfix/", "POSTFIX"}) {
        const test::Ran none = run({"probe", name});
        EXPECT_EQ(none.exit_code, kUsage);
        EXPECT_EQ(none.errors, fmt::format("mailgate: no upstream or server is named \"{}\": {} has "
                                           "postfix/mx1, postfix/mx2, postfix/mx3\n",
                                           name, file_));
        EXPECT_EQ(none.output, "");
    }
    EXPECT_THAT(run({"probe", "\x1B[2J"}).errors, Not(HasSubstr("\x1B")));
    EXPECT_EQ(run({"probe", "a", "b"}).exit_code, kUsage);
}

}  // namespace
}  // namespace mailgate::cli
