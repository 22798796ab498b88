// SPDX-License-Identifier: Apache-2.0
/// \file  Records in one piece of memory, as they wait for the writer.
///
/// A record is a dozen texts. Handed over as they are, each would be taken from the heap by a worker and given back by the
/// writer's thread; here they are copied, by the list of fields, into memory that is used again and again. Not thread-safe.
#pragma once

#include "store/journal/record.h"

#include <cstddef>
#include <string>
#include <utility>

namespace mailgate::store::journal {

class PackedRecords {
  public:
    /// Behind those that are there. Throws std::bad_alloc, and then nothing has changed.
    void add(const JournalSession& record);
    void append(const PackedRecords& others);

    /// The records from `place` on, one after the other; `place` moves along, and begins at 0. `into`: what was in there
    /// is gone, but for its memory. May throw std::bad_alloc; then `place` has not moved.
    void read(std::size_t& place, JournalSession& into) const;
    bool isEnd(std::size_t place) const noexcept { return place == bytes_.size(); }

    std::size_t count() const noexcept { return count_; }
    bool empty() const noexcept { return count_ == 0; }
    std::size_t bytes() const noexcept { return bytes_.size(); }

    /// Keeps some memory for the next ones.
    void clear() noexcept;
    void swap(PackedRecords& other) noexcept {
        bytes_.swap(other.bytes_);
        std::swap(count_, other.count_);
    }

  private:
    std::string bytes_;
    std::size_t count_ = 0;
};

}  // namespace mailgate::store::journal
