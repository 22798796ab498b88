// SPDX-License-Identifier: Apache-2.0
#include "gateway/worker/listening_sockets.h"

#include "gateway/io/socket_address.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <iterator>
#include <string>
#include <utility>
#include <vector>

namespace mailgate {
namespace {

/// What a reload opens, all in one.
ListeningSockets openBeside(const Config& before, const Config& config) {
    ListeningSockets sockets = bindListeners(config, 2, {}, &before);
    startListening(sockets, config, {}, &before);
    return sockets;
}

/// A port that nobody has now.
std::uint16_t freePort(const char* address) {
    const SocketAddress any({*IpAddress::parse(address), 0});
    const Descriptor socket(::socket(any.family(), SOCK_STREAM, 0));
    EXPECT_EQ(::bind(socket.get(), any.get(), any.size()), 0);
    sockaddr_storage bound{};
    socklen_t size = sizeof bound;
    ::getsockname(socket.get(), reinterpret_cast<sockaddr*>(&bound), &size);
    return SocketAddress::toEndpoint(bound).port;
}

Config listeningOn(const std::vector<Endpoint>& addresses) {
    Config config;
    ListenerConfig listener;
    listener.name = "smtp";
    listener.addresses = addresses;
    config.listeners.push_back(listener);
    return config;
}

int connectTo(const Endpoint& to) {
    const SocketAddress address(to);
    const Descriptor socket(::socket(address.family(), SOCK_STREAM, 0));
    return ::connect(socket.get(), address.get(), address.size());
}

/// Of a client that `listening` lets in now.
int optionOfNext(int listening, const Endpoint& at, int option) {
    const SocketAddress address(at);
    const Descriptor client(::socket(address.family(), SOCK_STREAM, 0));
    EXPECT_EQ(::connect(client.get(), address.get(), address.size()), 0);
    const Descriptor accepted(::accept(listening, nullptr, nullptr));
    int value = -1;
    socklen_t size = sizeof value;
    ::getsockopt(accepted.get(), IPPROTO_TCP, option, &value, &size);
    return value;
}

TEST(ListeningSockets, GivesEachWorkerItsOwnSocketOnTheSameAddress) {
    const Endpoint at{*IpAddress::parse("127.0.0.1"), freePort("127.0.0.1")};
    const auto sockets = openListeners(listeningOn({at}), 3);
    ASSERT_EQ(sockets.size(), 3U);
    for (const auto& worker : sockets)
        ASSERT_EQ(worker.size(), 1U);
    EXPECT_EQ(connectTo(at), 0);
}

TEST(ListeningSockets, ASecondGatewayOnTheSameAddressFailsInsteadOfSharingIt) {
    const Config config = listeningOn({{*IpAddress::parse("127.0.0.1"), freePort("127.0.0.1")}});
    const auto first = openListeners(config, 2);
    try {
        openListeners(config, 2);
        FAIL() << "the port was shared";
    } catch (const ListenError& error) {
        EXPECT_THAT(error.what(), ::testing::HasSubstr("listener \"smtp\": cannot listen on 127.0.0.1:"));
        EXPECT_THAT(error.what(), ::testing::HasSubstr("already"));
    }
}

TEST(ListeningSockets, TheAddressIsFreeAgainAfterwards) {
    const Config config = listeningOn({{*IpAddress::parse("127.0.0.1"), freePort("127.0.0.1")}});
    { const auto first = openListeners(config, 2); }
    EXPECT_NO_THROW(openListeners(config, 2));
}

TEST(ListeningSockets, TheIpv6WildcardTakesIpv4TooUnlessThatIsBoundItself) {
    const std::uint16_t port = freePort("::");
    const Endpoint v6{IpAddress{}, port};
    const Endpoint v4{*IpAddress::parse("0.0.0.0"), port};
    const Endpoint v4_loopback{*IpAddress::parse("127.0.0.1"), port};
    {
        const auto dual = openListeners(listeningOn({v6}), 1);
        EXPECT_EQ(connectTo(v4_loopback), 0);
        EXPECT_EQ(connectTo({*IpAddress::parse("::1"), port}), 0);
        EXPECT_TRUE(dual[0][0].wildcard);
    }
    const auto both = openListeners(listeningOn({v4, v6}), 2);
    EXPECT_EQ(connectTo(v4_loopback), 0);
    EXPECT_EQ(connectTo({*IpAddress::parse("::1"), port}), 0);
}

/// Connects, and says whether the kernel has let it in.
bool isTaken(const char* address, std::uint16_t port) {
    return connectTo({*IpAddress::parse(address), port}) == 0;
}

TEST(ListeningSockets, AWildcardAndAnAddressTakeEachOthersPlace) {
    struct Step {
        std::vector<std::string> addresses;
        std::vector<std::string> taken, refused;
    };
    const Step steps[] = {{{"127.0.0.2"}, {"127.0.0.2"}, {"127.0.0.3", "::1"}},
                          {{"0.0.0.0"}, {"127.0.0.2", "127.0.0.3"}, {"::1"}},
                          {{"127.0.0.3"}, {"127.0.0.3"}, {"127.0.0.2"}},
                          {{"::"}, {"127.0.0.2", "127.0.0.3", "::1"}, {}},
                          {{"::", "0.0.0.0"}, {"127.0.0.2", "::1"}, {}},
                          {{"::"}, {"127.0.0.2", "::1"}, {}},
                          {{"0.0.0.0"}, {"127.0.0.2"}, {"::1"}},
                          {{"::"}, {"127.0.0.2", "::1"}, {}},
                          {{"127.0.0.2", "::1"}, {"127.0.0.2", "::1"}, {"127.0.0.3"}}};
    const std::uint16_t port = freePort("::");
    Config before;
    ListeningSockets open(2);
    for (const Step& step : steps) {
        std::vector<Endpoint> addresses;
        for (const std::string& address : step.addresses)
            addresses.push_back({*IpAddress::parse(address), port});
        const Config next = listeningOn(addresses);
        ListeningSockets added = openBeside(before, next);
        // As the workers do.
        for (std::size_t worker = 0; worker < open.size(); ++worker) {
            std::erase_if(open[worker], [&](const ListeningSocket& socket) {
                return !staysBound(before, next, socket.local);
            });
            std::move(added[worker].begin(), added[worker].end(), std::back_inserter(open[worker]));
            EXPECT_EQ(open[worker].size(), addresses.size());
        }
        for (const std::string& address : step.taken)
            EXPECT_TRUE(isTaken(address.c_str(), port)) << address << " of " << step.addresses.front();
        for (const std::string& address : step.refused)
            EXPECT_FALSE(isTaken(address.c_str(), port)) << address << " of " << step.addresses.front();
        before = next;
    }
}

TEST(ListeningSockets, TheOwnOnesInTheWayAreNoReasonToJoinAnotherGateway) {
    const std::uint16_t port = freePort("0.0.0.0");
    const Config ours = listeningOn({{*IpAddress::parse("127.0.0.2"), port}});
    const Config wildcard = listeningOn({{*IpAddress::parse("0.0.0.0"), port}});
    const auto own = openListeners(ours, 2);
    {
        const auto others = openListeners(listeningOn({{*IpAddress::parse("127.0.0.3"), port}}), 2);
        try {
            bindListeners(wildcard, 2, {}, &ours);
            FAIL() << "the port was shared";
        } catch (const ListenError& error) {
            EXPECT_THAT(error.what(), ::testing::HasSubstr("another mailgate"));
        }
    }
    EXPECT_NO_THROW(openBeside(ours, wildcard));
}

/// One that comes while the rest of a reload is made.
TEST(ListeningSockets, AnotherGatewayThatHasComeSinceTheyWereBoundIsNotJoined) {
    const std::uint16_t port = freePort("0.0.0.0");
    const Config none, ours = listeningOn({{*IpAddress::parse("127.0.0.2"), port}});
    const Config wildcard = listeningOn({{*IpAddress::parse("0.0.0.0"), port}});
    const auto refusal = [&](const Config& before) -> std::string {
        const auto bound = bindListeners(wildcard, 2, {}, &before);
        EXPECT_NE(connectTo({*IpAddress::parse("127.0.0.4"), port}), 0) << "nobody is drawn to it yet";
        const auto others = openListeners(listeningOn({{*IpAddress::parse("127.0.0.3"), port}}), 2);
        try {
            startListening(bound, wildcard, {}, &before);
        } catch (const ListenError& error) {
            return error.what();
        }
        return "";
    };
    EXPECT_THAT(refusal(none), ::testing::HasSubstr("another mailgate"));
    const auto own = openListeners(ours, 2);
    EXPECT_THAT(refusal(ours), ::testing::HasSubstr("another mailgate"));
}

/// Sockets of a user who is not the one that reloads.
void reloadAsAnother(bool given) {
    const std::uint16_t port = freePort("0.0.0.0");
    const Config ours = listeningOn({{*IpAddress::parse("127.0.0.2"), port}});
    const auto own = openListeners(ours, 2);
    if (given) giveListeners(own, 1);
    if (::setuid(1) != 0) ::_exit(2);
    try {
        openBeside(ours, listeningOn({{*IpAddress::parse("0.0.0.0"), port}}));
    } catch (const ListenError& error) {
        ::fprintf(stderr, "%s\n", error.what());
        ::_exit(1);
    }
    ::_exit(0);
}

TEST(ListeningSocketsDeathTest, SocketsOfAnotherUserAreInTheWayUnlessTheyWereGiven) {
    if (::geteuid() != 0) GTEST_SKIP() << "root alone can become somebody else";
    EXPECT_EXIT(reloadAsAnother(true), testing::ExitedWithCode(0), "");
    EXPECT_EXIT(reloadAsAnother(false), testing::ExitedWithCode(1),
                "the gateway itself is listening on 127.0.0.2:[0-9]+ until then: restart it");
}

TEST(ListeningSockets, NamesTheCauseOfAnAddressThatIsNotOurs) {
    try {
        openListeners(listeningOn({{*IpAddress::parse("203.0.113.77"), 2525}}), 1);
        FAIL();
    } catch (const ListenError& error) {
        EXPECT_THAT(error.what(), ::testing::HasSubstr("no such address"));
    }
}

/// What systemd leaves to a service: descriptors from 3 on, and three variables.
InheritedSockets inheritedAt(const Endpoint& at) {
    const SocketAddress address(at);
    const int fd = ::socket(address.family(), SOCK_STREAM, 0);
    if (::bind(fd, address.get(), address.size()) != 0 || ::listen(fd, 1) != 0 ||
        (fd != 3 && ::dup2(fd, 3) != 3))
        ::_exit(2);
    ::setenv("LISTEN_PID", std::to_string(::getpid()).c_str(), 1);
    ::setenv("LISTEN_FDS", "1", 1);
    ::setenv("LISTEN_FDNAMES", "smtp", 1);
    return InheritedSockets::take();
}

TEST(ListeningSocketsDeathTest, AnInheritedSocketThatNoListenerHasAnyMoreCanBeHadAgain) {
    const auto start = [] {
        const Endpoint at{*IpAddress::parse("127.0.0.1"), freePort("127.0.0.1")};
        const InheritedSockets inherited = inheritedAt(at);
        const Config with = listeningOn({at}), without = listeningOn({{at.address, freePort("127.0.0.1")}});
        { const auto first = openListeners(with, 2, inherited); }
        const auto again = openListeners(with, 2, inherited);
        const std::vector<std::string> told = inherited.unusedWarnings(without);
        ::_exit(again[1].size() == 1 && inherited.unusedWarnings(with).empty() && told.size() == 1 &&
                        told[0].starts_with("systemd passed the socket smtp (127.0.0.1:")
                    ? 0
                    : 1);
    };
    EXPECT_EXIT(start(), testing::ExitedWithCode(0), "");
}

TEST(ListeningSocketsDeathTest, AnInheritedSocketOfAnotherFamilyIsNamedAsTheOneThatHoldsThePort) {
    const auto start = [] {
        const std::uint16_t port = freePort("::");
        const InheritedSockets inherited = inheritedAt({IpAddress{}, port});
        try {
            openListeners(listeningOn({{*IpAddress::parse("0.0.0.0"), port}}), 1, inherited);
        } catch (const ListenError& error) {
            ::fprintf(stderr, "%s\n", error.what());
            ::_exit(1);
        }
        ::_exit(0);
    };
    EXPECT_EXIT(start(), testing::ExitedWithCode(1),
                "the port is held by smtp \\(\\[::\\]:[0-9]+\\), a socket that systemd passed: .* "
                "ListenStream=0.0.0.0:");
}

TEST(ListeningSockets, WhatAClientSaysFirstIsAcknowledgedWithTheAnswerWhereItGetsOne) {
    const Endpoint at{*IpAddress::parse("127.0.0.1"), freePort("127.0.0.1")};
    Config config = listeningOn({at});
    config.listeners[0].protocol = Protocol::Smtp;
    const auto sockets = openListeners(config, 1);
    const int listening = sockets[0][0].descriptor.get();
    const auto acknowledgesAtOnce = [&](Protocol protocol, ListenerTls tls) {
        ListenerConfig listener;
        listener.protocol = protocol;
        listener.tls = tls;
        setInheritable(listening, listener);
        return optionOfNext(listening, at, TCP_QUICKACK);
    };
    EXPECT_EQ(optionOfNext(listening, at, TCP_QUICKACK), 0) << "as it was opened";
    EXPECT_EQ(optionOfNext(listening, at, TCP_NODELAY), 1);
    EXPECT_EQ(acknowledgesAtOnce(Protocol::Imap, ListenerTls::StartTls), 0);
    // What comes behind the first bytes of these may wait for the acknowledgement.
    EXPECT_EQ(acknowledgesAtOnce(Protocol::Tcp, ListenerTls::Off), 1);
    EXPECT_EQ(acknowledgesAtOnce(Protocol::Smtp, ListenerTls::Implicit), 1);
    EXPECT_EQ(acknowledgesAtOnce(Protocol::Smtp, ListenerTls::Passthrough), 1);
}

TEST(ListeningSockets, OnlyAddressesOfOtherMachinesAreNotHere) {
    const Endpoint taken{*IpAddress::parse("127.0.0.1"), freePort("127.0.0.1")};
    const auto sockets = openListeners(listeningOn({taken}), 1);
    EXPECT_THAT(addressesNotHere(listeningOn({taken, {*IpAddress::parse("127.0.0.1"), 1}})),
                testing::IsEmpty());
    EXPECT_THAT(
        addressesNotHere(listeningOn({{*IpAddress::parse("192.0.2.77"), 2525}})),
        testing::ElementsAre(testing::HasSubstr("192.0.2.77:2525: Cannot assign requested address; this "
                                                "machine has no such address")));
}

}  // namespace
}  // namespace mailgate
