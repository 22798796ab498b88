// SPDX-License-Identifier: Apache-2.0
/// \file  Do most of a listener's clients have one and the same private address?
///
/// Boyer and Moore's majority vote in one word that all workers share: it needs no lock, and takes no longer with
/// many workers than with one.
#pragma once

#include "protocols/values/address.h"

#include <atomic>
#include <cstdint>

namespace mailgate {

/// Addresses that no client on the internet has (RFC 1918, 6598, 3927, 4193, 4291).
bool isPrivate(const IpAddress& address) noexcept;

class AddressVote {
  public:
    static constexpr std::uint32_t kVotes = 50;  ///< in one count
    enum class Result : std::uint8_t { Open, OneAddress, ManyAddresses };

    /// Counts a client. Result::OneAddress: most clients have this client's address. Any thread.
    Result add(const IpAddress& client) noexcept;

  private:
    /// The candidate's hash (32 bits), by how much it leads (16), all votes (16).
    std::atomic<std::uint64_t> state_{0};
};

}  // namespace mailgate
