// SPDX-License-Identifier: Apache-2.0
#include "gateway/daemon/gateway.h"
#include "gateway/config/load.h"
#include "gateway/io/socket_address.h"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include <atomic>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>
#include <thread>
#include <vector>

namespace mailgate {
namespace {

using testing::HasSubstr;
using testing::Not;
namespace fs = std::filesystem;

const IpAddress kLoopback = *IpAddress::parse("127.0.0.1");

Descriptor listenAnywhere(std::uint16_t& port) {
    const SocketAddress any({kLoopback, 0});
    Descriptor socket(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
    ::bind(socket.get(), any.get(), any.size());
    ::listen(socket.get(), 128);
    sockaddr_storage bound{};
    socklen_t size = sizeof bound;
    ::getsockname(socket.get(), reinterpret_cast<sockaddr*>(&bound), &size);
    port = SocketAddress::toEndpoint(bound).port;
    return socket;
}

/// Takes every connection; closes one without a word, resets the next, greets the third.
class MoodyServer {
  public:
    MoodyServer() : listener_(listenAnywhere(port)), thread_([this] { serve(); }) {}
    ~MoodyServer() {
        ::shutdown(listener_.get(), SHUT_RDWR);
        thread_.join();
    }

    std::uint16_t port = 0;

  private:
    void serve() const {
        for (unsigned turn = 0;; ++turn) {
            const Descriptor connection(::accept4(listener_.get(), nullptr, nullptr, SOCK_CLOEXEC));
            if (connection.get() < 0) return;
            if (turn % 3 == 1) {
                const linger now{1, 0};
                ::setsockopt(connection.get(), SOL_SOCKET, SO_LINGER, &now, sizeof now);
            } else if (turn % 3 == 2) {
                ::send(connection.get(), "220 mx\r\n", 8, MSG_NOSIGNAL);
            }
        }
    }

    Descriptor listener_;
    std::thread thread_;
};

class GatewayReload : public testing::Test {
  protected:
    GatewayReload() {
        std::string name = fs::temp_directory_path() / "mailgate-reload-XXXXXX";
        folder_ = ::mkdtemp(name.data());
        listenAnywhere(port_);  // free again
    }
    ~GatewayReload() override { fs::remove_all(folder_); }

    fs::path file() const { return folder_ / "mailgate.toml"; }
    std::string log() const {
        std::ifstream stream(folder_ / "events.log");
        return {std::istreambuf_iterator<char>(stream), {}};
    }
    void configure(const MoodyServer& server, const std::string& upstream) const {
        std::ofstream(file()) << fmt::format(
            "[gateway]\nname = \"gw.example.org\"\nworkers = 2\n[log]\ntarget = \"file:events.log\"\nlevel = "
            "\"debug\"\n"
            "[timeouts]\nhold = \"1s\"\n[[listener]]\nname = \"smtp\"\nprotocol = \"smtp\"\naddress = "
            "\"127.0.0.1:{}\"\n"
            "access = \"open\"\nupstream = \"mx\"\n[[upstream]]\nname = \"mx\"\ninterval = \"100ms\"\n{}\n"
            "[[upstream.server]]\nname = \"mx1\"\naddress = \"127.0.0.1:{}\"\n",
            port_, upstream, server.port);
    }
    /// Connects, and leaves: at once, or having heard a word.
    void visit(bool listens) const {
        const SocketAddress to({kLoopback, port_});
        const Descriptor client(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
        if (::connect(client.get(), to.get(), to.size()) != 0) return;
        char word[64];
        if (listens) ::recv(client.get(), word, sizeof word, 0);
    }

    fs::path folder_;
    std::uint16_t port_ = 0;
};

TEST_F(GatewayReload, ManyOfThemWhileSessionsOfOlderConfigurationsConnectAndWait) {
    const MoodyServer server;
    const char* const variants[] = {"check = true\nfall = 1\nrise = 1", "check = false",
                                    "check = true\nfall = 50\ncheck_protocol = \"tcp\""};
    configure(server, variants[0]);
    {
        Gateway gateway(loadConfig(file()));
        std::atomic<bool> over{false};
        std::vector<std::thread> clients;
        for (const bool listens : {true, true, false}) {
            clients.emplace_back([&, listens] {
                while (!over)
                    visit(listens);
            });
        }
        clients.emplace_back([&] {
            while (!over)
                gateway.control().status();
        });
        for (int reload = 1; reload <= 60; ++reload) {
            configure(server, variants[reload % 3]);
            const admin::Outcome outcome = gateway.control().reload();
            EXPECT_TRUE(outcome.ok) << outcome.message;
            EXPECT_THAT(outcome.message, HasSubstr("upstream mx: "));
        }
        over = true;
        for (std::thread& client : clients)
            client.join();
        EXPECT_EQ(gateway.control().status().servers.size(), 1U);
    }
    EXPECT_THAT(log(), HasSubstr("\"event\":\"session.end\""));
    EXPECT_THAT(log(), Not(HasSubstr("gateway.defect")));
}

TEST_F(GatewayReload, ARefusedOneLeavesEverythingAsItWas) {
    const MoodyServer server;
    configure(server, "check_protocol = \"tcp\"");
    Gateway gateway(loadConfig(file()));
    const admin::Outcome nothing = gateway.control().reload();
    EXPECT_TRUE(nothing.ok);
    EXPECT_EQ(nothing.message, "nothing has changed");
    std::uint16_t taken = 0;
    const Descriptor holder = listenAnywhere(taken);
    configure(server, "balance = \"source\"");
    std::ofstream(file(), std::ios::app) << fmt::format(
        "[[listener]]\nname = \"more\"\nprotocol = \"smtp\"\naddress = \"127.0.0.1:{}\"\naccess = "
        "\"open\"\nupstream = \"mx\"\n",
        taken);
    const admin::Outcome refused = gateway.control().reload();
    EXPECT_FALSE(refused.ok);
    EXPECT_THAT(refused.message, HasSubstr("cannot listen on"));
    EXPECT_EQ(gateway.control().status().listeners.size(), 1U);
    configure(server, "check_protocol = \"tcp\"");
    EXPECT_EQ(gateway.control().reload().message, "nothing has changed");
}

}  // namespace
}  // namespace mailgate
