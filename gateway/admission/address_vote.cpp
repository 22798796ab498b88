// SPDX-License-Identifier: Apache-2.0
#include "gateway/admission/address_vote.h"

namespace mailgate {

namespace {

/// Two addresses with one hash would be taken for one: for an alarm that is rare enough.
std::uint32_t hashOf(const IpAddress& address) noexcept {
    std::uint32_t hash = 0x811C9DC5u;
    for (const std::uint8_t byte : address.bytes)
        hash = (hash ^ byte) * 0x01000193u;
    return hash;
}

}  // namespace

bool isPrivate(const IpAddress& address) noexcept {
    const auto& b = address.bytes;
    if (!address.isV4())
        return address.isLoopback() || (b[0] & 0xfe) == 0xfc || (b[0] == 0xfe && (b[1] & 0xc0) == 0x80);
    return b[12] == 10 || b[12] == 127 || (b[12] == 172 && (b[13] & 0xf0) == 16) ||
           (b[12] == 192 && b[13] == 168) || (b[12] == 169 && b[13] == 254) ||
           (b[12] == 100 && (b[13] & 0xc0) == 64);
}

AddressVote::Result AddressVote::add(const IpAddress& client) noexcept {
    const std::uint32_t voted = hashOf(client);
    std::uint64_t before = state_.load(std::memory_order_relaxed);
    std::uint64_t after = 0;
    Result result{};
    do {
        auto candidate = static_cast<std::uint32_t>(before >> 32);
        auto lead = static_cast<std::uint32_t>(before >> 16 & 0xFFFF);
        const auto votes = static_cast<std::uint32_t>(before & 0xFFFF) + 1;
        if (lead == 0) candidate = voted;
        lead += candidate == voted ? 1 : -1;
        // With a share s of all votes a candidate leads by at least 2s-1 of them: 60 % means a share of 80 %
        // or more. Its address is known when it votes; until then the count goes on.
        const bool leads = lead * 10 >= votes * 6;
        if (votes < kVotes || (leads && candidate != voted)) {
            result = Result::Open;
            after = std::uint64_t{candidate} << 32 | lead << 16 | votes;
        } else {
            result = leads && isPrivate(client) ? Result::OneAddress : Result::ManyAddresses;
            after = 0;
        }
    } while (!state_.compare_exchange_weak(before, after, std::memory_order_relaxed));
    return result;
}

}  // namespace mailgate
