// SPDX-License-Identifier: Apache-2.0
/// \file  A thread that works with a fleet's database turn by turn, whatever becomes of that: after a turn that failed it waits
/// a while, longer each time, and an outage is told once. Internal to store/.
#pragma once

#include "store/store_error.h"

#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <functional>
#include <mutex>
#include <random>
#include <string>
#include <thread>
#include <utility>

namespace mailgate::store {

/// How the last look at the database went.
struct FleetReach {
    bool connected = false;     ///< well
    std::string failure{};      ///< empty: well
    std::int64_t since_ms = 0;  ///< Unix time since when it is connected or not; 0: it has not looked yet
};

class FleetThread {
  public:
    struct Work {
        std::function<void()> turn;  ///< again and again; what it throws ends it
        /// After a turn that failed; null: not by what the store has thrown. False: that is no outage.
        std::function<bool(const StoreError* error)> abandon;
        std::function<void()> interrupt;  ///< what a turn waits for; any thread, throws nothing
        std::function<void(const std::string& why)> lost;  ///< once, until reached()
    };

    explicit FleetThread(Work work) : work_(std::move(work)) {}
    ~FleetThread() { stop(); }
    FleetThread(const FleetThread&) = delete;
    FleetThread& operator=(const FleetThread&) = delete;

    void start();
    void stop() noexcept;
    FleetReach reach() const;  ///< any thread

    // For the turns.

    bool stops() const;
    void wait(std::chrono::milliseconds time);  ///< or until it stops
    /// The database has done what it was asked. True: that ends an outage.
    bool reached();
    /// By chance: gateways that were started together do not do everything together.
    std::chrono::milliseconds between(std::chrono::milliseconds least, std::chrono::milliseconds most);

  private:
    void run();
    void fail(const StoreError* error, const std::string& why);
    void pause();

    // Between tries while there is no database: a thousand gateways do not come back at once.
    static constexpr std::chrono::milliseconds kFirstPause{250}, kLongestPause{4'000};

    const Work work_;

    // The thread's own.
    bool is_lost_ = false;  ///< and that was told
    std::chrono::milliseconds next_pause_ = kFirstPause;
    std::minstd_rand random_{std::random_device{}()};

    mutable std::mutex mutex_;  ///< of what follows
    std::condition_variable waiting_;
    bool stopped_ = false;
    FleetReach reach_;

    std::thread thread_;
};

}  // namespace mailgate::store
