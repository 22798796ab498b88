// SPDX-License-Identifier: Apache-2.0
/// \file  Records of a gateway's journal that its retention removed before the fleet's database had them.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace mailgate::store {

struct MissedRecords {
    std::uint64_t records = 0;
    bool exact = true;                    ///< else they are so many at most
    std::int64_t from_ms = 0, to_ms = 0;  ///< Unix time; from: 0 where it is not known

    void add(const MissedRecords& more) noexcept;
};

/// "up to 16384 records of mx-1 from 2026-11-27T04:00:00Z to 2026-11-27T05:00:00Z"
std::string missedText(const MissedRecords& missed, std::string_view gateway);

}  // namespace mailgate::store
