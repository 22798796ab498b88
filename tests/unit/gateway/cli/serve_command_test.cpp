// SPDX-License-Identifier: Apache-2.0
#include "gateway/base/descriptor.h"
#include "gateway/io/socket_address.h"
#include "tests/support/command_line.h"

#include <fmt/format.h>
#include <gmock/gmock.h>

#include <signal.h>
#include <sys/socket.h>
#include <unistd.h>

#include <string>

namespace mailgate::cli {
namespace {

using testing::HasSubstr;
using testing::StartsWith;

class ServeCommandTest : public test::CommandTest {
  protected:
    ServeCommandTest() {
        const SocketAddress any({*IpAddress::parse("127.0.0.1"), 0});
        EXPECT_EQ(::bind(held_.get(), any.get(), any.size()), 0);
        EXPECT_EQ(::listen(held_.get(), 1), 0);
        sockaddr_storage bound{};
        socklen_t size = sizeof bound;
        ::getsockname(held_.get(), reinterpret_cast<sockaddr*>(&bound), &size);
        const std::string address = SocketAddress::toEndpoint(bound).toString();
        configure(
            fmt::format("[gateway]\nname = \"gw.example.org\"\nworkers = 1\n[[listener]]\nname = \"smtp\"\n"
                        "protocol = \"smtp\"\naddress = \"{}\"\naccess = \"open\"\nupstream = \"mx\"\n"
                        "[[upstream]]\nname = \"mx\"\ncheck = false\n"
                        "server = [{{name = \"mx1\", address = \"192.0.2.1:25\"}}]\n",
                        address));
        ::pthread_sigmask(SIG_SETMASK, nullptr, &before_);
    }
    ~ServeCommandTest() override { ::pthread_sigmask(SIG_SETMASK, &before_, nullptr); }

    Descriptor held_{::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)};
    sigset_t before_;
};

TEST_F(ServeCommandTest, RunsUntilItIsToldToStop) {
    held_ = Descriptor();
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
