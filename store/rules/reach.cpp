// SPDX-License-Identifier: Apache-2.0
#include "store/rules/reach.h"

#include <algorithm>
#include <cmath>

namespace mailgate::rules {

namespace {

/// All addresses of a family that anybody has.
Network wholeOf(bool v4) noexcept {
    Network whole;
    if (v4) {
        whole.address[10] = whole.address[11] = 0xFF;
        whole.prefix_length = 96;
    } else {
        whole.address[0] = 0x20;
        whole.prefix_length = 3;
    }
    return whole;
}

}  // namespace

double shareOf(const Network& network, bool v4) noexcept {
    if (network.isV4() != v4) return 0;
    const Network whole = wholeOf(v4);
    if (network.contains(whole)) return 1;
    if (!whole.contains(network)) return 0;
    return std::ldexp(1.0, whole.prefix_length - network.prefix_length);
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
