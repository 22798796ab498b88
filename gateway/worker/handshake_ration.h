// SPDX-License-Identifier: Apache-2.0
/// \file  How much of a turn of a worker's loop goes to TLS handshakes. A step of one may be a signature: with RSA it takes
/// as long as a hundred lines that others wait for.
#pragma once

#include <chrono>

namespace mailgate {

class HandshakeRation {
  public:
    using Time = std::chrono::steady_clock::time_point;
    static constexpr unsigned kSteps = 8;
    /// What has begun ends: a turn takes this, and one step.
    static constexpr std::chrono::milliseconds kTime{2};

    void beginTurn() noexcept { left_ = kSteps; }

    /// One more step fits into this turn. The first always does.
    bool take(Time now) noexcept {
        if (left_ == kSteps)
            begun_ = now;
        else if (now - begun_ >= kTime)
            left_ = 0;
        if (left_ == 0) return false;
        --left_;
        return true;
    }

  private:
    unsigned left_ = 0;
    Time begun_;  ///< of this turn's first step
};

}  // namespace mailgate
