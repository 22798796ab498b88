// SPDX-License-Identifier: Apache-2.0
#include "gateway/http/server.h"

#include "gateway/base/descriptor.h"
#include "gateway/http/body.h"
#include "gateway/http/listen.h"
#include "gateway/http/request_head.h"
#include "gateway/io/socket_address.h"

#include <Poco/Net/HTTPRequestHandler.h>
#include <Poco/Net/HTTPServerRequest.h>
#include <Poco/Net/HTTPServerResponse.h>
#include <Poco/Net/SocketAddress.h>
#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/resource.h>
#include <sys/socket.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <chrono>
#include <ctime>
#include <filesystem>
#include <fstream>
#include <future>
#include <iterator>
#include <memory>
#include <optional>
#include <semaphore>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

namespace mailgate::http {
namespace {

namespace net = Poco::Net;
using testing::AllOf;
using testing::EndsWith;
using testing::HasSubstr;
using testing::StartsWith;

/// How many requests are under way at once.
struct UnderWay {
    std::atomic<int> now = 0, most = 0;
};

/// Answers with what was asked; "/busy" a moment later, "/wait" when the test opens the gate, "/left" when the peer has left.
class Echo final : public net::HTTPRequestHandler {
  public:
    Echo(Server& server, std::counting_semaphore<>& waiting, const std::shared_future<void>& gate,
         UnderWay& busy)
        : server_(server), waiting_(waiting), gate_(gate), busy_(busy) {}

    void handleRequest(net::HTTPServerRequest& request, net::HTTPServerResponse& response) override {
        if (request.getURI() == "/large") {
            const std::string large(100'000, 'x');
            return response.sendBuffer(large.data(), large.size());
        }
        if (request.getURI() == "/unread") return response.setContentLength(0), void(response.send());
        std::string text = request.getMethod() + " " + request.getURI() + " ";
        if (request.getURI() == "/held") waiting_.release();
        try {
            text += readBody(request, 1'000'000, server_);
        } catch (const BodyError& error) {
            text += fmt::format("{}", error.status);
        }
        server_.suspendPeerLimit();
        if (request.getURI() == "/slow") text += server_.mayTakeLong() ? "gladly " : "not here ";
        if (request.getURI() == "/wait" || (request.getURI() == "/slow" && server_.mayTakeLong())) {
            waiting_.release();
            gate_.wait();
        }
        if (request.getURI() == "/busy") {
            const int now = ++busy_.now;
            for (int most = busy_.most; most < now && !busy_.most.compare_exchange_weak(most, now);) {
            }
            std::this_thread::sleep_for(std::chrono::milliseconds(2));
            --busy_.now;
        }
        if (request.getURI() == "/left") {
            waiting_.release();
            while (!server_.hasPeerLeft())
                std::this_thread::sleep_for(std::chrono::milliseconds(1));
            waiting_.release();
        } else if (server_.hasPeerLeft()) {
            text += "left ";
        }
        server_.restartPeerLimit();
        response.sendBuffer(text.data(), text.size());
    }

  private:
    Server& server_;
    std::counting_semaphore<>& waiting_;
    std::shared_future<void> gate_;
    UnderWay& busy_;
};

class Echoes final : public net::HTTPRequestHandlerFactory {
  public:
    Echoes(Server& server, std::counting_semaphore<>& waiting, std::shared_future<void> gate, UnderWay& busy)
        : server_(server), waiting_(waiting), gate_(std::move(gate)), busy_(busy) {}
    net::HTTPRequestHandler* createRequestHandler(const net::HTTPServerRequest&) override {
        return new Echo(server_, waiting_, gate_, busy_);
    }

  private:
    Server& server_;
    std::counting_semaphore<>& waiting_;
    std::shared_future<void> gate_;
    UnderWay& busy_;
};

class ServerTest : public testing::Test {
  protected:
    ServerTest() { server_->start(); }
    ~ServerTest() override {
        if (!opened_) open();
    }

    /// Connected, and the bytes sent.
    Descriptor sent(std::string_view bytes, const char* from = "127.0.0.1") const {
        const SocketAddress to({*IpAddress::parse("127.0.0.1"), port_}), own({*IpAddress::parse(from), 0});
        Descriptor socket(::socket(to.family(), SOCK_STREAM | SOCK_CLOEXEC, 0));
        EXPECT_EQ(::bind(socket.get(), own.get(), own.size()), 0);
        EXPECT_EQ(::connect(socket.get(), to.get(), to.size()), 0);
        add(socket, bytes);
        return socket;
    }
    static void add(const Descriptor& socket, std::string_view bytes) {
        ::send(socket.get(), bytes.data(), bytes.size(), MSG_NOSIGNAL);
    }
    /// All that comes until the server closes.
    static std::string answerTo(const Descriptor& socket) {
        std::string answer;
        char chunk[4096];
        for (ssize_t got; (got = ::recv(socket.get(), chunk, sizeof chunk, 0)) > 0;)
            answer.append(chunk, static_cast<std::size_t>(got));
        return answer;
    }
    std::string ask(std::string_view bytes) const { return answerTo(sent(bytes)); }

