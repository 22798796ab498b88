// SPDX-License-Identifier: Apache-2.0
#include "tests/support/command_line.h"
#include "tests/support/held_port.h"

#include <fmt/format.h>
#include <gmock/gmock.h>

#include <signal.h>
#include <unistd.h>

#include <string>

namespace mailgate::cli {
namespace {

using testing::HasSubstr;
using testing::StartsWith;

class ServeCommandTest : public test::CommandTest {
  protected:
    ServeCommandTest() {
        configure(
            fmt::format("[gateway]\nname = \"gw.example.org\"\nworkers = 1\n[[listener]]\nname = \"smtp\"\n"
                        "protocol = \"smtp\"\naddress = \"{}\"\naccess = \"open\"\nupstream = \"mx\"\n"
                        "[[upstream]]\nname = \"mx\"\ncheck = false\n"
                        "server = [{{name = \"mx1\", address = \"192.0.2.1:25\"}}]\n",
                        held_.endpoint().toString()));
        ::pthread_sigmask(SIG_SETMASK, nullptr, &before_);
    }
    ~ServeCommandTest() override { ::pthread_sigmask(SIG_SETMASK, &before_, nullptr); }

    test::HeldPort held_;
    sigset_t before_;
};

TEST_F(ServeCommandTest, RunsUntilItIsToldToStop) {
    held_.release();
    sigset_t stop;
    sigemptyset(&stop);
    sigaddset(&stop, SIGTERM);
    ::pthread_sigmask(SIG_BLOCK, &stop, nullptr);
    ::kill(::getpid(), SIGTERM);  // waits until the gateway asks for it
    const test::Ran served = run({"serve"});
    EXPECT_EQ(served.exit_code, kDone);
    EXPECT_THAT(served.errors, HasSubstr("\"event\":\"gateway.start\",\"name\":\"gw.example.org\""));
    EXPECT_THAT(served.errors, HasSubstr("\"event\":\"gateway.stop\""));
}

TEST_F(ServeCommandTest, AnAddressThatIsTakenIsNamed) {
    const test::Ran refused = run({"serve"});
    EXPECT_EQ(refused.exit_code, kRefusedOrNotFound);
    EXPECT_THAT(refused.errors, StartsWith("mailgate: "));
    EXPECT_THAT(refused.errors, HasSubstr("cannot listen on 127.0.0.1:"));
}

TEST_F(ServeCommandTest, AConfigurationThatIsWrongStartsNothing) {
    configure("[log]\nlevel = \"loud\"\n");
    const test::Ran wrong = run({"serve"});
    EXPECT_EQ(wrong.exit_code, kBadConfiguration);
    EXPECT_THAT(wrong.errors, HasSubstr(file_ + ":2:9: log.level: expected "));
}

}  // namespace
}  // namespace mailgate::cli
