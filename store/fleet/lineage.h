// SPDX-License-Identifier: Apache-2.0
/// \file  Which processes have written a gateway's journal to its fleet. Internal to store/.
///
/// A gateway that is started again is another process of the same gateway, and so is, by its files, one that was made as a copy of
/// another one. Both know who wrote before. The database says who does now: it is the first of two that comes, and the second one
/// does not find itself descended from that; and where the first one has come to be the copy, however often that is started again, the
/// original is still there to find itself among its ancestors.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace mailgate::store {

/// Who writes the journal of a gateway, as the database has it.
struct JournalWriter {
    std::string process;
    std::string inherited{};       ///< the one that wrote before; empty: nobody did
    std::int64_t silent_secs = 0;  ///< since it wrote last
    /// What its gateway's file said when it came, itself the last one.
    std::vector<std::string> lineage{};
};

/// What a gateway keeps of it beside its rules.
class Lineage {
  public:
    /// Empty: nothing is kept.
    explicit Lineage(std::string file) : file_(std::move(file)) {}

    /// The oldest first, of the last ones. Throws StoreError.
    std::vector<std::string> processes() const;
    /// As the last one; it is on the disk then. Throws StoreError.
    void add(const std::string& process);

  private:
    const std::string file_;
    std::vector<std::string> unkept_;
};

enum class Claim : std::uint8_t {
    Held,
    Inherited,  ///< from a process of the same gateway that is no more
    TakenBack,  ///< from a copy, or one that descends from it, which has come while this process lives
    Retired,    ///< a later process of the same gateway has come
    None,       ///< another gateway writes, or this one did later than its files know
};
/// What `process` may claim of that writer, by what its gateway remembers.
Claim claimOf(const JournalWriter& writer, const std::string& process,
              const std::vector<std::string>& lineage) noexcept;

}  // namespace mailgate::store
