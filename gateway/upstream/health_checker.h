/// \file  Asks the servers of all upstreams whether they serve, in their protocol.
///
/// One thread for the whole gateway, whatever the number of workers: a poll(2) loop over short conversations
/// (HealthDialogue). A check sends the PROXY header that the upstream's servers expect: LOCAL in v2; in v1,
/// where Postfix refuses UNKNOWN, the gateway's own address. It always ends with an end of file, never with a
/// reset: an smtpd that took a LOCAL header dies of one.
///
/// A server is asked every `interval`, a tenth more or less, so that gateways do not ask in step; more often
/// while its health is in doubt (see health_checker.cpp).
#pragma once

#include "gateway/upstream/upstream_pool.h"

#include <atomic>
#include <memory>
#include <random>
#include <string>
#include <thread>
#include <vector>

namespace mailgate {

class HealthChecker {
  public:
    /// Watches those pools whose configuration says `check`. They must outlive the checker. `name`: the
    /// gateway's, for EHLO. Throws std::system_error when there is no descriptor to be had.
    HealthChecker(const std::vector<UpstreamPool*>& pools, std::string name);
    ~HealthChecker();
    HealthChecker(const HealthChecker&) = delete;
    HealthChecker& operator=(const HealthChecker&) = delete;

    void start();
    /// Starts no more checks, lets those under way end politely (at most a second), joins. From then on the
    /// pools are not watched.
    void stop();

  private:
    class Check;
    struct Target {
        UpstreamPool* pool = nullptr;
        std::shared_ptr<ServerEndpoint> endpoint;
        Millis due = 0;
        std::unique_ptr<Check> check;  ///< while one is under way
    };

    void run();
    void refreshTargets(Millis now);
    void startDue(Millis now);
    void await(Millis now);
    void settle(Target& target, Millis now);
    Millis delayAfter(const Target& target, bool slow_failure);
    Millis jitter(Millis interval);
    void wake() noexcept;

    std::vector<UpstreamPool*> pools_;
    std::string name_;
    std::vector<Target> targets_;
    Millis refreshed_ = 0;
    std::minstd_rand random_;
    int wake_fd_;
    std::atomic<bool> stopping_{false};
    std::thread thread_;
};

}  // namespace mailgate
