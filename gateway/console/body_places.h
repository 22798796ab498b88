// SPDX-License-Identifier: Apache-2.0
/// \file  How many threads one account may keep that wait for bodies: whoever sends slowly delays himself, and not others.
#pragma once

#include "gateway/http/server.h"

#include <cstddef>
#include <map>
#include <mutex>
#include <optional>
#include <string>
#include <utility>

namespace mailgate::console {

/// Any thread.
class BodyPlaces {
  public:
    static constexpr std::size_t kMostOfOne = 2;
    static_assert(kMostOfOne < http::Server::kBodyThreads, "others' bodies are read meanwhile");

    /// Given back at its end, which is before that of the BodyPlaces. One that was not taken is of a request that needs none.
    class Place {
      public:
        Place() = default;
        Place(BodyPlaces& places, std::string account) : places_(&places), account_(std::move(account)) {}
        Place(Place&& other) noexcept
            : places_(std::exchange(other.places_, nullptr)), account_(std::move(other.account_)) {}
        Place(const Place&) = delete;
        Place& operator=(const Place&) = delete;
        Place& operator=(Place&&) = delete;
        ~Place() {
            if (places_ != nullptr) places_->giveBack(account_);
        }

      private:
        BodyPlaces* places_ = nullptr;
        std::string account_;
    };

    /// Nothing: the account has all that one may have.
    std::optional<Place> take(const std::string& account) {
        const std::lock_guard lock(mutex_);
        std::size_t& taken = taken_[account];
        if (taken >= kMostOfOne) return std::nullopt;
        ++taken;
        return std::optional<Place>(std::in_place, *this, account);
    }

  private:
    void giveBack(const std::string& account) noexcept {
        const std::lock_guard lock(mutex_);
        const auto found = taken_.find(account);
        if (--found->second == 0) taken_.erase(found);
    }

    std::mutex mutex_;
    std::map<std::string, std::size_t> taken_;  ///< as many accounts as there are threads
};

}  // namespace mailgate::console
