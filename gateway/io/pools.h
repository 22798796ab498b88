// SPDX-License-Identifier: Apache-2.0
/// \file  Blocks and pipes that sessions borrow while bytes are under way. One of each pool per worker, no locks.
#pragma once

#include "gateway/io/transport.h"
#include "protocols/stream/stream_filter.h"

#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

namespace mailgate {

/// As much as one read takes.
inline constexpr std::size_t kReadBytes = std::size_t{64} << 10;
/// The most that a filter makes of one read (protocols/stream/stream_filter.h), so that what the other side does not
/// take always fits. Memory that was never written to is not resident.
inline constexpr std::size_t kBlockBytes = 2 * kReadBytes + kMaxEditBytes;

/// Bytes that were read and could not be written on yet.
struct Block {
    std::uint32_t begin = 0;
    std::uint32_t end = 0;
    std::uint32_t unseen = 0;  ///< at its end: what a filter has left over
    Rest rest = Rest::Hold;    ///< what `unseen` waits for
    char bytes[kBlockBytes];
};

class BlockPool {
  public:
    /// Null when there is no memory.
    std::unique_ptr<Block> borrow() noexcept;
    void giveBack(std::unique_ptr<Block> block) noexcept;

  private:
    static constexpr std::size_t kKept = 32;
    std::vector<std::unique_ptr<Block>> free_;
};

class PipePool {
  public:
    ~PipePool();
    PipePool() = default;
    PipePool(const PipePool&) = delete;
    PipePool& operator=(const PipePool&) = delete;

    /// Null when the kernel gives no more: the caller copies instead.
    std::unique_ptr<Pipe> borrow() noexcept;
    /// A pipe that is not empty is closed, never handed to another session.
    void giveBack(std::unique_ptr<Pipe> pipe) noexcept;

  private:
    static constexpr std::size_t kKept = 16;
    std::vector<std::unique_ptr<Pipe>> free_;
};

}  // namespace mailgate
