// SPDX-License-Identifier: Apache-2.0
#include "gateway/daemon/gateway.h"
#include "gateway/config/load.h"
#include "gateway/io/socket_address.h"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <poll.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <map>
#include <sstream>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

namespace mailgate {
namespace {

using testing::HasSubstr;
using testing::Not;
namespace fs = std::filesystem;

constexpr int kPatienceMs = 30'000;
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

/// A server that the test plays: who connects is accepted, and answered, when the test says so.
class PlayedServer {
  public:
    explicit PlayedServer(bool listens) {
        const SocketAddress any({kLoopback, 0});
        socket_ = Descriptor(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
        EXPECT_EQ(::bind(socket_.get(), any.get(), any.size()), 0);
        sockaddr_storage bound{};
        socklen_t size = sizeof bound;
        ::getsockname(socket_.get(), reinterpret_cast<sockaddr*>(&bound), &size);
        port = SocketAddress::toEndpoint(bound).port;
        if (listens) listen();
    }
    /// Until then it refuses connections.
    void listen() { EXPECT_EQ(::listen(socket_.get(), 16), 0); }
    Descriptor accept() const {
        pollfd ready{socket_.get(), POLLIN, 0};
        EXPECT_EQ(::poll(&ready, 1, kPatienceMs), 1) << "nobody connects";
        return Descriptor(::accept4(socket_.get(), nullptr, nullptr, SOCK_CLOEXEC));
    }

    std::uint16_t port = 0;

  private:
    Descriptor socket_;
};

void say(const Descriptor& socket, std::string_view text) {
    EXPECT_EQ(::send(socket.get(), text.data(), text.size(), MSG_NOSIGNAL),
              static_cast<ssize_t>(text.size()));
}

/// What comes, up to and with `word`; what there was when it ends without.
std::string hear(const Descriptor& socket, std::string_view word) {
    std::string heard;
    pollfd ready{socket.get(), POLLIN, 0};
    char byte = 0;
    while (!heard.ends_with(word) && ::poll(&ready, 1, kPatienceMs) == 1 &&
           ::recv(socket.get(), &byte, 1, 0) == 1)
        heard += byte;
    return heard;
}

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

    Descriptor connect(std::uint16_t port) const {
        Descriptor client(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
        const SocketAddress to({kLoopback, port});
        EXPECT_EQ(::connect(client.get(), to.get(), to.size()), 0);
        return client;
    }

    static void awaitSessions(Gateway& gateway, std::uint64_t number) {
        const auto deadline = std::chrono::steady_clock::now() + std::chrono::milliseconds(kPatienceMs);
        while (gateway.control().status().live != number && std::chrono::steady_clock::now() < deadline)
            std::this_thread::sleep_for(std::chrono::milliseconds(1));
        EXPECT_EQ(gateway.control().status().live, number);
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

/// A session says goodbye, and so does its server.
void quit(const Descriptor& client, const Descriptor& server) {
    say(client, "QUIT\r\n");
    EXPECT_THAT(hear(server, "QUIT\r\n"), testing::EndsWith("QUIT\r\n"));
    say(server, "221 bye\r\n");
    ::shutdown(server.get(), SHUT_WR);
    EXPECT_EQ(hear(client, "221 bye\r\n"), "221 bye\r\n");
    EXPECT_EQ(hear(client, "more"), "") << "the end";
}

TEST_F(GatewayReload, SessionsOfBeforeItKeepTheirConfigurationWhateverTheyAreAt) {
    const PlayedServer old_server(true), new_server(true);
    PlayedServer absent(false);
    std::uint16_t held_port = 0;
    listenAnywhere(held_port);
    const auto configure = [&](std::uint16_t mx, std::string_view mx_name, std::uint16_t held,
                               std::string_view held_name, std::string_view hold) {
        std::ofstream(file()) << fmt::format(
            "[gateway]\nname = \"gw.example.org\"\nworkers = 1\n[log]\ntarget = \"file:events.log\"\n"
            "[timeouts]\nhold = \"{}\"\n"
            "[[listener]]\nname = \"smtp\"\nprotocol = \"smtp\"\naddress = \"127.0.0.1:{}\"\naccess = "
            "\"open\"\n"
            "upstream = \"mx\"\n"
            "[[listener]]\nname = \"held\"\nprotocol = \"smtp\"\naddress = \"127.0.0.1:{}\"\naccess = "
            "\"open\"\n"
            "upstream = \"away\"\n"
            "[[upstream]]\nname = \"mx\"\ncheck = false\n"
            "[[upstream.server]]\nname = \"{}\"\naddress = \"127.0.0.1:{}\"\n"
            "[[upstream]]\nname = \"away\"\ncheck = false\n"
            "[[upstream.server]]\nname = \"{}\"\naddress = \"127.0.0.1:{}\"\n",
            hold, port_, held_port, mx_name, mx, held_name, held);
    };
    configure(old_server.port, "old", absent.port, "absent", "60s");
    {
        Gateway gateway(loadConfig(file()));
        const Descriptor relayed = connect(port_);
        const Descriptor relayed_server = old_server.accept();
        say(relayed_server, "220 old\r\n");
        EXPECT_EQ(hear(relayed, "\r\n"), "220 old\r\n");
        const Descriptor connecting = connect(port_);
        const Descriptor connecting_server = old_server.accept();  // which has yet to greet
        const Descriptor held = connect(held_port);
        awaitSessions(gateway, 3);

        // A held client of the new configuration would hear a refusal within a second.
        configure(new_server.port, "new", new_server.port, "new", "1s");
        const admin::Outcome outcome = gateway.control().reload();
        ASSERT_TRUE(outcome.ok) << outcome.message;

        for (const std::uint16_t port : {port_, held_port}) {
            const Descriptor client = connect(port);
            const Descriptor server = new_server.accept();
            say(server, "220 new\r\n");
            EXPECT_EQ(hear(client, "\r\n"), "220 new\r\n");
            quit(client, server);
        }
        say(connecting_server, "220 old\r\n");
        EXPECT_EQ(hear(connecting, "\r\n"), "220 old\r\n");
        quit(connecting, connecting_server);
        quit(relayed, relayed_server);
        absent.listen();
        const Descriptor held_server = absent.accept();
        say(held_server, "220 there at last\r\n");
        EXPECT_EQ(hear(held, "\r\n"), "220 there at last\r\n");
        quit(held, held_server);
        awaitSessions(gateway, 0);
    }
    std::map<std::string, int> ended;  // by server
    std::istringstream lines(log());
    for (std::string line; std::getline(lines, line);) {
        if (line.find("\"event\":\"session.end\"") == std::string::npos) continue;
        EXPECT_THAT(line, HasSubstr("\"end\":\"client_quit\""));
        for (const char* name : {"old", "new", "absent"})
            ended[name] += line.find(fmt::format("\"server\":\"{}\"", name)) != std::string::npos;
    }
    EXPECT_EQ(ended, (std::map<std::string, int>{{"old", 2}, {"new", 2}, {"absent", 1}}));
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
