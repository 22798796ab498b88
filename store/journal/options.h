// SPDX-License-Identifier: Apache-2.0
/// \file  Where the journal is, and how much of it is kept.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>

namespace mailgate::store {

/// What all records that wait for the writer may take in memory.
inline constexpr std::size_t kMaxQueuedBytes = std::size_t{64} << 20;

struct JournalOptions {
    std::string url;  ///< sqlite:PATH
    std::chrono::milliseconds keep_sessions{std::chrono::hours(24 * 90)};
    std::chrono::milliseconds keep_refused{std::chrono::hours(24 * 14)};
    std::uint64_t max_bytes = std::uint64_t{10} << 30;  ///< of the files; the oldest go first
    /// How long the host part of client addresses is kept (beyond IPv4 /24, IPv6 /48); not set: as long
    /// as the sessions.
    std::optional<std::chrono::milliseconds> mask_after;
    // Records waiting for the writer; more are dropped and counted.
    std::size_t max_queued = 100'000;
    std::size_t max_queued_bytes = kMaxQueuedBytes;
};

}  // namespace mailgate::store
