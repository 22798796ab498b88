// SPDX-License-Identifier: Apache-2.0
#include "gateway/credentials/known_places.h"

#include <algorithm>

namespace mailgate::credentials {

void KnownPlaces::add(const std::string& name, const std::string& place, Clock::time_point now) {
    const std::lock_guard lock(mutex_);
    if (by_name_.size() >= kMostNames && !by_name_.contains(name))
        by_name_.erase(
            std::ranges::min_element(by_name_, {}, [](const auto& one) { return one.second.back().used; }));
    std::vector<Place>& places = by_name_[name];
    std::erase_if(places, [&](const Place& one) { return one.place == place; });
    if (places.size() >= kMostOfName) places.erase(places.begin());
    places.push_back({place, now});
}

bool KnownPlaces::has(const std::string& name, const std::string& place, Clock::time_point now) const {
    const std::lock_guard lock(mutex_);
    const auto found = by_name_.find(name);
    return found != by_name_.end() && std::ranges::any_of(found->second, [&](const Place& one) {
               return one.place == place && now - one.used < kKept;
           });
}

}  // namespace mailgate::credentials
