// SPDX-License-Identifier: Apache-2.0
#include "gateway/http/fair_places.h"

#include "protocols/values/network.h"

#include <algorithm>
#include <array>
#include <map>
#include <tuple>
#include <utility>

namespace mailgate::http {

namespace {

constexpr std::size_t kCircles = 3;

/// In whose company an address is: a provider's, a site's, a client's.
std::array<Network, kCircles> circlesOf(const IpAddress& address) noexcept {
    constexpr std::array<unsigned, kCircles> kV4{112, 120, 128}, kV6{32, 48, 64};
    std::array<Network, kCircles> circles;
    for (std::size_t at = 0; at < kCircles; ++at)
        circles[at] = networkAround(address.bytes, (address.isV4() ? kV4 : kV6)[at]);
    return circles;
}

using Circles = std::array<Network, kCircles>;
using Shares = std::array<std::size_t, kCircles>;

std::vector<Circles> circlesOf(const std::vector<IpAddress>& addresses) {
    std::vector<Circles> all;
    all.reserve(addresses.size());
    for (const IpAddress& address : addresses)
        all.push_back(circlesOf(address));
    return all;
}

/// How many of `holders` are in each of the circles.
Shares sharesOf(const Circles& circles, const std::vector<Circles>& holders) {
    Shares shares{};
    for (std::size_t at = 0; at < kCircles; ++at)
        shares[at] = static_cast<std::size_t>(std::count_if(
            holders.begin(), holders.end(), [&](const Circles& other) { return other[at] == circles[at]; }));
    return shares;
}

}  // namespace

std::optional<std::size_t> whoGivesWay(const std::vector<IpAddress>& waiting,
                                       const std::vector<IpAddress>& served, const IpAddress& newcomer) {
    constexpr std::size_t kMore =
        2;  // fewer, and those who have come first would have to give way to and fro
    struct Candidate {
        Circles circles;
        std::size_t index;
        Shares shares{};
    };
    std::vector<Circles> holders = circlesOf(waiting);
    std::vector<Candidate> candidates;
    candidates.reserve(holders.size());
    for (const Circles& circles : holders)
        candidates.push_back({circles, candidates.size()});
    for (const Circles& circles : circlesOf(served))
        holders.push_back(circles);
    for (Candidate& candidate : candidates)
        candidate.shares = sharesOf(candidate.circles, holders);
    const Circles own = circlesOf(newcomer);
    const Shares has = sharesOf(own, holders);
    for (std::size_t circle = 0; circle < kCircles && !candidates.empty(); ++circle) {
        const Candidate& most = *std::max_element(
            candidates.begin(), candidates.end(), [](const Candidate& one, const Candidate& other) {
                return std::tie(one.shares, one.index) < std::tie(other.shares, other.index);
            });
        if (most.shares[circle] >= has[circle] + kMore) return most.index;
        std::erase_if(candidates, [&](const Candidate& one) { return one.circles[circle] != own[circle]; });
    }
    return std::nullopt;
}

std::size_t whoHasMost(const std::vector<Holder>& waiting) {
    using Place = std::pair<Network, std::string>;
    std::array<std::map<Place, std::size_t>, kCircles> counts;  // of hundreds: each is looked at once
    std::vector<std::array<Place, kCircles>> all;
    all.reserve(waiting.size());
    for (const Holder& holder : waiting) {
        const Circles circles = circlesOf(holder.address);
        std::array<Place, kCircles>& places = all.emplace_back();
        for (std::size_t at = 0; at < kCircles; ++at) {
            places[at] = {holder.name.empty() ? circles[at] : Network{}, holder.name};
            ++counts[at][places[at]];
        }
    }
    const auto sharesIn = [&](const std::array<Place, kCircles>& places) {
        Shares shares{};
        for (std::size_t at = 0; at < kCircles; ++at)
            shares[at] = counts[at].at(places[at]);
        return shares;
    };
    const auto most = std::max_element(all.begin(), all.end(), [&](const auto& one, const auto& other) {
        return sharesIn(one) < sharesIn(other);
    });
    return static_cast<std::size_t>(most - all.begin());
}

std::size_t whoIsNext(const std::vector<IpAddress>& waiting, const std::vector<IpAddress>& served) {
    const std::vector<Circles> busy = circlesOf(served);
    const auto next =
        std::min_element(waiting.begin(), waiting.end(), [&](const IpAddress& one, const IpAddress& other) {
            return sharesOf(circlesOf(one), busy) < sharesOf(circlesOf(other), busy);
        });
    return static_cast<std::size_t>(next - waiting.begin());
}

}  // namespace mailgate::http
