// SPDX-License-Identifier: Apache-2.0
/// \file  Which table and which key a record has (store/journal/sqlite/schema.h). Internal to store/.
#pragma once

#include "store/journal/backend.h"
#include "store/journal/record.h"

#include <array>
#include <cstddef>
#include <cstdint>
#include <string_view>

namespace mailgate::store::journal {

constexpr unsigned kRowBits = 14;
constexpr unsigned kMailBits = 8;
constexpr std::int64_t kRowsPerSegment = std::int64_t{1} << kRowBits;
static_assert(static_cast<std::uint64_t>(kRowsPerSegment) == kMostInPiece);
static_assert(kMaxMailKept == std::size_t{1} << kMailBits);

constexpr std::int64_t firstKey(std::int64_t segment) noexcept {
    return segment << kRowBits;
}
constexpr std::int64_t lastKey(std::int64_t segment) noexcept {
    return firstKey(segment) + kRowsPerSegment - 1;
}
constexpr std::uint16_t rowOf(std::int64_t key) noexcept {
    return static_cast<std::uint16_t>(key & (kRowsPerSegment - 1));
}

using Kind = JournalKind;
inline constexpr std::array<Kind, 3> kKinds{Kind::Session, Kind::Refused, Kind::Mail};
constexpr std::size_t index(Kind kind) noexcept {
    return static_cast<std::size_t>(kind);
}
constexpr std::string_view tableOf(Kind kind) noexcept {
    constexpr std::array<std::string_view, kKinds.size()> kTables{"session", "refused", "further_mail"};
    return kTables[index(kind)];
}

/// SQL condition for a row of any of these tables: the server refused a login. Before version 3 only the last
/// login was known.
constexpr std::string_view kFailedLogin = "(failed_logins > 0 OR (authenticated = 0 AND user <> ''))";

}  // namespace mailgate::store::journal
