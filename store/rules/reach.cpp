// SPDX-License-Identifier: Apache-2.0
#include "store/rules/reach.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <cstdint>

namespace mailgate::rules {

namespace {

/// All addresses of IPv4.
Network wholeOfV4() noexcept {
    Network whole;
    whole.address[10] = whole.address[11] = 0xFF;
    whole.prefix_length = 96;
    return whole;
}

/// Most of 2000::/3 nobody has: a quarter of it may be all that anybody does. These are the large blocks of the five
/// registries (https://www.iana.org/assignments/ipv6-unicast-address-assignments); eight, so that shares add up exactly.
std::array<Network, 8> blocksOfV6() noexcept {
    constexpr std::array<std::array<std::uint8_t, 3>, 8> kBlocks = {{{0x20, 0x01, 16},
                                                                     {0x20, 0x03, 18},
                                                                     {0x24, 0x00, 12},
                                                                     {0x26, 0x00, 12},
                                                                     {0x28, 0x00, 12},
                                                                     {0x2A, 0x00, 12},
                                                                     {0x2A, 0x10, 12},
                                                                     {0x2C, 0x00, 12}}};
    std::array<Network, 8> blocks;
    for (std::size_t at = 0; at < blocks.size(); ++at) {
        blocks[at].address[0] = kBlocks[at][0];
        blocks[at].address[1] = kBlocks[at][1];
        blocks[at].prefix_length = kBlocks[at][2];
    }
    return blocks;
}

double shareOfOne(const Network& whole, const Network& network) noexcept {
    if (network.contains(whole)) return 1;
    if (!whole.contains(network)) return 0;
    return std::ldexp(1.0, whole.prefix_length - network.prefix_length);
}

}  // namespace

double shareOf(const Network& network, bool v4) noexcept {
    if (network.isV4() != v4) return 0;
    if (v4) return shareOfOne(wholeOfV4(), network);
    static const auto kBlocks = blocksOfV6();
    double blocks = 0;
    for (const Network& block : kBlocks)
        blocks += shareOfOne(block, network);
    return blocks / static_cast<double>(kBlocks.size());
}

double shareOf(std::vector<Network> networks, bool v4) {
    // Networks nest and never overlap otherwise: sorted, each follows those that hold it.
    std::sort(networks.begin(), networks.end());
    double share = 0;
    const Network* around = nullptr;
    for (const Network& network : networks) {
        if (network.isV4() != v4 || (around != nullptr && around->contains(network))) continue;
        around = &network;
        share += shareOf(network, v4);
    }
    return std::min(share, 1.0);
}

}  // namespace mailgate::rules
