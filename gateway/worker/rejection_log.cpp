// SPDX-License-Identifier: Apache-2.0
#include "gateway/worker/rejection_log.h"

#include "gateway/base/clock.h"

#include <cstddef>
#include <utility>

namespace mailgate {
namespace {

constexpr std::size_t kRejectionSlots = 1'024;
constexpr std::size_t kRefusalSlots = 4'096;

}  // namespace

RejectionLog::RejectionLog(std::function<void(store::JournalSession&&)> record, std::uint64_t random)
    : record_(std::move(record)),
      rejections_{{kRejectionsLogged, kRejectionSlots, random}},
      handshakes_{{kRejectionsLogged, kRejectionSlots, random + 1}},
      refusals_(kRefusalsRecorded, kRefusalSlots, ~random) {}

bool RejectionLog::mayLog(const IpAddress& peer, Rejection rejection, Millis now,
                          std::uint32_t& suppressed) noexcept {
    return rejections_.mayLog(peer, static_cast<std::uint32_t>(rejection), now, suppressed);
}

bool RejectionLog::mayLog(const IpAddress& client, TlsFailure failure, Millis now,
                          std::uint32_t& suppressed) noexcept {
    return handshakes_.mayLog(client, static_cast<std::uint32_t>(failure.reason), now, suppressed);
}

bool RejectionLog::Lines::mayLog(const IpAddress& address, std::uint32_t kind, Millis now,
                                 std::uint32_t& suppressed) noexcept {
    const auto over = [&](const auto& slot) { untold += slot.held_back; };
    const bool passes = seen.add(address, kind, now, over).second;
    if (passes) suppressed = std::exchange(untold, 0);
    return passes;
}

void RejectionLog::Lines::sweep(Millis until) {
    seen.sweep(until, [&](const auto& slot) { untold += slot.held_back; });
}

std::unique_ptr<store::JournalSession>* RejectionLog::repeated(const IpAddress& client,
                                                               store::ListenerIndex listener, Refusal refusal,
                                                               Millis now) {
    const std::uint32_t kind = std::uint32_t{listener} << 8 | static_cast<std::uint32_t>(refusal);
    const auto [slot, passes] = refusals_.add(client, kind, now, [&](Refusals::Slot& over) { tell(over); });
    return passes ? nullptr : &slot->kept;
}

void RejectionLog::tell(Refusals::Slot& slot) {
    if (!slot.kept) return;
    slot.kept->repeated = slot.held_back;
    slot.kept->duration_ms = unixMillis() - slot.kept->started_ms;
    record_(std::move(*slot.kept));
    slot.kept.reset();
}

void RejectionLog::sweep(Millis until) {
    rejections_.sweep(until);
    handshakes_.sweep(until);
    refusals_.sweep(until, [&](Refusals::Slot& slot) { tell(slot); });
}

}  // namespace mailgate
