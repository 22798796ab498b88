// SPDX-License-Identifier: Apache-2.0
/// \file  Session ids: ULIDs. 48 bits of milliseconds and 80 random bits, as 26 characters of Crockford's
/// base 32; ids sort by time and are unique over gateways without any of them knowing the others.
#pragma once

#include <array>
#include <cstdint>
#include <random>
#include <string_view>

namespace mailgate {

class SessionId {
  public:
    static constexpr std::size_t kLength = 26;

    SessionId() noexcept { text_.fill('0'); }
    explicit SessionId(const std::array<char, kLength>& text) noexcept : text_(text) {}
    std::string_view text() const noexcept { return {text_.data(), text_.size()}; }

  private:
    std::array<char, kLength> text_;
};

/// One per worker.
class SessionIds {
  public:
    /// Not predictable from outside.
    std::uint64_t random() { return random_(); }

    SessionIds() : random_(std::random_device{}() | (std::uint64_t{std::random_device{}()} << 32)) {}

    SessionId next(std::int64_t unix_millis) noexcept {
        constexpr char kAlphabet[] = "0123456789ABCDEFGHJKMNPQRSTVWXYZ";
        std::array<char, SessionId::kLength> id;
        auto time = static_cast<std::uint64_t>(unix_millis);
        for (int i = 9; i >= 0; --i, time >>= 5)
            id[static_cast<std::size_t>(i)] = kAlphabet[time & 31];
        for (std::size_t i = 10; i < SessionId::kLength; i += 8) {
            std::uint64_t bits = random_();
            for (std::size_t j = i; j < i + 8; ++j, bits >>= 5)
                id[j] = kAlphabet[bits & 31];
        }
        return SessionId(id);
    }

  private:
    std::mt19937_64 random_;
};

}  // namespace mailgate
