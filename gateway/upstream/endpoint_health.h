// SPDX-License-Identifier: Apache-2.0
/// \file  What is known of the health of one address of one server, and who may judge it.
///
/// It outlives reloads: the pools of all configurations in use are views of it, so what a session of an older
/// configuration sees is judged by the policy in force, and changes the health only as far as that policy allows.
///
/// Where the server is checked, the checks decide. A session's failure counts only where nobody was reached (what a
/// server says, or does not say, may be about one client); any other failure asks for one extra check. A session's
/// success never brings up an endpoint that is checked. Without checks, a failed endpoint is passed over for
/// kRetryAfter, and a session's success brings it back.
#pragma once

#include "gateway/upstream/server_failure.h"
#include "protocols/values/time.h"

#include <atomic>
#include <cstdint>
#include <functional>
#include <mutex>
#include <string>
#include <string_view>

namespace mailgate {

enum class Health : std::uint8_t {
    Unknown,  ///< nothing measured yet: in use, and the first measurement decides
    Up,
    Down,
};

class EndpointHealth {
  public:
    static constexpr Millis kRetryAfter = 1'000;

    struct Policy {
        bool checked = false;    ///< health checks decide
        std::uint32_t fall = 2;  ///< failures in a row that take it down
        std::uint32_t rise = 2;  ///< good checks in a row that bring it back
    };
    /// Called once per change, one at a time and in order. `why` is empty when it is up.
    using Report = std::function<void(Health now, std::string_view why)>;

    // Any thread; no lock unless the health changes.

    Health state() const noexcept { return state_.load(std::memory_order_relaxed); }
    /// May be given sessions like any other.
    bool usable(Millis now) const noexcept;
    /// When it came up after having been down (monotonic); 0: no slow start.
    Millis upSince() const noexcept { return up_since_.load(std::memory_order_relaxed); }
    /// Unix time of the last change; 0: none yet.
    std::int64_t changedMs() const noexcept { return changed_ms_.load(std::memory_order_relaxed); }
    /// Failed and good checks in a row.
    std::uint32_t failedChecks() const noexcept { return failed_checks_.load(std::memory_order_relaxed); }
    std::uint32_t goodChecks() const noexcept { return good_checks_.load(std::memory_order_relaxed); }
    /// Why it is down; empty while it is not.
    std::string reason() const;

    void setPolicy(const Policy& policy) noexcept;

    /// True: a check is wanted now, and was not before.
    bool sessionFailed(ServerFailure failure, Millis now, const Report& report);
    void sessionServed(const Report& report);
    /// For the checker: whether a check was wanted since it asked last.
    bool takeCheckRequest() noexcept { return check_wanted_.exchange(false, std::memory_order_relaxed); }

    void checkPassed(Millis now, const Report& report);
    /// `weight`: for how many failures it counts.
    void checkFailed(std::string_view why, std::uint32_t weight, const Report& report);

  private:
    void goDown(std::string_view why, const Report& report);
    void goUp(Millis now, const Report& report);

    std::atomic<Health> state_{Health::Unknown};
    std::atomic<bool> checked_{false};
    std::atomic<bool> check_wanted_{false};
    std::atomic<std::uint32_t> fall_{2};
    std::atomic<std::uint32_t> rise_{2};
    std::atomic<std::uint32_t> failed_sessions_{0};  ///< in a row, of those that count
    std::atomic<std::uint32_t> failed_checks_{0};
    std::atomic<std::uint32_t> good_checks_{0};
    std::atomic<Millis> failed_until_{0};  ///< monotonic; matters only without checks
    std::atomic<Millis> up_since_{0};
    std::atomic<std::int64_t> changed_ms_{0};

    mutable std::mutex changes_;  ///< changes of state_, and reason_
    std::string reason_;
};

}  // namespace mailgate