    /// Requests that keep every thread until open().
    std::vector<Descriptor> takeAllThreads() {
        std::vector<Descriptor> taken;
        for (unsigned i = 0; i < Server::kThreads; ++i) {
            const std::string from = "127.0.2." + std::to_string(1 + i / Server::kMostOfClient);
            taken.push_back(sent("GET /wait HTTP/1.0\r\n\r\n", from.c_str()));
            waiting_.acquire();
        }
        return taken;
    }
    void awaitWaiting() { waiting_.acquire(); }
    void open() {
        opened_ = true;
        gate_.set_value();
    }

  private:
    std::counting_semaphore<> waiting_{0};
    std::promise<void> gate_;
    std::shared_future<void> opening_ = gate_.get_future().share();
    bool opened_ = false;

  protected:
    net::ServerSocket listening_{net::SocketAddress("127.0.0.1", 0)};
    std::uint16_t port_ = listening_.address().port();
    std::counting_semaphore<> paused_{0}, resumed_{0};
    std::atomic<int> told_ = 0, exhausted_ = 0;
    UnderWay busy_;
    std::unique_ptr<Server> server_ = std::make_unique<Server>(
        listening_, [this](Server& server) { return new Echoes(server, waiting_, opening_, busy_); },
        Server::Options{
            .slow_client = [](const RequestHead& request,
                              const IpAddress& peer) -> std::optional<Server::SlowClient> {
                if (request.target != "/slow") return std::nullopt;
                const auto named = IpAddress::parse(fieldIn(request.fields, "X-Client"));
                return Server::SlowClient{named.value_or(peer), !fieldIn(request.fields, "X-Known").empty()};
            },
            .account =
                [](const RequestHead& request, const IpAddress&) {
                    const std::string behind = fieldIn(request.fields, "X-Behind-Proxy");
                    return behind.empty() ? Server::Account{fieldIn(request.fields, "X-Account")}
                                          : Server::Account{behind, true};
                },
            .on_paused =
                [this](int error) {
                    ++told_;
                    (error == EMFILE ? paused_ : resumed_).release();
                },
            .on_exhausted = [this] { ++exhausted_; }});
};

constexpr const char* kHealth = "GET /healthz HTTP/1.0\r\n\r\n";

TEST_F(ServerTest, AnswersARequestHoweverItsBytesCome) {
    EXPECT_THAT(ask("GET /a HTTP/1.0\r\n\r\n"), EndsWith("GET /a "));
    const Descriptor slow = sent("");
    for (const char byte : std::string_view("POST /b HTTP/1.0\r\nContent-Length: 4\r\n\r\nbody"))
        add(slow, {&byte, 1});
    EXPECT_THAT(answerTo(slow), EndsWith("POST /b body"));
    EXPECT_THAT(ask("GET /c HTTP/1.1\nHost: gw\n\nGET /d HTTP/1.1\n\n"), EndsWith("GET /c "))
        << "one request a connection";
}

TEST_F(ServerTest, ProbesAreAnsweredWhileEveryThreadIsTaken) {
    const auto taken = takeAllThreads();
    EXPECT_THAT(ask("GET /readyz HTTP/1.1\r\nHost: gw\r\n\r\n"), EndsWith("GET /readyz "));
    EXPECT_THAT(ask("GET /readyz?listener=mx HTTP/1.1\r\nHost: gw\r\n\r\n"),
                EndsWith("GET /readyz?listener=mx "));
    EXPECT_THAT(ask("HEAD /healthz HTTP/1.0\n\n"), StartsWith("HTTP/1.0 200"));
    open();
    for (const Descriptor& socket : taken)
        EXPECT_THAT(answerTo(socket), EndsWith("GET /wait "));
}

TEST_F(ServerTest, WhatHasMoreToBeReadIsNoProbe) {
    const auto taken = takeAllThreads();
    std::vector<Descriptor> others;
    for (const char* bytes : {
             "POST /healthz HTTP/1.0\r\n\r\n",
             "GET /readyz HTTP/1.1\r\ncOnTeNt-LeNgTh: 5\r\n\r\n",
             "GET /readyz HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n",
             "GET /readyz?x HTTP/1.1\r\n\r\n",
         })
        others.push_back(sent(bytes));
    for (const Descriptor& socket : others) {
        EXPECT_THAT(ask(kHealth), EndsWith("GET /healthz "));
        char byte = 0;
        EXPECT_EQ(::recv(socket.get(), &byte, 1, MSG_DONTWAIT), -1) << "waits for a thread, or for the rest";
    }
    open();
}

TEST_F(ServerTest, ABodyIsAskedForByWhoReadsIt) {
    const auto expecting = [](const char* path, const char* version) {
        return fmt::format("POST {} HTTP/{}\r\nContent-Length: 2\r\nExpect: 100-continue\r\n\r\n", path,
                           version);
    };
    const Descriptor asked = sent(expecting("/a", "1.1"));
    char first[] = "HTTP/1.1 100 Continue\r\n\r\n";
    ASSERT_EQ(::recv(asked.get(), first, sizeof first - 1, MSG_WAITALL),
              static_cast<ssize_t>(sizeof first - 1));
    EXPECT_STREQ(first, "HTTP/1.1 100 Continue\r\n\r\n");
    add(asked, "ab");
    EXPECT_THAT(answerTo(asked), AllOf(StartsWith("HTTP/1.1 200"), EndsWith("POST /a ab")));
    EXPECT_THAT(ask(expecting("/unread", "1.1")), StartsWith("HTTP/1.1 200"));
    const Descriptor old = sent(expecting("/held", "1.0"));
    awaitWaiting();
    add(old, "ab");
    EXPECT_THAT(answerTo(old), StartsWith("HTTP/1.0 200")) << "HTTP/1.0 does not know such an answer";
}

TEST_F(ServerTest, WhoeverIsSlowDelaysNobody) {
    std::vector<Descriptor> slow;
    for (int i = 0; i < 20; ++i) {
        slow.push_back(sent(""));
        slow.push_back(sent("GET /metrics HTTP/1.1\r\nX: "));
        slow.push_back(sent("GET /readyz HTTP/1.1\r\nContent-Length: 5\r\n"));
    }
    const auto begun = std::chrono::steady_clock::now();
    for (int i = 0; i < 10; ++i) {
        EXPECT_THAT(ask("GET /readyz HTTP/1.0\r\n\r\n"), StartsWith("HTTP/1.0 200"));
        EXPECT_THAT(ask("GET /metrics HTTP/1.0\r\n\r\n"), StartsWith("HTTP/1.0 200"));
        for (const Descriptor& socket : slow)  // one byte at a time keeps a connection, but not for ever
            add(socket, "x");
    }
    EXPECT_LT(std::chrono::steady_clock::now() - begun, Server::kHeadLimit);
}

TEST_F(ServerTest, ARequestHasALimitAsAWholeHoweverItsBytesCome) {
    const Descriptor late = sent("POST /a HTTP/1.1\r\nContent-Length: 9\r\nExpect: 100-continue\r\n\r\n12");
    const Descriptor small = sent("POST /a HTTP/1.1\r\nContent-Length: 9\r\n\r\n12");
    const Descriptor of_api = sent("POST /api/v1/rules HTTP/1.1\r\nContent-Length: 9\r\n\r\n12");
    const auto begun = std::chrono::steady_clock::now();
    const auto drip = [&](std::string_view head, std::string_view bytes, std::chrono::seconds time) {
        const Descriptor socket = sent(head, "127.0.0.2");
        pollfd answered{socket.get(), POLLIN, 0};
        while (::poll(&answered, 1, 100) == 0 && std::chrono::steady_clock::now() - begun < time)
            add(socket, bytes);
        add(socket, "0\r\n\r\n");
        return answerTo(socket);
    };
    constexpr std::chrono::hours kEver{1};
    auto head = std::async(std::launch::async, drip, "GET /v1/status HTTP/1.1\r\n", "x", kEver);
    auto body = std::async(std::launch::async, drip, "POST /v1/cut HTTP/1.1\r\nContent-Length: 60000\r\n\r\n",
                           "x", kEver);
    // More than a block, and a fifth of a megabyte in more than the time that there is for a block.
    const std::string chunk = "800\r\n" + std::string(0x800, 'x') + "\r\n";
    auto steady =
        std::async(std::launch::async, drip, "POST /a HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n", chunk,
                   Server::kPeerLimit + std::chrono::seconds(1));
    EXPECT_EQ(head.get(), "");
    EXPECT_LT(std::chrono::steady_clock::now() - begun, 2 * Server::kHeadLimit);
    EXPECT_THAT(answerTo(small), AllOf(StartsWith("HTTP/1.1 408"), EndsWith("has not come in time\n")));
    EXPECT_THAT(answerTo(of_api),
                AllOf(StartsWith("HTTP/1.1 408"), HasSubstr(R"("code":"incomplete_body")")));
    EXPECT_THAT(body.get(), EndsWith("POST /v1/cut 408"));
    EXPECT_LT(std::chrono::steady_clock::now() - begun, 2 * Server::kPeerLimit);
    EXPECT_THAT(steady.get(), AllOf(StartsWith("HTTP/1.1 200"), EndsWith("xx")));
    EXPECT_THAT(answerTo(late), EndsWith("POST /a 408")) << "nothing has come for a while";
}

TEST_F(ServerTest, TheOldestOfTooManyConnectionsGoes) {
    const Descriptor oldest = sent("GET /metrics HTTP/1.1\r\n");
    std::vector<Descriptor> others;
    for (std::size_t i = 0; i < Server::kMaxConnections; ++i)
        others.push_back(sent("GET /metrics HTTP/1.1\r\n"));
    EXPECT_EQ(answerTo(oldest), "");
    add(others.back(), "\r\n");
    EXPECT_THAT(answerTo(others.back()), EndsWith("GET /metrics "));
}

TEST_F(ServerTest, WhoOpensTooManyConnectionsClosesItsOwn) {
    const Descriptor patient = sent("GET /metrics HTTP/1.1\r\n", "127.0.0.2");
    const Descriptor oldest = sent("GET /metrics HTTP/1.1\r\n");
    std::vector<Descriptor> others;
    for (std::size_t i = 0; i < Server::kMaxConnections; ++i)
        others.push_back(sent("GET /metrics HTTP/1.1\r\n"));
    EXPECT_EQ(answerTo(oldest), "");
    add(patient, "\r\n");
    EXPECT_THAT(answerTo(patient), EndsWith("GET /metrics "));
}

TEST_F(ServerTest, NoThreadIsAskedForWhatIsNoRequest) {
    const auto taken = takeAllThreads();
    for (const char* bytes : {"GET /\n\n", "GET /readyz\n\n", "\n\n", "\r\n\r\n", "GET /readyz \r\n",
                              "POST /a HTTP/1.1\r\nContent-Length : 30\r\n\r\n", "HELO gw.example.net\r\n"})
        EXPECT_THAT(ask(bytes), AllOf(StartsWith("HTTP/1.1 400"), HasSubstr("text/plain"))) << bytes;
    EXPECT_THAT(ask("GET /api/v1/rules HTTP/1.1\r\nno field\r\n\r\n"), HasSubstr(R"("code":"malformed")"));
    open();
}

TEST_F(ServerTest, WithoutALengthThereIsNoBody) {
    const Descriptor open_end = sent("POST /a HTTP/1.1\r\nHost: gw\r\n\r\n");
    EXPECT_THAT(answerTo(open_end), EndsWith("POST /a "));
}

TEST_F(ServerTest, AHeadWithoutEndIsRefused) {
    const std::string end(Server::kMaxHead, 'a');
    EXPECT_THAT(ask("GET /" + end), StartsWith("HTTP/1.1 431"));
    EXPECT_THAT(ask("GET /api/v1/rules HTTP/1.1\r\nX: " + end), HasSubstr(R"("code":"head_too_long")"));
}

TEST_F(ServerTest, APeerThatLeavesIsNoDefect) {
    for (const char* bytes : {"", "GET /a", "POST /a HTTP/1.1\r\nContent-Length: 100\r\n\r\n{", kHealth})
        sent(bytes);
    EXPECT_THAT(ask(kHealth), EndsWith("GET /healthz "));
}

TEST_F(ServerTest, WhoIsStillSendingGetsTheAnswer) {
    const std::string request = "POST /unread HTTP/1.1\r\nHost: gw\r\nContent-Length: 16777216\r\n\r\n";
    const Descriptor large = sent(request);
    for (int i = 0; i < 256; ++i)
        ASSERT_EQ(::send(large.get(), std::string(1 << 16, 'x').data(), 1 << 16, MSG_NOSIGNAL), 1 << 16) << i;
    EXPECT_THAT(answerTo(large), StartsWith("HTTP/1.1 200"));
    const Descriptor refused = sent("GET / HTTP/9.9\r\n" + std::string(1 << 20, 'x'));
    EXPECT_THAT(answerTo(refused), StartsWith("HTTP/1.1 400"));
}

TEST_F(ServerTest, WhoGoesOnSendingIsClosedAllTheSame) {
    const Descriptor endless =
        sent("POST /unread HTTP/1.1\r\nHost: gw\r\nTransfer-Encoding: chunked\r\n\r\n");
    const std::string chunk = "10000\r\n" + std::string(1 << 16, 'x') + "\r\n";
    std::size_t taken = 0;
    while (
        taken<4 * Server::kMaxLastBytes&& ::send(endless.get(), chunk.data(), chunk.size(), MSG_NOSIGNAL)> 0)
        taken += chunk.size();
    EXPECT_LT(taken, 4 * Server::kMaxLastBytes);
    const Descriptor silent = sent("POST /unread HTTP/1.1\r\nHost: gw\r\nContent-Length: 100000\r\n\r\n");
    EXPECT_THAT(answerTo(silent), StartsWith("HTTP/1.1 200"));
    pollfd gone{silent.get(), POLLERR, 0};
    while (::poll(&gone, 1, 100) == 0)  // a peer that never closes
        add(silent, "x");
}

TEST_F(ServerTest, SlowRequestsKeepNoThreadFromOthers) {
    constexpr auto kMost = Server::kSlowThreads + Server::kMaxSlow;
    std::vector<Descriptor> slow;
    const auto add_one = [&] {
        const std::string from = "127.0.1." + std::to_string(1 + slow.size());
        slow.push_back(sent("GET /slow HTTP/1.0\r\n\r\n", from.c_str()));
    };
    for (unsigned i = 0; i < Server::kSlowThreads; ++i) {
        add_one();
        awaitWaiting();
    }
    while (slow.size() < kMost)
        add_one();
    ask(kHealth);  // what came before it has been seen
    EXPECT_THAT(answerTo(sent("GET /slow HTTP/1.0\r\n\r\n", "127.0.1.200")), EndsWith("not here "))
        << "no more may wait";
    for (unsigned i = 0; i < Server::kThreads; ++i)
        EXPECT_THAT(ask("GET /a HTTP/1.0\r\n\r\n"), EndsWith("GET /a "));
    open();
    for (const Descriptor& socket : slow)
        EXPECT_THAT(answerTo(socket), EndsWith("gladly "));
}

TEST_F(ServerTest, OneClientHasFewOfThePlacesForSlowRequests) {
    const auto slow_of = [](const std::string& client) {
        return "GET /slow HTTP/1.0\r\nX-Client: " + client + "\r\n\r\n";
    };
    std::vector<Descriptor> slow;
    for (const char* client : {"192.0.2.1", "192.0.2.1", "2001:db8:1:1::1", "2001:db8:1:1::2",
                               "2001:db8:1:2::1", "2001:db8:1:3::1", "192.0.2.2", "2001:db8:2::1"}) {
        slow.push_back(sent(slow_of(client)));
        if (slow.size() <= Server::kSlowThreads) awaitWaiting();
    }
    ask(kHealth);  // what came before it has been seen
    for (const char* client : {"192.0.2.1", "2001:db8:1:1::3", "2001:db8:1:4::1"})
        EXPECT_THAT(ask(slow_of(client)), EndsWith("not here ")) << client;
    open();
    for (const Descriptor& socket : slow)
        EXPECT_THAT(answerTo(socket), EndsWith("gladly "));
}

TEST_F(ServerTest, OneNetworkHasNoMoreOfThePlacesThanOthersLeave) {
    const auto slow_of = [](const std::string& client) {
        return "GET /slow HTTP/1.0\r\nX-Client: " + client + "\r\n\r\n";
    };
    std::vector<Descriptor> slow;
    while (slow.size() < Server::kSlowThreads + Server::kMaxSlow) {
        slow.push_back(sent(slow_of("192.0.2." + std::to_string(1 + slow.size()))));
        if (slow.size() <= Server::kSlowThreads) awaitWaiting();
    }
    ask(kHealth);  // what came before it has been seen
    EXPECT_THAT(ask(slow_of("192.0.2.200")), EndsWith("not here ")) << "no more may wait";
    const Descriptor other = sent(slow_of("198.51.100.7"));
    EXPECT_THAT(answerTo(slow.back()), EndsWith("not here ")) << "it gives way";
    slow.pop_back();
    const Descriptor known = sent("GET /slow HTTP/1.0\r\nX-Client: 192.0.2.201\r\nX-Known: yes\r\n\r\n");
    EXPECT_THAT(answerTo(slow[Server::kSlowThreads]), EndsWith("not here "))
        << "likewise, in its own network";
    slow.erase(slow.begin() + Server::kSlowThreads);
    open();
    EXPECT_THAT(answerTo(known), EndsWith("gladly "));
    EXPECT_THAT(answerTo(other), EndsWith("gladly "));
    for (const Descriptor& socket : slow)
        EXPECT_THAT(answerTo(socket), EndsWith("gladly "));
}

TEST_F(ServerTest, OneClientLeavesAThreadToOthers) {
    std::vector<Descriptor> taken;
    for (unsigned i = 0; i < Server::kThreads + 2; ++i)
        taken.push_back(sent("GET /wait HTTP/1.0\r\n\r\n"));
    for (unsigned i = 0; i < Server::kMostOfClient; ++i)
        awaitWaiting();
    EXPECT_THAT(answerTo(sent("GET /other HTTP/1.0\r\n\r\n", "127.0.0.2")), EndsWith("GET /other "));
    open();
    for (const Descriptor& one : taken)
        EXPECT_THAT(answerTo(one), EndsWith("GET /wait ")) << "each when it is its turn";
}

TEST_F(ServerTest, OneAccountLeavesThreadsToOthersWhateverAddressesItHas) {
    constexpr const char* kAlice = "GET /wait HTTP/1.0\r\nX-Account: alice\r\n\r\n";
    std::vector<Descriptor> taken;
    for (unsigned i = 0; i < Server::kThreads + 2; ++i)
        taken.push_back(sent(kAlice, ("127.0.2." + std::to_string(1 + i)).c_str()));
    for (unsigned i = 0; i < Server::kMostOfClient; ++i)
        awaitWaiting();
    for (const char* other : {"X-Account: bob\r\n", ""})
        EXPECT_THAT(answerTo(sent("GET /other HTTP/1.0\r\n" + std::string(other) + "\r\n", "127.0.2.200")),
                    EndsWith("GET /other "));
    open();
    for (const Descriptor& one : taken)
        EXPECT_THAT(answerTo(one), EndsWith("GET /wait ")) << "each when it is its turn";
}

TEST_F(ServerTest, OneAddressHasNoMoreThreadsWithSeveralAccounts) {
    std::vector<Descriptor> taken;
    for (unsigned i = 0; i < Server::kThreads; ++i)
        taken.push_back(sent("GET /wait HTTP/1.0\r\nX-Account: user" + std::to_string(i) + "\r\n\r\n"));
    for (unsigned i = 0; i < Server::kMostOfClient; ++i)
        awaitWaiting();
    EXPECT_THAT(answerTo(sent("GET /other HTTP/1.0\r\n\r\n", "127.0.0.2")), EndsWith("GET /other "));
    open();
    for (const Descriptor& one : taken)
        EXPECT_THAT(answerTo(one), EndsWith("GET /wait "));
}

TEST_F(ServerTest, OneAccountBehindAProxyLeavesAThreadToOthers) {
    std::vector<Descriptor> taken;
    for (unsigned i = 0; i < Server::kThreads + 2; ++i)
        taken.push_back(sent("GET /wait HTTP/1.0\r\nX-Behind-Proxy: alice\r\n\r\n"));
    for (unsigned i = 0; i < Server::kMostOfClient; ++i)
        awaitWaiting();
    for (const char* other : {"X-Behind-Proxy: bob\r\n", ""})
        EXPECT_THAT(answerTo(sent("GET /other HTTP/1.0\r\n" + std::string(other) + "\r\n")),
                    EndsWith("GET /other "));
    open();
    for (const Descriptor& one : taken)
        EXPECT_THAT(answerTo(one), EndsWith("GET /wait "));
}

TEST_F(ServerTest, OneAccountBehindAProxyLosesItsOwnPlaces) {
    const auto taken = takeAllThreads();
    const Descriptor patient = sent("GET /bob HTTP/1.0\r\nX-Behind-Proxy: bob\r\n\r\n");
    std::vector<Descriptor> many;
    std::vector<pollfd> closed;
    for (std::size_t i = 0; i < Server::kMaxConnections; ++i) {
        many.push_back(sent("GET /alice HTTP/1.0\r\nX-Behind-Proxy: alice\r\n\r\n"));
        closed.push_back({many.back().get(), POLLIN, 0});
    }
    ASSERT_EQ(::poll(closed.data(), closed.size(), 10'000), 1) << "one too many waits for a thread";
    open();
    EXPECT_THAT(answerTo(patient), EndsWith("GET /bob "));
}

TEST_F(ServerTest, AClientThatIsInAHurryHasNoMoreThreadsAllTheSame) {
    std::vector<std::thread> hurried;
    for (int i = 0; i < 8; ++i)
        hurried.emplace_back([this] {
            for (int asked = 0; asked < 20; ++asked)
                EXPECT_THAT(ask("GET /busy HTTP/1.0\r\n\r\n"), EndsWith("GET /busy "));
        });
    for (std::thread& one : hurried)
        one.join();
    EXPECT_LE(busy_.most, static_cast<int>(Server::kMostOfClient));
}

TEST_F(ServerTest, SeesThatWhoAskedHasLeft) {
    const Descriptor stays = sent("GET /wait HTTP/1.0\r\n\r\n");
    awaitWaiting();
    Descriptor leaves = sent("GET /left HTTP/1.0\r\n\r\n");
    awaitWaiting();
    leaves = Descriptor();
    awaitWaiting();
    open();
    EXPECT_THAT(answerTo(stays), EndsWith("GET /wait ")) << "and not \"left\"";
}

TEST_F(ServerTest, WhoTakesNoAnswerKeepsNoThread) {
    std::vector<Descriptor> deaf;
    for (unsigned i = 0; i < 4 * Server::kThreads; ++i) {
        const SocketAddress to({*IpAddress::parse("127.0.0.1"), port_});
        Descriptor socket(::socket(to.family(), SOCK_STREAM | SOCK_CLOEXEC, 0));
        const int buffer = 1, segment = 88;
        ::setsockopt(socket.get(), SOL_SOCKET, SO_RCVBUF, &buffer, sizeof buffer);
        ::setsockopt(socket.get(), IPPROTO_TCP, TCP_MAXSEG, &segment, sizeof segment);
        ASSERT_EQ(::connect(socket.get(), to.get(), to.size()), 0);
        add(socket, "GET /large HTTP/1.0\r\n\r\n");
        deaf.push_back(std::move(socket));
    }
    const auto began = std::chrono::steady_clock::now();
    for (unsigned i = 0; i < 4 * Server::kThreads; ++i)
        EXPECT_THAT(ask("GET /x HTTP/1.0\r\n\r\n"), EndsWith("GET /x "));
    EXPECT_LT(std::chrono::steady_clock::now() - began, Server::kPeerLimit / 2);
}

TEST_F(ServerTest, BodiesThatComeSlowlyKeepNoThreadFromOthers) {
    std::vector<Descriptor> slow;
    for (unsigned i = 0; i < Server::kThreads + Server::kBodyThreads; ++i) {
        slow.push_back(sent("GET /a HTTP/1.1\r\nContent-Length: 60000\r\n\r\n1"));
        slow.push_back(sent("POST /a HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n"));
    }
    ask(kHealth);  // what came before it has been seen
    const auto begun = std::chrono::steady_clock::now();
    for (unsigned i = 0; i < Server::kThreads; ++i) {
        EXPECT_THAT(ask("GET /a HTTP/1.0\r\n\r\n"), EndsWith("GET /a "));
        EXPECT_THAT(ask("POST /a HTTP/1.0\r\nContent-Length: 2\r\n\r\nab"), EndsWith("POST /a ab"));
    }
    EXPECT_LT(std::chrono::steady_clock::now() - begun, Server::kPeerLimit)
        << "they waited for the slow ones";
}

TEST_F(ServerTest, TellsWhoDoesNotSendAllOfABody) {
    const Descriptor cut = sent("POST /b HTTP/1.1\r\nContent-Length: 60000\r\n\r\n12", "127.0.0.2");
    const Descriptor bare =
        sent("POST /c HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n1\nx\n0\n\n", "127.0.0.3");
    ::shutdown(cut.get(), SHUT_WR);
    EXPECT_THAT(answerTo(cut), EndsWith("POST /b 400left "));
    for (const std::string path : {"/d", "/api/v1/rules"}) {
        const auto begun = std::chrono::steady_clock::now();
        const Descriptor small = sent("POST " + path + " HTTP/1.1\r\nContent-Length: 9\r\n\r\n12");
        ::shutdown(small.get(), SHUT_WR);
        EXPECT_THAT(answerTo(small),
                    AllOf(StartsWith("HTTP/1.1 400"), HasSubstr("the request ends before its body does")));
        EXPECT_LT(std::chrono::steady_clock::now() - begun, Server::kHeadLimit);
    }
    EXPECT_THAT(answerTo(bare), EndsWith("POST /c 400"));
}

TEST_F(ServerTest, BodiesOfOneClientLeaveAThreadToThoseOfOthers) {
    const auto begins = [](const char* path) {
        return fmt::format("POST {} HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n", path);
    };
    std::vector<Descriptor> served, waiting;
    for (std::size_t i = 0; i < Server::kMostBodiesOfClient; ++i) {
        served.push_back(sent(begins("/held")));
        awaitWaiting();
    }
    const auto goOn = [&] {
        for (const Descriptor& one : served)
            add(one, "1\r\nx\r\n");
    };
    for (std::size_t i = 0; i < Server::kMaxBodiesWaiting; ++i) {
        waiting.push_back(sent(begins("/a")));
        ask(kHealth);  // it has been seen
        goOn();
    }
    for (int i = 0; i < 2; ++i) {
        const Descriptor other = sent(begins("/b"), "127.0.0.2");
        ask(kHealth);
        add(other, "1\r\nx\r\n0\r\n\r\n");
        EXPECT_THAT(answerTo(other), EndsWith("POST /b x"));
        goOn();
    }
    EXPECT_THAT(ask(begins("/b")), AllOf(StartsWith("HTTP/1.1 503"), HasSubstr("\r\nRetry-After: "),
                                         EndsWith("one after the other\n")));
    const std::string problem = ask(begins("/api/v1/rules"));
    EXPECT_THAT(problem, AllOf(HasSubstr("application/problem+json"), HasSubstr(R"("code":"busy")")));
    EXPECT_THAT(problem, HasSubstr(fmt::format("\r\nContent-Length: {}\r\n",
                                               problem.size() - problem.find("\r\n\r\n") - 4)));
    for (const auto* all : {&waiting, &served})
        for (const Descriptor& one : *all)
            add(one, "0\r\n\r\n");
    for (const Descriptor& one : served)
        EXPECT_THAT(answerTo(one), EndsWith("x")) << "nobody has waited for their end";
    for (const Descriptor& one : waiting)
        EXPECT_THAT(answerTo(one), EndsWith("POST /a ")) << "each when it is its turn";
}

TEST_F(ServerTest, RestsWhileThereIsNoDescriptorForAClient) {
    const SocketAddress to({*IpAddress::parse("127.0.0.1"), port_});
    const Descriptor socket(::socket(to.family(), SOCK_STREAM | SOCK_CLOEXEC, 0));
    rlimit usual{};
    ASSERT_EQ(::getrlimit(RLIMIT_NOFILE, &usual), 0);
    const rlimit none{0, usual.rlim_max};
    ASSERT_EQ(::setrlimit(RLIMIT_NOFILE, &none), 0);
    const auto processor = [] { return std::clock() / static_cast<double>(CLOCKS_PER_SEC); };
    const auto begun = std::chrono::steady_clock::now();
    const double used = processor();
    EXPECT_EQ(::connect(socket.get(), to.get(), to.size()), 0);
    paused_.acquire();
    std::this_thread::sleep_until(begun + 2 * Server::kPause);  // what is measured is this time
    const std::chrono::duration<double> lasted = std::chrono::steady_clock::now() - begun;
    EXPECT_LT(processor() - used, lasted.count() / 4) << "it asks again and again";
    EXPECT_EQ(told_, 1);
    ASSERT_EQ(::setrlimit(RLIMIT_NOFILE, &usual), 0);
    resumed_.acquire();
    add(socket, kHealth);
    EXPECT_THAT(answerTo(socket), EndsWith("GET /healthz "));
    EXPECT_EQ(told_, 2);
}

TEST_F(ServerTest, AnswersThoughThereAreHardlyAnyDescriptors) {
    const auto openDescriptors = [] {
        return std::distance(std::filesystem::directory_iterator("/proc/self/fd"), {});
    };
    const SocketAddress to({*IpAddress::parse("127.0.0.1"), port_});
    rlimit usual{};
    ASSERT_EQ(::getrlimit(RLIMIT_NOFILE, &usual), 0);
    const auto before = openDescriptors();
    for (int left = 1; left <= 2 + Server::kSpareDescriptors; ++left) {
        SCOPED_TRACE(left);
        const Descriptor socket(::socket(to.family(), SOCK_STREAM | SOCK_CLOEXEC, 0));
        const rlimit few{200, usual.rlim_max};
        ASSERT_EQ(::setrlimit(RLIMIT_NOFILE, &few), 0);
        std::vector<Descriptor> filling;
        for (int fd; (fd = ::dup(socket.get())) >= 0;)
            filling.emplace_back(fd);
        filling.resize(filling.size() - static_cast<std::size_t>(left));
        EXPECT_EQ(::connect(socket.get(), to.get(), to.size()), 0);
        add(socket, "GET /a HTTP/1.1\r\nHost: x\r\n\r\n");
        EXPECT_THAT(answerTo(socket),
                    StartsWith(left > Server::kSpareDescriptors ? "HTTP/1.1 200" : "HTTP/1.1 503"));
        filling.clear();
        ASSERT_EQ(::setrlimit(RLIMIT_NOFILE, &usual), 0);
        ::shutdown(socket.get(), SHUT_RDWR);
        while (openDescriptors() > before + 1)
            std::this_thread::sleep_for(std::chrono::milliseconds(1));
    }
    EXPECT_EQ(exhausted_, 1) << "it is not told each time";
    EXPECT_EQ(told_, 0) << "nobody had to wait for a connection";
}

TEST(Listen, HasAsManyWaitAsTheKernelLets) {
    const net::ServerSocket socket = listenOn("127.0.0.1", 0, "a test");
    tcp_info info{};
    socklen_t size = sizeof info;
    ASSERT_EQ(::getsockopt(socket.impl()->sockfd(), IPPROTO_TCP, TCP_INFO, &info, &size), 0);
    int most = 0;
    std::ifstream("/proc/sys/net/core/somaxconn") >> most;
    EXPECT_EQ(info.tcpi_sacked, static_cast<unsigned>(std::min(most, SOMAXCONN)))
        << "of a listening socket: tcp(7)";
}

TEST_F(ServerTest, TakesWhatIsSentAsToAProxy) {
    EXPECT_THAT(ask("GET http://gw.example/healthz HTTP/1.0\r\n\r\n"), EndsWith("healthz "));
    EXPECT_THAT(ask("GET  /healthz HTTP/1.0\r\n\r\n"), StartsWith("HTTP/1.1 400"));
}

TEST_F(ServerTest, StopsThoughConnectionsAreOpenAndAnswersWhatIsUnderWay) {
    std::vector<Descriptor> silent;
    for (unsigned i = 0; i < 4 * Server::kThreads; ++i)
        silent.push_back(sent(""));
    const auto taken = takeAllThreads();
    const Descriptor queued = sent("GET /a HTTP/1.0\r\n\r\n");
    ask(kHealth);  // what came before it has been seen
    auto stopped = std::async(std::launch::async, [this] { server_->stop(); });
    EXPECT_EQ(answerTo(queued), "") << "dropped at once";
    open();
    stopped.get();
    for (const Descriptor& socket : taken)
        EXPECT_THAT(answerTo(socket), EndsWith("GET /wait "));
    for (const Descriptor& socket : silent)
        EXPECT_EQ(answerTo(socket), "");
    server_->stop();  // a second time is no error
}

}  // namespace
}  // namespace mailgate::http
