// SPDX-License-Identifier: Apache-2.0
#include "tests/support/command_line.h"
#include "tests/support/held_port.h"

#include <fmt/format.h>
#include <gmock/gmock.h>

#include <string>

namespace mailgate::cli {
namespace {

using testing::HasSubstr;

class TlsCommandTest : public test::CommandTest {
  protected:
    /// What a listener there has.
    void listen(const std::string& host, const std::string& proxy) const {
        configure(
            fmt::format("[[listener]]\nname = \"mx\"\nprotocol = \"smtp\"\naddress = \"{}:{}\"\nupstream = "
                        "\"postfix\"\n{}\n[[upstream]]\nname = \"postfix\"\nserver = [{{ name = \"mx1\", "
                        "address = \"127.0.0.1:1\" }}]\n",
                        host, held_.number(), proxy));
    }
    test::Ran test() const { return run({"tls", "test", held_.endpoint().toString()}); }

    const test::HeldPort held_{0, test::HeldPort::Kind::Refuses};
    const std::string require_ = "proxy = \"require\"\ntrusted = \"10.0.0.0/8\"";
};

TEST_F(TlsCommandTest, AListenerOfThisGatewayIsKnownToWaitForAHeader) {
    const std::string refused = held_.endpoint().toString() + "\n  => Connection refused";
    for (const char* host : {"127.0.0.1", "0.0.0.0", "[::]"}) {
        listen(host, require_);
        const test::Ran ran = test();
        EXPECT_EQ(ran.exit_code, kRefusedOrNotFound);
        EXPECT_EQ(ran.output,
                  refused +
                      "; the listener mx takes connections there only with a PROXY header (proxy = "
                      "\"require\"), and none is sent: ask by way of its balancer\n")
            << host;
    }
    EXPECT_THAT(run({"tls", "test", held_.endpoint().toString(), "--json"}).output,
                HasSubstr("; the listener mx takes connections there only with a PROXY header"));
    listen("127.0.0.1", "");
    EXPECT_EQ(test().output, refused + "\n") << "anybody may connect";
    listen("127.0.0.2", require_);
    EXPECT_EQ(test().output, refused + "\n") << "it is another's";
    configure("what");
    EXPECT_EQ(test().output, refused + "\n") << "no configuration is needed";
}

}  // namespace
}  // namespace mailgate::cli
