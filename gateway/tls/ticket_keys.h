// SPDX-License-Identifier: Apache-2.0
/// \file  The keys that session tickets are sealed with (RFC 5077, RFC 8446 4.6.1): a client that comes back shows
/// one, and saves both ends the signature.
///
/// The current key seals; tickets of the one before it are still taken, and answered with a new one. They change
/// every twelve hours, so that what was recorded cannot be read with a key found later, and are shared by all
/// workers. Any thread.
#pragma once

#include "protocols/values/time.h"

#include <array>
#include <cstdint>
#include <functional>
#include <mutex>
#include <optional>
#include <span>

namespace mailgate {

struct TicketKey {
    std::array<unsigned char, 16> name;  ///< in the clear, in front of each ticket
    std::array<unsigned char, 32> cipher;
    std::array<unsigned char, 32> mac;

    TicketKey() noexcept;  ///< all zero
    ~TicketKey();          ///< overwrites it
    TicketKey(const TicketKey&) = default;
    TicketKey& operator=(const TicketKey&) = default;
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

    struct Found {
        TicketKey key;
        bool previous;  ///< the ticket is good, and a newer one is due
    };
    std::optional<Found> find(std::span<const unsigned char, 16> name) noexcept;

  private:
    bool rotate() noexcept;

    std::function<UnixSeconds()> clock_;
    std::mutex mutex_;
    TicketKey current_, previous_;
    UnixSeconds made_ = 0;
    bool has_previous_ = false;
};

}  // namespace mailgate
