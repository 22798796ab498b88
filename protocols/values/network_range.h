// SPDX-License-Identifier: Apache-2.0
/// \file  The spellings of networks that people and other programs have besides CIDR: ranges and netmasks.
#pragma once

#include "protocols/values/network.h"

#include <string>
#include <string_view>
#include <variant>
#include <vector>

namespace mailgate {

/// A network as parseNetwork() takes it, an IPv4 network with a mask ("192.0.2.0/255.255.255.0"), or a range with both
/// ends in it ("192.0.2.10-192.0.2.20"), which is the fewest networks that hold just its addresses: 62 at most for IPv4,
/// 254 for IPv6. Never empty.
std::variant<std::vector<Network>, NetworkError> parseNetworks(std::string_view text);

/// Of "192.0.2.10-20", "192.0.2.10-192.0.2.20", which must be meant; empty: it is nothing like that.
std::string rangeMeant(std::string_view text);

}  // namespace mailgate
