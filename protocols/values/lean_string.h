// SPDX-License-Identifier: Apache-2.0
/// \file  A text for what most of its owners never have: one pointer as long as it is empty.
///
/// Reads as a std::string_view, and is replaced as a whole.
#pragma once

#include <cstddef>
#include <cstring>
#include <memory>
#include <string_view>
#include <utility>

namespace mailgate {

class LeanString {
  public:
    LeanString() noexcept = default;
    LeanString(std::string_view text) { *this = text; }
    LeanString(const char* text) : LeanString(std::string_view(text)) {}
    LeanString(LeanString&&) noexcept = default;
    LeanString& operator=(LeanString&&) noexcept = default;
    LeanString(const LeanString& other) : LeanString(other.view()) {}
    LeanString& operator=(const LeanString& other) { return *this = other.view(); }
    /// `text` may be a part of this. Throws std::bad_alloc, and is as it was then.
    LeanString& operator=(std::string_view text) {
        std::unique_ptr<char[]> bytes;
        if (const std::size_t size = text.size(); size != 0) {
            bytes.reset(new char[sizeof size + size]);
            std::memcpy(bytes.get(), &size, sizeof size);
            std::memcpy(bytes.get() + sizeof size, text.data(), size);
        }
        bytes_ = std::move(bytes);
        return *this;
    }
    LeanString& operator=(const char* text) { return *this = std::string_view(text); }
    ~LeanString() = default;

    std::string_view view() const noexcept {
        if (!bytes_) return {};
        std::size_t size = 0;
        std::memcpy(&size, bytes_.get(), sizeof size);
        return {bytes_.get() + sizeof size, size};
    }
    operator std::string_view() const noexcept { return view(); }
    bool empty() const noexcept { return !bytes_; }
    std::size_t size() const noexcept { return view().size(); }
    void clear() noexcept { bytes_.reset(); }

    friend bool operator==(const LeanString& one, std::string_view other) noexcept {
        return one.view() == other;
    }

  private:
    std::unique_ptr<char[]> bytes_;  ///< its length and its text; null: empty
};

}  // namespace mailgate
