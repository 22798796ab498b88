// SPDX-License-Identifier: Apache-2.0
/// \file  Who of many gets one of few places: networks as well as clients have equal shares, so that whoever has one network, however
/// many addresses are in it, keeps nobody of another from getting a place. Pure functions.
#pragma once

#include "protocols/values/address.h"

#include <cstddef>
#include <optional>
#include <string>
#include <vector>

namespace mailgate::http {

/// All places are taken, and `newcomer` would have one: which of those who wait gives way. It is the last one of whoever has most
/// places, where that is at least two more than the newcomer's have: compared are first what a provider may have (IPv4: a /16, IPv6: a
/// /32), within it what a site may have (a /24, a /48), and within that clients (an address, a /64). Nothing: nobody does.
/// `served`: whose place is in use, which nobody takes away.
std::optional<std::size_t> whoGivesWay(const std::vector<IpAddress>& waiting,
                                       const std::vector<IpAddress>& served, const IpAddress& newcomer);

/// Who waits: an address, or somebody who has that name, at whatever address, and is in nobody's company.
struct Holder {
    IpAddress address;
    std::string name{};  ///< empty: the address itself
};
/// Of those who wait the first of whoever has most places, by the same circles: who has to go where one has to. There is one.
std::size_t whoHasMost(const std::vector<Holder>& waiting);

/// Which of those who wait is next: the first of those of whose provider, site, and client fewest are served now. There is one.
std::size_t whoIsNext(const std::vector<IpAddress>& waiting, const std::vector<IpAddress>& served);

}  // namespace mailgate::http
