// SPDX-License-Identifier: Apache-2.0
/// \file  How much of the Internet networks are together. Pure functions.
#pragma once

#include "protocols/values/network.h"

#include <vector>

namespace mailgate::rules {

/// From this share of a family on, networks are hardly ever meant.
inline constexpr double kHalfOfAll = 0.5;

/// Of all addresses of a family (of IPv6: of the large blocks that the registries
/// give out, each of which counts the same) as many as are in one of the networks: 0 to 1.
/// What is in several of them counts once.
double shareOf(std::vector<Network> networks, bool v4);
/// Likewise of one network.
double shareOf(const Network& network, bool v4) noexcept;

}  // namespace mailgate::rules
