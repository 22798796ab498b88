// SPDX-License-Identifier: Apache-2.0
/// \file  Parts of pages that many browsers ask for again and again, made once for all of them.
#pragma once

#include "gateway/api/request.h"

#include <chrono>
#include <functional>
#include <map>
#include <mutex>
#include <string>
#include <utility>

namespace mailgate::console {

/// However many ask, a part is made at most once a second, and so seldom that making it takes a hundredth of the time; at most ten
/// seconds old. Any thread; while one makes a part, others wait.
class SharedParts {
  public:
    using Clock = std::chrono::steady_clock;

    explicit SharedParts(std::function<Clock::time_point()> now = Clock::now) : now_(std::move(now)) {}

    /// Of `key` the part as it was made last, or `make()`, whose exceptions pass. Refusals are not kept. Keys must be few: nothing
    /// is forgotten.
    api::Response get(const std::string& key, const std::function<api::Response()>& make);

  private:
    struct Part {
        api::Response response;
        Clock::time_point until;
    };

    const std::function<Clock::time_point()> now_;
    std::mutex mutex_;
    std::map<std::string, Part> parts_;
};

}  // namespace mailgate::console
