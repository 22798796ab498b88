// SPDX-License-Identifier: Apache-2.0
/// \file  Events that repeat are reported a few times, and then only counted.
///
/// A client that connects again and again, or a port scan, must fill neither the log's disk nor the journal.
/// Addresses count by network: an IPv6 /64 is one client. Bounded: a fixed number of slots; where they do not
/// suffice, the slot that has been quiet longest is given up.
#pragma once

#include "protocols/values/address.h"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <utility>
#include <vector>

namespace mailgate {

struct RepeatLimits {
    std::uint32_t each = 0;      ///< events of one network and kind that pass in a window
    std::int64_t window_ms = 0;  ///< from its first
    std::uint32_t a_second = 0;  ///< that pass in all; 0: as many as there are
};

/// One thread. `Kept` is what a slot keeps of the first event that was held back; movable.
template <typename Kept>
class RepeatLimit {
  public:
    struct Slot {
        IpAddress network;
        std::uint32_t kind = 0;
        std::int64_t since_ms = 0;
        std::uint32_t passed = 0, held_back = 0;  ///< both 0: the slot is free
        Kept kept{};
    };

    RepeatLimit(RepeatLimits limits, std::size_t slots, std::uint64_t seed)
        : limits_(limits), slots_(slots), seed_(seed) {}

    /// Counts an event. `over(slot)` is called for a slot whose window is over, or that is given up, before it is
    /// used anew. Returns the slot, and whether the event passes.
    template <typename Over>
    std::pair<Slot*, bool> add(const IpAddress& address, std::uint32_t kind, std::int64_t now_ms, Over over) {
        Slot& slot = slotOf(networkOf(address), kind, now_ms, over);
        if (slot.passed < limits_.each && mayPass(now_ms)) {
            ++slot.passed;
            return {&slot, true};
        }
        ++slot.held_back;
        return {&slot, false};
    }

    /// Calls `over(slot)` for the slots whose window is over and frees them.
    template <typename Over>
    void sweep(std::int64_t now_ms, Over over) {
        for (Slot& slot : slots_) {
            if (!isUsed(slot) || now_ms - slot.since_ms < limits_.window_ms) continue;
            over(slot);
            slot = {};
        }
    }

    bool used() const noexcept { return std::any_of(slots_.begin(), slots_.end(), isUsed); }

    static IpAddress networkOf(IpAddress address) noexcept {
        constexpr std::size_t kNetworkBytes = 8;
        if (!address.isV4())
            for (std::size_t at = kNetworkBytes; at < address.bytes.size(); ++at)
                address.bytes[at] = 0;
        return address;
    }

  private:
    static constexpr std::size_t kWays = 4;

    static bool isUsed(const Slot& slot) noexcept { return slot.passed > 0 || slot.held_back > 0; }

    template <typename Over>
    Slot& slotOf(const IpAddress& network, std::uint32_t kind, std::int64_t now_ms, Over over) {
        std::uint64_t hash = seed_ + kind;
        for (const std::uint8_t byte : network.bytes)
            hash = (hash ^ byte) * 0x100000001B3u;
        const std::size_t first = (hash >> 20) % (slots_.size() / kWays) * kWays;
        Slot* oldest = &slots_[first];
        for (std::size_t way = 0; way < kWays; ++way) {
            Slot& slot = slots_[first + way];
            if (isUsed(slot) && slot.kind == kind && slot.network == network) {
                if (now_ms - slot.since_ms < limits_.window_ms) return slot;
                oldest = &slot;
                break;
            }
            if (isUsed(*oldest) && (!isUsed(slot) || slot.since_ms < oldest->since_ms)) oldest = &slot;
        }
        if (isUsed(*oldest)) over(*oldest);
        *oldest = {};
        oldest->network = network;
        oldest->kind = kind;
        oldest->since_ms = now_ms;
        return *oldest;
    }

    bool mayPass(std::int64_t now_ms) noexcept {
        if (limits_.a_second == 0) return true;
        constexpr std::int64_t kSecond = 1'000;
        if (now_ms - second_ms_ >= kSecond) {
            second_ms_ = now_ms;
            passed_in_second_ = 0;
        }
        if (passed_in_second_ == limits_.a_second) return false;
        ++passed_in_second_;
        return true;
    }

    RepeatLimits limits_;
    std::vector<Slot> slots_;
    std::uint64_t seed_;
    std::int64_t second_ms_ = 0;
    std::uint32_t passed_in_second_ = 0;
};

}  // namespace mailgate
