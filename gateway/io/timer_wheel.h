// SPDX-License-Identifier: Apache-2.0
/// \file  Deadlines for many sessions: arming and cancelling are O(1) and allocate nothing.
///
/// A hashed wheel with a tick of kTick. A deadline fires at the first tick at or after it, never before. Used
/// on one thread. A timer must be cancelled (or destroyed) before its owner goes; its destructor does that.
#pragma once

#include "protocols/values/time.h"

#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>

namespace mailgate {

class TimerWheel;

class Timer {
  public:
    Timer() noexcept = default;
    virtual ~Timer() { cancel(); }
    Timer(const Timer&) = delete;
    Timer& operator=(const Timer&) = delete;

    void cancel() noexcept;
    bool armed() const noexcept { return next_ != nullptr; }

  protected:
    /// The deadline has come; the timer is no longer armed and may be armed again.
    virtual void onTimer() = 0;

  private:
    friend class TimerWheel;
    Timer* previous_ = nullptr;
    Timer* next_ = nullptr;
    std::int64_t tick_ = 0;
};

class TimerWheel {
  public:
    static constexpr Millis kTick = 100;

    explicit TimerWheel(Millis now) noexcept;
    ~TimerWheel();
    TimerWheel(const TimerWheel&) = delete;
    TimerWheel& operator=(const TimerWheel&) = delete;

    /// Arms (or arms anew) for `deadline`.
    void arm(Timer& timer, Millis deadline) noexcept;

    /// Fires everything whose deadline is at or before `now`.
    void advance(Millis now);

    /// True when nothing is armed.
    bool empty() const noexcept;
    /// Whether a tick before `time` has something to fire. `time`: at most a turn away.
    bool firesBefore(Millis time) const noexcept;

  private:
    // 512 slots of 100 ms: 51.2 s a turn. A farther deadline is looked at once a turn until it is due.
    static constexpr std::size_t kSlots = 512;

    struct Head final : Timer {
        void onTimer() override {}
    };
    std::array<Head, kSlots> slots_;
    std::int64_t current_;
};

}  // namespace mailgate
