// SPDX-License-Identifier: Apache-2.0
#include "gateway/io/timer_wheel.h"

#include <gtest/gtest.h>

#include <functional>
#include <memory>
#include <vector>

namespace mailgate {
namespace {

class Alarm final : public Timer {
  public:
    explicit Alarm(std::function<void()> action) : action_(std::move(action)) {}

  private:
    void onTimer() override { action_(); }
    std::function<void()> action_;
};

constexpr Millis kNow = 1'000'000;

TEST(TimerWheel, FiresAtTheDeadlineAndNeverBefore) {
    TimerWheel wheel(kNow);
    int fired = 0;
    Alarm alarm([&] { ++fired; });
    wheel.arm(alarm, kNow + 1000);
    wheel.advance(kNow + 999);
    EXPECT_EQ(fired, 0);
    wheel.advance(kNow + 1000);
    EXPECT_EQ(fired, 1);
    EXPECT_FALSE(alarm.armed());
    wheel.advance(kNow + 100'000);
    EXPECT_EQ(fired, 1);
}

TEST(TimerWheel, KnowsWhetherSomethingFiresBeforeATime) {
    TimerWheel wheel(kNow);
    Alarm soon([] {}), turns_away([] {});
    wheel.arm(turns_away, kNow + 512 * TimerWheel::kTick + 300);  // in the slot of what is due in 300
    EXPECT_FALSE(wheel.firesBefore(kNow + 1000));
    wheel.arm(soon, kNow + 300);
    EXPECT_FALSE(wheel.firesBefore(kNow + 300));
    EXPECT_TRUE(wheel.firesBefore(kNow + 301));
}

TEST(TimerWheel, KeepsDeadlinesThatAreManyTurnsAway) {
    TimerWheel wheel(kNow);
    int fired = 0;
    Alarm alarm([&] { ++fired; });
    const Millis half_an_hour = 31 * 60 * 1000;
    wheel.arm(alarm, kNow + half_an_hour);
    for (Millis at = kNow; at < kNow + half_an_hour; at += 7'000)
        wheel.advance(at);
    EXPECT_EQ(fired, 0);
    wheel.advance(kNow + half_an_hour + TimerWheel::kTick);
    EXPECT_EQ(fired, 1);
}

TEST(TimerWheel, ForgetsWhatIsCancelledOrDestroyed) {
    TimerWheel wheel(kNow);
    int fired = 0;
    Alarm cancelled([&] { ++fired; });
    wheel.arm(cancelled, kNow + 100);
    cancelled.cancel();
    {
        Alarm destroyed([&] { ++fired; });
        wheel.arm(destroyed, kNow + 100);
    }
    EXPECT_TRUE(wheel.empty());
    wheel.advance(kNow + 1000);
    EXPECT_EQ(fired, 0);
}

TEST(TimerWheel, LetsAHandlerCancelAnotherThatIsDueInTheSameTick) {
    TimerWheel wheel(kNow);
    int fired = 0;
    Alarm second([&] { ++fired; });
    Alarm first([&] { second.cancel(); });
    wheel.arm(first, kNow + 100);
    wheel.arm(second, kNow + 100);
    wheel.advance(kNow + 200);
    EXPECT_EQ(fired, 0);
}

TEST(TimerWheel, LetsAHandlerArmItselfAgain) {
    TimerWheel wheel(kNow);
    int fired = 0;
    Alarm* self = nullptr;
    Millis now = kNow;
    Alarm alarm([&] {
        ++fired;
        wheel.arm(*self, now + 100);
    });
    self = &alarm;
    wheel.arm(alarm, now + 100);
    for (int i = 0; i < 10; ++i)
        wheel.advance(now += 100);
    EXPECT_GE(fired, 8);
    EXPECT_LE(fired, 10);
}

TEST(TimerWheel, FiresEverythingAfterALongSleep) {
    TimerWheel wheel(kNow);
    int fired = 0;
    std::vector<std::unique_ptr<Alarm>> alarms;
    for (Millis delay = 10; delay < 60'000; delay += 500) {
        alarms.push_back(std::make_unique<Alarm>([&] { ++fired; }));
        wheel.arm(*alarms.back(), kNow + delay);
    }
    wheel.advance(kNow + 3'600'000);
    EXPECT_EQ(fired, static_cast<int>(alarms.size()));
    EXPECT_TRUE(wheel.empty());
}

}  // namespace
}  // namespace mailgate
