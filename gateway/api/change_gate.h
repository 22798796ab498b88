// SPDX-License-Identifier: Apache-2.0
/// \file  How many may wait at once for something that may take long. Internal to gateway/api/.
#pragma once

#include <chrono>
#include <condition_variable>
#include <cstddef>
#include <list>
#include <memory>
#include <mutex>

namespace mailgate::api {

/// Lets so many in at once. Others wait in front of it while all goes fast, and are turned away once the first of those inside has been
/// there for longer than `patience`: whoever waits has a thread that others need. Any thread.
class ChangeGate {
  public:
    ChangeGate(std::size_t most, std::chrono::milliseconds patience) : most_(most), patience_(patience) {}

    /// Held by who is inside. Null: turned away.
    using Pass = std::shared_ptr<void>;
    Pass enter();

  private:
    using Clock = std::chrono::steady_clock;

    const std::size_t most_;
    const std::chrono::milliseconds patience_;
    std::mutex mutex_;  ///< of what follows
    std::condition_variable left_;
    std::list<Clock::time_point> inside_;  ///< since when; the first in front
};

}  // namespace mailgate::api
