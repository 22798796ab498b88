// SPDX-License-Identifier: Apache-2.0
/// \file  Health checks of the servers of all upstreams, in their protocol.
///
/// One thread for the gateway's whole life, whatever the number of workers: a poll(2) loop over short conversations
/// (HealthDialogue). A reload gives it another plan; what it knows of an endpoint, and checks under way, stay. A
/// check sends the PROXY header that the upstream's servers expect: LOCAL in v2; in v1, where Postfix refuses
/// UNKNOWN, the gateway's own address. It always ends with an end of file, never with a reset: a reset would kill an
/// smtpd that has accepted a LOCAL header.
///
/// A server is asked every `interval`, a tenth more or less, so that gateways do not ask in step; more often
/// while its health is in doubt (see health_checker.cpp), and at once, but only once between two of its regular
/// checks, when a session failed there. A check waits as long as a client would.
#pragma once

#include "gateway/upstream/upstream_pool.h"

#include <atomic>
#include <chrono>
#include <cstdint>
#include <memory>
#include <mutex>
#include <random>
#include <string>
#include <thread>
#include <vector>

namespace mailgate {

class HealthChecker {
  public:
    /// What to check, and how.
    struct Plan {
        std::vector<std::shared_ptr<UpstreamPool>> pools;  ///< those whose configuration says `check` are
        std::string name;                                  ///< the gateway's, for EHLO
        // How long clients wait; a check waits at least as long, whatever check_timeout says.
        std::chrono::milliseconds connect{0};
        std::chrono::milliseconds greeting{0};
    };

    /// Throws std::system_error when there is no descriptor or thread to be had.
    HealthChecker();
    ~HealthChecker();
    HealthChecker(const HealthChecker&) = delete;
    HealthChecker& operator=(const HealthChecker&) = delete;

    /// Replaces the plan in force. All of its pools are told who checks them. Any thread.
    void follow(Plan plan) noexcept;
    /// Starts no more checks, lets those under way end politely (at most a second), joins. From then on
    /// nobody checks the pools.
    void stop();

  private:
    class Check;
    class Alarm;
    struct Target {
        std::shared_ptr<UpstreamPool> pool;
        std::shared_ptr<ServerEndpoint> endpoint;
        Millis due = 0;
        std::unique_ptr<Check> check;  ///< while one is under way
        enum class Extra : std::uint8_t {
            None,
            Due,
            Made
        } extra = Extra::None;  ///< since the last regular one
    };

    void run();
    bool planChanged();
    void refreshTargets(Millis now);
    void startDue(Millis now);
    void await(Millis now);
    void settle(Target& target, Millis now);
    static std::uint32_t weightOf(const Target& target, Millis waited);
    Millis delayAfter(const Target& target, bool slow_failure);
    Millis jitter(Millis interval);

    std::shared_ptr<Alarm> alarm_;
    std::mutex mutex_;
    Plan plan_;                  ///< guarded by mutex_
    bool plan_changed_ = false;  ///< likewise
    std::atomic<bool> stopping_{false};

    // The thread's own.
    Plan current_;
    std::vector<Target> targets_;
    Millis refreshed_ = 0;
    std::minstd_rand random_;

    std::thread thread_;
};

}  // namespace mailgate
