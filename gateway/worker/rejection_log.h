// SPDX-License-Identifier: Apache-2.0
/// \file  Rejections, refusals and failed handshakes that repeat: a few of each are reported one by one, the others counted
/// (repeat_limit.h). The numbers are in docs/log.md.
#pragma once

#include "gateway/session/counters.h"
#include "gateway/tls/failure.h"
#include "gateway/worker/repeat_limit.h"
#include "protocols/refusal.h"
#include "protocols/values/address.h"
#include "protocols/values/time.h"
#include "store/journal/journal.h"
#include "store/rules/table.h"

#include <cstdint>
#include <functional>
#include <memory>

namespace mailgate {

/// Of one thread. `now`: the monotonic clock.
class RejectionLog {
  public:
    static constexpr RepeatLimits kRejectionsLogged{.each = 10, .window_ms = 10'000, .a_second = 50};
    static constexpr RepeatLimits kRefusalsRecorded{.each = 20, .window_ms = 60'000, .a_second = 0};

    /// `record`: takes the record that stands for the refusals of one window. `random`: not predictable from outside.
    RejectionLog(std::function<void(store::JournalSession&&)> record, std::uint64_t random);

    /// Whether a rejection of `peer` is worth a line of its own; `suppressed` is then how many were not,
    /// since the last.
    bool mayLog(const IpAddress& peer, Rejection rejection, Millis now, std::uint32_t& suppressed) noexcept;

    /// The same for TLS handshakes that failed.
    bool mayLog(const IpAddress& client, TlsFailure failure, Millis now, std::uint32_t& suppressed) noexcept;

    /// Null: this refusal has a record of its own. Else it is counted, and where nothing is kept yet its record is to
    /// be put there.
    std::unique_ptr<store::JournalSession>* repeated(const IpAddress& client, store::ListenerIndex listener,
                                                     Refusal refusal, Millis now);

    /// Reports those whose time is over by `until`.
    void sweep(Millis until);
    /// Something is left for a later sweep().
    bool used() const noexcept {
        return rejections_.seen.used() || handshakes_.seen.used() || refusals_.used();
    }

  private:
    struct Nothing {};
    /// Events that have lines alone.
    struct Lines {
        bool mayLog(const IpAddress& address, std::uint32_t kind, Millis now,
                    std::uint32_t& suppressed) noexcept;
        void sweep(Millis until);

        RepeatLimit<Nothing> seen;
        std::uint32_t untold = 0;
    };
    using Refusals = RepeatLimit<std::unique_ptr<store::JournalSession>>;

    void tell(Refusals::Slot& slot);

    std::function<void(store::JournalSession&&)> record_;
    Lines rejections_;
    Lines handshakes_;
    Refusals refusals_;
};

}  // namespace mailgate
