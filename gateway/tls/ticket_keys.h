// SPDX-License-Identifier: Apache-2.0
/// \file  The keys that session tickets are sealed with (RFC 5077, RFC 8446 4.6.1): a client that comes back shows
/// one, and saves both ends the signature.
///
/// The current key seals; tickets of the one before it are still taken, and answered with a new one. They change
/// every twelve hours, so that what was recorded cannot be read with a key found later: one whose tickets are not taken any more is
/// overwritten. They are shared by all workers. Where several gateways share keys one of those seals as long as there is one for the time, so that a ticket
/// is good at each of them. Any thread.
#pragma once

#include "protocols/values/time.h"

#include <array>
#include <cstdint>
#include <functional>
#include <mutex>
#include <optional>
#include <span>
#include <vector>

namespace mailgate {

struct TicketKey {
    std::array<unsigned char, 16> name;  ///< in the clear, in front of each ticket
    std::array<unsigned char, 32> cipher;
    std::array<unsigned char, 32> mac;

    TicketKey() noexcept;  ///< all zero
    ~TicketKey();          ///< overwrites it
    TicketKey(const TicketKey&) = default;
    TicketKey& operator=(const TicketKey&) = default;

    /// Nothing: the system gives no random bytes.
    static std::optional<TicketKey> random() noexcept;
};

/// One that several gateways have. It seals from `from` on for TicketKeys::kLifetime, and opens for two more; before, too, as
/// their clocks may differ.
struct SharedTicketKey {
    UnixSeconds from = 0;
    TicketKey key;
};

class TicketKeys {
  public:
    static constexpr UnixSeconds kLifetime = UnixSeconds{12} * 3600;

    /// Throws TlsError when the system gives no random bytes.
    explicit TicketKeys(std::function<UnixSeconds()> clock);
    TicketKeys(const TicketKeys&) = delete;
    TicketKeys& operator=(const TicketKeys&) = delete;

    UnixSeconds now() const { return clock_(); }

    /// Nothing: the system gives no random bytes, and no ticket is to be made.
    std::optional<TicketKey> current() noexcept;
    /// How many there are in memory.
    std::size_t size() const noexcept;

    struct Found {
        TicketKey key;
        bool previous;  ///< the ticket is good, and a newer one is due
    };
    std::optional<Found> find(std::span<const unsigned char, 16> name) noexcept;

    /// In place of those that were shared before; in any order, and at most one for a time.
    void share(std::vector<SharedTicketKey> keys) noexcept;
    /// How long there is a shared one that seals; none: there is none now.
    std::optional<UnixSeconds> sharedUntil() const noexcept;

  private:
    void forgetOld(UnixSeconds now) noexcept;
    bool rotate(UnixSeconds now) noexcept;
    const TicketKey* sharedAt(UnixSeconds time) const noexcept;

    std::function<UnixSeconds()> clock_;
    mutable std::mutex mutex_;
    // The gateway's own; made when one has to seal.
    std::optional<TicketKey> current_, previous_;
    UnixSeconds made_ = 0;  ///< current_
    std::vector<SharedTicketKey> shared_;
};

}  // namespace mailgate
