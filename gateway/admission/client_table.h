// SPDX-License-Identifier: Apache-2.0
/// \file  How many sessions each client has, and how fast new ones come, over all workers.
///
/// A client is an original address, or the network around it that one party holds (an IPv6 /64), on one listener. The
/// table's size is fixed: when an attacker comes from more networks than it has room for, clients without a session
/// are forgotten first. It is the only thing on a session's path that the workers share: a mutex for each part of the
/// table is held for some tens of nanoseconds, and only by sessions that a limit applies to.
#pragma once

#include "protocols/values/network.h"
#include "protocols/values/time.h"

#include <array>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <memory>
#include <mutex>
#include <string_view>
#include <utility>

namespace mailgate {

class ClientTable {
  public:
    /// 0: without limit.
    struct Limits {
        std::uint32_t sessions = 0;
        std::uint32_t per_minute = 0;  ///< as many may also come at once

        bool any() const noexcept { return sessions != 0 || per_minute != 0; }
    };
    enum class Verdict : std::uint8_t { Admitted, TooManySessions, TooFast };

    /// Counts a session until it is destroyed. The table must outlive it.
    class Ticket {
      public:
        Ticket() = default;
        Ticket(Ticket&& other) noexcept : table_(std::exchange(other.table_, nullptr)), slot_(other.slot_) {}
        Ticket& operator=(Ticket&& other) noexcept {
            std::swap(table_, other.table_);
            std::swap(slot_, other.slot_);
            return *this;
        }
        ~Ticket() {
            if (table_) table_->leave(slot_);
        }

      private:
        friend class ClientTable;
        ClientTable* table_ = nullptr;
        std::uint32_t slot_ = 0;
    };

    /// `most_sessions`: how many there can be at once, of all clients. Memory is touched as it is needed.
    explicit ClientTable(std::size_t most_sessions);
    ~ClientTable() = default;
    ClientTable(const ClientTable&) = delete;
    ClientTable& operator=(const ClientTable&) = delete;

    /// Whether one more session of the client fits into the limits; then `ticket` counts it. `now`: the
    /// monotonic clock. Any thread.
    Verdict admit(const Network& client, std::string_view listener, const Limits& limits, Millis now,
                  Ticket& ticket);

  private:
    struct Slot {
        AddressBytes client;
        std::int64_t full_until;  ///< microseconds; the rate's account is level again then (GCRA)
        std::uint32_t listener;   ///< a hash of its name and of the client's prefix length
        std::uint32_t sessions;
    };
    struct Free {
        void operator()(Slot* slots) const noexcept { std::free(slots); }
    };
    struct alignas(64) Part {
        std::mutex mutex;
    };
    static constexpr std::size_t kBucket = 8;  ///< slots that a client may be in
    static constexpr std::size_t kParts = 64;

    std::size_t bucketOf(const AddressBytes& client, std::uint32_t listener) const noexcept;
    Slot* find(std::size_t bucket, const AddressBytes& client, std::uint32_t listener) noexcept;
    std::mutex& mutexOf(std::size_t slot) noexcept { return parts_[slot / kBucket % kParts].mutex; }
    void leave(std::uint32_t slot) noexcept;

    std::size_t buckets_;  ///< a power of two
    std::unique_ptr<Slot[], Free> slots_;
    std::array<std::uint64_t, 2> secret_;  ///< so that nobody can aim at a bucket
    std::array<Part, kParts> parts_;
};

}  // namespace mailgate
