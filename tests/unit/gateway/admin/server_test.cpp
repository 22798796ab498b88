// SPDX-License-Identifier: Apache-2.0
#include "gateway/admin/server.h"

#include "gateway/admin/acting_user.h"
#include "gateway/admin/api.h"
#include "gateway/admin/client.h"
#include "gateway/base/descriptor.h"
#include "gateway/io/listen_error.h"
#include "gateway/io/socket_address.h"
#include "tests/support/fake_control.h"

#include <Poco/JSON/Array.h>
#include <Poco/Net/HTTPServerResponse.h>
#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <pwd.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <memory>
#include <sstream>
#include <stdexcept>
#include <string>
#include <thread>
#include <utility>
#include <vector>

namespace mailgate::admin {
namespace {

using Poco::JSON::Object;
using testing::ContainsRegex;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Not;
using testing::StartsWith;
namespace fs = std::filesystem;

std::uint16_t freePort() {
    const SocketAddress any({*IpAddress::parse("127.0.0.1"), 0});
    const Descriptor socket(::socket(any.family(), SOCK_STREAM, 0));
    ::bind(socket.get(), any.get(), any.size());
    sockaddr_storage bound{};
    socklen_t size = sizeof bound;
    ::getsockname(socket.get(), reinterpret_cast<sockaddr*>(&bound), &size);
    return SocketAddress::toEndpoint(bound).port;
}

/// Sends the bytes and reads until the server closes; nothing when there is no connection.
std::string exchange(const Descriptor& socket, const sockaddr* to, socklen_t size, const std::string& bytes) {
    if (::connect(socket.get(), to, size) != 0) return {};
    ::send(socket.get(), bytes.data(), bytes.size(), MSG_NOSIGNAL);
    std::string answer;
    char chunk[4096];
    for (ssize_t got; (got = ::recv(socket.get(), chunk, sizeof chunk, 0)) > 0;)
        answer.append(chunk, static_cast<std::size_t>(got));
    return answer;
}

std::string askHttp(std::uint16_t port, const std::string& bytes) {
    const SocketAddress address({*IpAddress::parse("127.0.0.1"), port});
    return exchange(Descriptor(::socket(address.family(), SOCK_STREAM, 0)), address.get(), address.size(),
                    bytes);
}

std::string readAll(const fs::path& file) {
    std::ifstream stream(file);
    return {std::istreambuf_iterator<char>(stream), {}};
}

std::string toString(const Object::Ptr& object) {
    std::ostringstream text;
    object->stringify(text);
    return text.str();
}

/// The message of what `ask` throws, after its status.
template <typename Ask>
std::string refusalOf(Ask ask) {
    try {
        ask();
    } catch (const ClientError& error) {
        return fmt::format("{} {}", error.status(), error.what());
    } catch (const ListenError& error) {
        return error.what();
    }
    return "no refusal";
}

/// Another user's effective ids, for this thread alone: glibc's own calls would change the server's too.
class AsUser {
  public:
    explicit AsUser(uid_t uid, gid_t gid) {
        ::syscall(SYS_setresgid, -1, gid, -1);
        ::syscall(SYS_setresuid, -1, uid, -1);
    }
    ~AsUser() {
        ::syscall(SYS_setresuid, -1, 0, -1);
        ::syscall(SYS_setresgid, -1, 0, -1);
    }
};
constexpr uid_t kStranger = 65534;

class AdminServerTest : public testing::Test {
  protected:
    AdminServerTest() {
        std::string pattern = fs::temp_directory_path() / "mailgate-admin-XXXXXX";
        folder_ = ::mkdtemp(pattern.data());
        fs::permissions(folder_, fs::perms(0755));
        config_.socket = folder_ / "mailgate.sock";
    }
    ~AdminServerTest() override { fs::remove_all(folder_); }

    std::unique_ptr<AdminServer> serve(EventLog* log = nullptr) {
        auto server = std::make_unique<AdminServer>(config_, control_, log);
        server->start();
        return server;
    }

