// SPDX-License-Identifier: Apache-2.0
/// \file  From where people have logged in lately: there nobody is kept out by who guesses their names elsewhere.
#pragma once

#include <chrono>
#include <cstddef>
#include <map>
#include <mutex>
#include <string>
#include <vector>

namespace mailgate::credentials {

/// Any thread. In memory alone, and bounded: of too many what was used longest ago is forgotten.
class KnownPlaces {
  public:
    using Clock = std::chrono::steady_clock;
    static constexpr std::chrono::hours kKept{30 * 24};
    static constexpr std::size_t kMostNames = 1'000, kMostOfName = 8;

    /// `name` has logged in there.
    void add(const std::string& name, const std::string& place, Clock::time_point now);
    bool has(const std::string& name, const std::string& place, Clock::time_point now) const;

  private:
    struct Place {
        std::string place;
        Clock::time_point used;
    };

    mutable std::mutex mutex_;
    std::map<std::string, std::vector<Place>> by_name_;  ///< used longest ago comes first
};

}  // namespace mailgate::credentials
