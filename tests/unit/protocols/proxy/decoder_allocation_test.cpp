// SPDX-License-Identifier: Apache-2.0
// Counts what the decoder takes from the heap: nothing, for the headers that every connection brings.

#include "proxy_testing.h"

#include <atomic>
#include <cstdlib>
#include <new>

namespace {

std::atomic<std::size_t> allocations{0};

}  // namespace

// GCC sees the inlined free() and not that the matching new is replaced as well.
#pragma GCC diagnostic ignored "-Wmismatched-new-delete"

void* operator new(std::size_t size, const std::nothrow_t&) noexcept {
    ++allocations;
    return std::malloc(size != 0 ? size : 1);
}
void* operator new(std::size_t size) {
    if (void* memory = operator new(size, std::nothrow)) return memory;
    throw std::bad_alloc();
}
void operator delete(void* memory) noexcept {
    std::free(memory);
}
void operator delete(void* memory, std::size_t) noexcept {
    std::free(memory);
}

namespace mailgate::proxy {
namespace {

std::size_t allocationsOfDecoding(std::string_view received) {
    const std::size_t before = allocations;
    const DecodeResult result = decodeText(received);
    const std::size_t taken = allocations - before;
    EXPECT_TRUE(std::holds_alternative<Header>(result)) << received;
    return taken;
}

constexpr std::string_view kTcp4Header(
    "\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c\xc0\0\2\x0a\xc6\x33\x64\x19\xc0\0\0\x19", 28);

TEST(ProxyDecoderAllocation, NoneForHeadersWithoutTlvs) {
    EXPECT_EQ(allocationsOfDecoding(kTcp4Header), 0u);
    EXPECT_EQ(allocationsOfDecoding("PROXY TCP4 255.255.255.255 255.255.255.255 65535 65535\r\n"), 0u);
    EXPECT_EQ(
        allocationsOfDecoding("PROXY TCP6 2001:db8:1111:2222:3333:4444:5555:6666 ::ffff:192.0.2.1 1 2\r\n"),
        0u);
    EXPECT_EQ(allocationsOfDecoding("PROXY UNKNOWN and whatever else there may be\r\n"), 0u);
}

TEST(ProxyDecoderAllocation, IsSeenWhereThereIsOne) {
    std::string with_tlv(kTcp4Header);
    with_tlv[15] += 7;
    with_tlv += std::string_view("\2\0\4mail", 7);
    EXPECT_GT(allocationsOfDecoding(with_tlv), 0u);
}

}  // namespace
}  // namespace mailgate::proxy
