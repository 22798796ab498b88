// SPDX-License-Identifier: Apache-2.0
#include "gateway/io/timer_wheel.h"

#include <algorithm>

namespace mailgate {

void Timer::cancel() noexcept {
    if (!next_) return;
    previous_->next_ = next_;
    next_->previous_ = previous_;
    previous_ = next_ = nullptr;
}

TimerWheel::TimerWheel(Millis now) noexcept : current_(now / kTick) {
    for (Head& head : slots_)
        head.previous_ = head.next_ = &head;
}

TimerWheel::~TimerWheel() {
    for (Head& head : slots_) {
        while (head.next_ != &head)
            head.next_->cancel();
        head.previous_ = head.next_ = nullptr;
    }
}

void TimerWheel::arm(Timer& timer, Millis deadline) noexcept {
    timer.cancel();
    timer.tick_ = std::max(current_ + 1, (deadline + kTick - 1) / kTick);
    Head& head = slots_[static_cast<std::size_t>(timer.tick_) % kSlots];
    timer.previous_ = head.previous_;
    timer.next_ = &head;
    head.previous_->next_ = &timer;
    head.previous_ = &timer;
}

void TimerWheel::advance(Millis now) {
    const std::int64_t target = now / kTick;
    // After a long pause (a suspended machine) one turn visits every slot; more would only repeat it.
    if (target - current_ > static_cast<std::int64_t>(kSlots))
        current_ = target - static_cast<std::int64_t>(kSlots);
    while (current_ < target) {
        ++current_;
        Head& head = slots_[static_cast<std::size_t>(current_) % kSlots];
        // Handlers arm and cancel timers, this slot's too, so what is due is first moved to a list of its own.
        Head due;
        due.previous_ = due.next_ = &due;
        for (Timer* timer = head.next_; timer != &head;) {
            Timer* const next = timer->next_;
            if (timer->tick_ <= target) {
                timer->cancel();
                timer->previous_ = due.previous_;
                timer->next_ = &due;
                due.previous_->next_ = timer;
                due.previous_ = timer;
            }
            timer = next;
        }
        while (due.next_ != &due) {
            Timer* const timer = due.next_;
            timer->cancel();
            timer->onTimer();
        }
        due.previous_ = due.next_ = nullptr;
    }
}

bool TimerWheel::empty() const noexcept {
    return std::all_of(slots_.begin(), slots_.end(), [](const Head& head) { return head.next_ == &head; });
}

bool TimerWheel::firesBefore(Millis time) const noexcept {
    for (std::int64_t tick = current_ + 1; tick * kTick < time; ++tick) {
        const Head& head = slots_[static_cast<std::size_t>(tick) % kSlots];
        for (const Timer* timer = head.next_; timer != &head; timer = timer->next_)
            if (timer->tick_ <= tick) return true;
    }
    return false;
}

}  // namespace mailgate
