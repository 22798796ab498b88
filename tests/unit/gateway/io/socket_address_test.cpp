// SPDX-License-Identifier: Apache-2.0
#include "gateway/io/socket_address.h"

#include <gtest/gtest.h>

#include <sys/un.h>

#include <cstring>

namespace mailgate {
namespace {

Endpoint thereAndBack(const Endpoint& endpoint) {
    const SocketAddress address(endpoint);
    sockaddr_storage storage{};
    std::memcpy(&storage, address.get(), address.size());
    return SocketAddress::toEndpoint(storage);
}

TEST(SocketAddressTest, AnEndpointComesBackAsItWas) {
    for (const char* text : {"192.0.2.1", "0.0.0.0", "2001:db8::1", "::", "::1"}) {
        const Endpoint endpoint{*IpAddress::parse(text), 65'534};
        EXPECT_EQ(thereAndBack(endpoint), endpoint) << text;
    }
}

TEST(SocketAddressTest, TheKernelSeesFamilyPortAndAddress) {
    const SocketAddress v4({*IpAddress::parse("192.0.2.1"), 25});
    EXPECT_EQ(v4.family(), AF_INET);
    EXPECT_EQ(v4.size(), sizeof(sockaddr_in));
    const auto& in = *reinterpret_cast<const sockaddr_in*>(v4.get());
    EXPECT_EQ(ntohs(in.sin_port), 25);
    EXPECT_EQ(ntohl(in.sin_addr.s_addr), 0xC0000201u);
    const SocketAddress v6({*IpAddress::parse("2001:db8::1"), 25});
    EXPECT_EQ(v6.family(), AF_INET6);
    EXPECT_EQ(v6.size(), sizeof(sockaddr_in6));
}

// A dual-stack listener sees IPv4 clients so; access rules and logs know them by their IPv4 address.
TEST(SocketAddressTest, AMappedClientIsAnIpv4Client) {
    sockaddr_storage storage{};
    auto& v6 = reinterpret_cast<sockaddr_in6&>(storage);
    v6.sin6_family = AF_INET6;
    v6.sin6_port = htons(40'000);
    const std::uint8_t mapped[16] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xFF, 0xFF, 192, 0, 2, 1};
    std::memcpy(&v6.sin6_addr, mapped, sizeof mapped);
    EXPECT_EQ(SocketAddress::toEndpoint(storage).toString(), "192.0.2.1:40000");
}

TEST(SocketAddressTest, OtherFamiliesAreNobody) {
    sockaddr_storage storage;
    std::memset(&storage, 0x41, sizeof storage);
    storage.ss_family = AF_UNIX;
    EXPECT_EQ(SocketAddress::toEndpoint(storage), Endpoint{});
}

}  // namespace
}  // namespace mailgate
