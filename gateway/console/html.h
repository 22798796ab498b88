// SPDX-License-Identifier: Apache-2.0
/// \file  HTML that is well-formed and escaped by construction: what is no literal of ours is text.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

namespace mailgate::console {

/// Fit for an element's text and for an attribute's value in double quotes. Control characters, invisible ones and those that turn the
/// direction of text show as \uXXXX; what was not UTF-8 is U+FFFD.
std::string htmlText(std::string_view text);
/// Fit for an attribute's value in double quotes that nobody sees: it is what it was.
std::string htmlValue(std::string_view text);

class Html {
  public:
    /// A literal of this program's.
    template <std::size_t N>
    Html& markup(const char (&literal)[N]) {
        html_.append(literal, N - 1);
        return *this;
    }
    Html& text(std::string_view text) {
        html_ += htmlText(text);
        return *this;
    }
    /// Of several lines, which stay so.
    Html& lines(std::string_view text);
    /// As htmlValue().
    Html& exact(std::string_view text) {
        html_ += htmlValue(text);
        return *this;
    }
    Html& add(const Html& other) {
        html_ += other.html_;
        return *this;
    }
    const std::string& str() const noexcept { return html_; }

  private:
    std::string html_;
};

}  // namespace mailgate::console