    Client client() const { return Client(config_.socket); }

    std::string askSocket(const std::string& bytes) const {
        sockaddr_un address{};
        address.sun_family = AF_UNIX;
        config_.socket.copy(address.sun_path, sizeof address.sun_path - 1);
        return exchange(Descriptor(::socket(AF_UNIX, SOCK_STREAM, 0)), reinterpret_cast<sockaddr*>(&address),
                        sizeof address, bytes);
    }

    fs::path folder_;
    AdminConfig config_;
    FakeControl control_;
};

TEST_F(AdminServerTest, TellsTheStatus) {
    const auto server = serve();
    const Object::Ptr status = client().get("/v1/status");
    EXPECT_EQ(status->getValue<std::string>("name"), "gw.example.net");
    EXPECT_EQ(status->getValue<std::string>("started"), "2026-11-18T11:06:40Z");
    EXPECT_EQ(status->getArray("listeners")->getObject(0)->getValue<int>("admitted"), 7);
    EXPECT_EQ(status->getArray("servers")->getObject(1)->getValue<std::string>("server"), "imap1");
    EXPECT_TRUE(status->getArray("servers")->getObject(1)->isNull("reason"));
}

TEST_F(AdminServerTest, TakesOrders) {
    const auto server = serve();
    EXPECT_EQ(toString(client().del("/v1/sessions/01A")), R"({"ok":true})");
    Object cut;
    cut.set("network", "192.0.2.0/24");
    EXPECT_EQ(toString(client().post("/v1/cut", cut)), R"({"cut":3})");
    Poco::JSON::Array listeners;
    listeners.add("smtp");
    listeners.add("imap");
    cut.set("listeners", listeners);
    client().post("/v1/cut", cut);
    control_.now.rules_version = 7;
    cut.set("rules_version", 7);
    EXPECT_EQ(toString(client().post("/v1/cut", cut)), R"({"cut":3})");
    for (const char* name : {"admin_state", "wish"}) {
        Object state;
        state.set(name, "drain");
        client().post("/v1/servers/postfix/mx1", state);
        state.set(name, "ready");
        client().post("/v1/servers/postfix/mx1", state);
    }
    client().post("/v1/reload");
    EXPECT_THAT(control_.orders,
                ElementsAre("kill 01A", "cut 192.0.2.0/24", "cut 192.0.2.0/24 smtp imap",
                            "cut 192.0.2.0/24 smtp imap denied by version 7", "drain postfix/mx1",
                            "ready postfix/mx1", "drain postfix/mx1", "ready postfix/mx1", "reload"));
}

TEST_F(AdminServerTest, ADefectOfTheGatewayIsAnAnswerToo) {
    class Broken : public FakeControl {
        Status status() override { throw std::runtime_error("the workers are gone"); }
    } broken;
    AdminServer server(config_, broken, nullptr);
    server.start();
    EXPECT_EQ(refusalOf([&] { client().get("/v1/status"); }), "500 the workers are gone");
}

TEST_F(AdminServerTest, RequestsBeyondTheLimitsAreRefused) {
    const auto server = serve();
    const std::string big(kMaxBody + 1, ' ');
    const std::pair<const char*, std::string> cases[] = {
        {"413", fmt::format("POST /v1/cut HTTP/1.0\r\nContent-Length: {}\r\n\r\n", kMaxBody + 1)},
        {"413", fmt::format("POST /v1/cut HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n{:x}\r\n{}",
                            big.size(), big)},
        {"414", fmt::format("GET /v1/{} HTTP/1.0\r\n\r\n", std::string(kMaxTarget, 'a'))},
        {"400", fmt::format("GET /v1/status HTTP/1.0\r\nX: {}\r\n\r\n", std::string(9000, 'a'))},
        {"400",
         fmt::format("POST /v1/cut HTTP/1.0\r\nContent-Length: 50000\r\n\r\n{}", std::string(50000, '['))},
        {"400", "GET /%zz HTTP/1.0\r\n\r\n"},
    };
    for (const auto& [status, bytes] : cases)
        EXPECT_THAT(askSocket(bytes), ContainsRegex(std::string("^HTTP/1.[01] ") + status))
            << bytes.substr(0, 60);
    EXPECT_THAT(control_.orders, IsEmpty());
}

TEST_F(AdminServerTest, TheHttpListenerOnlyReads) {
    const std::uint16_t port = freePort();
    config_.http = fmt::format("127.0.0.1:{}", port);
    const auto server = serve();
    EXPECT_THAT(askHttp(port, "GET /metrics HTTP/1.0\r\n\r\n"), HasSubstr("mailgate_build_info"));
    EXPECT_THAT(askHttp(port, "GET /healthz HTTP/1.0\r\n\r\n"), StartsWith("HTTP/1.0 200"));
    EXPECT_THAT(askHttp(port, "HEAD /healthz HTTP/1.0\r\n\r\n"), Not(HasSubstr("ok\n")));
    EXPECT_THAT(askHttp(port, "GET /v1/status HTTP/1.0\r\n\r\n"), StartsWith("HTTP/1.0 404"));
    EXPECT_THAT(askHttp(port, "POST /v1/reload HTTP/1.0\r\n\r\n"), StartsWith("HTTP/1.0 404"));
    EXPECT_THAT(askHttp(port, "DELETE /v1/sessions/01A HTTP/1.0\r\n\r\n"), StartsWith("HTTP/1.0 404"));
    EXPECT_THAT(askHttp(port, "POST /metrics HTTP/1.0\r\n\r\n"), StartsWith("HTTP/1.0 405"));
    EXPECT_THAT(control_.orders, IsEmpty());
}

TEST_F(AdminServerTest, OrdersAreLoggedWithWhoGaveThem) {
    LogConfig log_config;
    log_config.target = "file:" + (folder_ / "events.log").string();
    {
        EventLog log(log_config);
        const auto server = serve(&log);
        client().del("/v1/sessions/01A");
        refusalOf([&] { client().del("/v1/sessions/01Z"); });
        client().get("/v1/status");
    }
    const std::string text = readAll(folder_ / "events.log");
    EXPECT_THAT(text, HasSubstr(R"("event":"admin.order","order":"kill")"));
    EXPECT_THAT(text, HasSubstr(R"("target":"01A","ok":true)"));
    EXPECT_THAT(text, HasSubstr(fmt::format(R"("user":"{}")", ::getpwuid(::geteuid())->pw_name)));
    EXPECT_THAT(text, HasSubstr(R"("target":"01Z","ok":false,"detail":"there is no live session)"));
    EXPECT_EQ(std::ranges::count(text, '\n'), 2) << "reading is no order";
}

TEST_F(AdminServerTest, WhoCalledSudoGaveTheOrderWhereThatIsRootsWord) {
    const std::string root = userName(0);
    EXPECT_EQ(orderingUser(0, "alice (sudo)"), "alice (sudo)");
    EXPECT_EQ(orderingUser(0, ""), root);
    EXPECT_EQ(orderingUser(0, "alice\x1b[2J"), root);
    EXPECT_EQ(orderingUser(0, std::string(101, 'a')), root);
    EXPECT_EQ(orderingUser(kStranger, "root"), userName(kStranger));
    if (::geteuid() != 0) GTEST_SKIP() << "is not root's";
    LogConfig log_config;
    log_config.target = "file:" + (folder_ / "events.log").string();
    {
        EventLog log(log_config);
        const auto server = serve(&log);
        ::setenv("SUDO_USER", "alice", 1);
        client().del("/v1/sessions/01A");
        ::unsetenv("SUDO_USER");
    }
    EXPECT_THAT(readAll(folder_ / "events.log"), HasSubstr(R"x("user":"alice (sudo)")x"));
}

TEST_F(AdminServerTest, SoItDoesForWhatElseAnswersThere) {
    std::vector<std::string> users;
    AdminServer server(config_, control_, nullptr,
                       [&](http::Server&, const std::string& user, Poco::Net::HTTPServerRequest&,
                           Poco::Net::HTTPServerResponse& response) {
                           users.push_back(user);
                           response.send();
                       });
    server.start();
    for (const char* method : {"GET", "POST"})
        askSocket(fmt::format("{} /api/v1/rules HTTP/1.0\r\nX-Acting-User: alice\r\n\r\n", method));
    const std::string own = userName(::geteuid());
    EXPECT_THAT(users, ElementsAre(own, ::geteuid() == 0 ? "alice" : own));
}

/// Until start() it is one that hangs: it listens, and nobody answers.
TEST_F(AdminServerTest, AnOrderThatWasGivenUpIsNotCarriedOutLater) {
    LogConfig log_config;
    log_config.target = "file:" + (folder_ / "events.log").string();
    EventLog log(log_config);
    AdminServer server(config_, control_, &log);
    const Client hasty(config_.socket, std::chrono::seconds(60), std::chrono::milliseconds(20));
    EXPECT_EQ(
        refusalOf([&] { hasty.del("/v1/sessions/01A"); }),
        fmt::format("0 the gateway on {} does not answer: it is stopped, or hangs; the order was not given",
                    config_.socket));
    EXPECT_THAT(refusalOf([&] { hasty.get("/v1/status"); }), HasSubstr("is stopped, or hangs"));
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    config_.socket.copy(address.sun_path, sizeof address.sun_path - 1);
    {
        const std::string order = "DELETE /v1/sessions/01B HTTP/1.1\r\nHost: mailgate\r\n\r\n";
        const Descriptor socket(::socket(AF_UNIX, SOCK_STREAM, 0));
        ASSERT_EQ(::connect(socket.get(), reinterpret_cast<sockaddr*>(&address), sizeof address), 0);
        ASSERT_EQ(::send(socket.get(), order.data(), order.size(), MSG_NOSIGNAL),
                  static_cast<ssize_t>(order.size()));
    }
    server.start();
    const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(30);
    while (readAll(folder_ / "events.log").find("01B") == std::string::npos &&
           std::chrono::steady_clock::now() < deadline)
        std::this_thread::sleep_for(std::chrono::milliseconds(1));
    EXPECT_THAT(
        readAll(folder_ / "events.log"),
        HasSubstr(R"("target":"01B","ok":false,"detail":"not carried out: who gave it did not wait)"));
    EXPECT_THAT(control_.orders, IsEmpty());
    // Who only says that nothing more comes waits for the answer.
    const Descriptor socket(::socket(AF_UNIX, SOCK_STREAM, 0));
    ASSERT_EQ(::connect(socket.get(), reinterpret_cast<sockaddr*>(&address), sizeof address), 0);
    const std::string order = "DELETE /v1/sessions/01A HTTP/1.1\r\nHost: mailgate\r\n\r\n";
    ASSERT_GT(::send(socket.get(), order.data(), order.size(), MSG_NOSIGNAL), 0);
    ::shutdown(socket.get(), SHUT_WR);
    char answer[16];
    EXPECT_EQ(::recv(socket.get(), answer, 12, MSG_WAITALL), 12);
    EXPECT_EQ(std::string(answer, 12), "HTTP/1.1 200");
}

TEST_F(AdminServerTest, TheSocketIsForItsGroup) {
    if (::geteuid() != 0) GTEST_SKIP() << "takes root, to become another user";
    const auto server = serve();
    struct stat status {};
    ASSERT_EQ(::stat(config_.socket.c_str(), &status), 0);
    EXPECT_EQ(status.st_mode & 0777, 0660U);
    {
        const AsUser stranger(kStranger, kStranger);
        EXPECT_THAT(refusalOf([&] { client().get("/v1/status"); }), StartsWith("0 permission denied on "));
    }
    {
        const AsUser member(kStranger, status.st_gid);
        EXPECT_EQ(refusalOf([&] { client().get("/v1/status"); }), "no refusal");
    }
}

TEST_F(AdminServerTest, AFileModeThatSomebodyOpenedDoesNotLetStrangersIn) {
    if (::geteuid() != 0) GTEST_SKIP() << "takes root, to become another user";
    const auto server = serve();
    fs::permissions(config_.socket, fs::perms(0666));
    const AsUser stranger(kStranger, kStranger);
    EXPECT_THAT(refusalOf([&] { client().del("/v1/sessions/01A"); }), HasSubstr("403 nobody may not use"));
    EXPECT_THAT(control_.orders, IsEmpty());
}

TEST_F(AdminServerTest, ReplacesASocketThatNobodyListensOn) {
    {
        sockaddr_un address{};
        address.sun_family = AF_UNIX;
        config_.socket.copy(address.sun_path, sizeof address.sun_path - 1);
        const Descriptor abandoned(::socket(AF_UNIX, SOCK_STREAM, 0));
        ASSERT_EQ(::bind(abandoned.get(), reinterpret_cast<sockaddr*>(&address), sizeof address), 0);
    }
    ASSERT_TRUE(fs::exists(config_.socket));
    EXPECT_THAT(refusalOf([&] { client().get("/v1/status"); }), HasSubstr("no gateway is listening on"));
    const auto server = serve();
    EXPECT_EQ(client().get("/v1/status")->getValue<std::string>("version"), "1.2.3");
}

TEST_F(AdminServerTest, ASecondGatewayIsRefusedAndLeavesTheFirstAlone) {
    const auto first = serve();
    EXPECT_THAT(refusalOf([&] { serve(); }), HasSubstr("another gateway answers there"));
    EXPECT_EQ(client().get("/v1/status")->getValue<std::string>("version"), "1.2.3");
}

TEST_F(AdminServerTest, AFileThatIsNoSocketIsNotRemoved) {
    std::ofstream(config_.socket) << "precious";
    EXPECT_THAT(refusalOf([&] { serve(); }), HasSubstr("is not a socket"));
    EXPECT_EQ(readAll(config_.socket), "precious");
}

TEST_F(AdminServerTest, AnAddressThatIsTakenIsNamed) {
    config_.http = fmt::format("127.0.0.1:{}", freePort());
    const auto first = serve();
    config_.socket.clear();
    EXPECT_THAT(refusalOf([&] { serve(); }), StartsWith("admin.http " + config_.http + ": cannot listen: "));
}

TEST_F(AdminServerTest, RemovesTheSocketWhenItStops) {
    auto server = serve();
    server->stop();
    EXPECT_FALSE(fs::exists(config_.socket));
    EXPECT_EQ(refusalOf([&] { client().get("/v1/status"); }),
              fmt::format("0 no gateway is listening on {}: is it running, and with this configuration?",
                          config_.socket));
}

TEST_F(AdminServerTest, DoesNotRemoveTheSocketOfAnother) {
    auto first = serve();
    fs::rename(config_.socket, folder_ / "moved.sock");
    const auto second = serve();
    first->stop();
    EXPECT_EQ(client().get("/v1/status")->getValue<std::string>("version"), "1.2.3");
}

TEST_F(AdminServerTest, APeerThatLeavesIsNoDefect) {
    const auto server = serve();
    for (const char* bytes : {"", "GET /v1/sta", "POST /v1/cut HTTP/1.1\r\nContent-Length: 100\r\n\r\n{"}) {
        sockaddr_un address{};
        address.sun_family = AF_UNIX;
        config_.socket.copy(address.sun_path, sizeof address.sun_path - 1);
        const Descriptor socket(::socket(AF_UNIX, SOCK_STREAM, 0));
        ASSERT_EQ(::connect(socket.get(), reinterpret_cast<sockaddr*>(&address), sizeof address), 0);
        ::send(socket.get(), bytes, std::strlen(bytes), MSG_NOSIGNAL);
    }
    EXPECT_EQ(client().get("/v1/status")->getValue<std::string>("version"), "1.2.3");
    EXPECT_THAT(control_.orders, IsEmpty());
}

}  // namespace
}  // namespace mailgate::admin
