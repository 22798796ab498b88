// SPDX-License-Identifier: Apache-2.0
/// \file  Eight bytes of a text at once: whether one of them is wanted.
///
/// The known trick: a subtraction borrows through the highest bit of a byte. What is found is true, but not where.
#pragma once

#include <cstdint>
#include <cstring>
#include <string_view>

namespace mailgate::byte_words {

inline constexpr std::uint64_t kOnes = 0x0101'0101'0101'0101;
inline constexpr std::uint64_t kHighBits = 0x80 * kOnes;

/// `text` has that many.
inline std::uint64_t load(std::string_view text, std::size_t at) noexcept {
    std::uint64_t word = 0;
    std::memcpy(&word, text.data() + at, sizeof word);
    return word;
}

// Marks, of which any() tells whether there is one.
constexpr std::uint64_t below(std::uint64_t word, std::uint8_t least) noexcept {
    return (word - least * kOnes) & ~word;
}
constexpr std::uint64_t equal(std::uint64_t word, char byte) noexcept {
    return below(word ^ static_cast<std::uint8_t>(byte) * kOnes, 1);
}
constexpr bool any(std::uint64_t marks) noexcept {
    return (marks & kHighBits) != 0;
}

}  // namespace mailgate::byte_words
