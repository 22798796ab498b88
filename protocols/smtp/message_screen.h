// SPDX-License-Identifier: Apache-2.0
/// \file  A message after DATA: its end, and line ends that servers read in different ways.
///
/// CR LF . CR LF ends it and nothing else (RFC 5321 2.3.8, 4.1.1.4). Servers that take more for an end (a bare LF
/// around the dot, several CRs before an LF, a bare CR) would let a client smuggle mail: to them such a line is sent on
/// as content, or not at all; where it passes as it came (BareLfPolicy::Pass), what follows it is remembered for a
/// while, as the commands that it is to such a server. Costs two memchr() a line.
#pragma once

#include "protocols/stream/stream_filter.h"

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace mailgate::smtp {

class MessageScreen {
  public:
    enum class Progress : std::uint8_t {
        Going,   ///< what is left of the bytes is not decided: show it again with more
        Over,    ///< the final dot line went on
        Refused  ///< what is left begins with what must not go on (BareLfPolicy::Reject)
    };

    explicit MessageScreen(BareLfPolicy policy) noexcept : policy_(policy) {}

    void start() noexcept;
    /// Writes what may go on of `bytes` to `out`, and removes it from their front. Throws std::bad_alloc.
    Progress read(std::string_view& bytes, Output& out);
    /// Bytes that went on, dots still stuffed, without the final dot line.
    std::uint64_t size() const noexcept { return size_; }
    /// A message has not gone on as it came (BareLfPolicy::Normalize).
    bool edited() const noexcept { return edited_; }

    /// Whether a line has passed that some servers take for the end, and all that came after it is still remembered.
    bool passedOddEnd() const noexcept { return odd_size_.has_value(); }
    std::uint64_t sizeAtOddEnd() const noexcept { return odd_size_.value_or(0); }
    /// Returns what came after it, and forgets it.
    std::string takeAfterOddEnd() noexcept;
    void forgetOddEnd() noexcept {
        if (odd_size_) takeAfterOddEnd();
    }

  private:
    enum class Before : std::uint8_t { Text, Cr, Lf, CrLf };
    enum class Dot : std::uint8_t { Undecided, Plain, Odd, End };

    Dot judgeDot(std::string_view from_dot) const noexcept;
    void remember(std::string_view passed);

    std::uint64_t size_ = 0;
    std::optional<std::uint64_t> odd_size_;  ///< what size() was at the first odd end
    std::string after_odd_end_;
    const BareLfPolicy policy_;
    bool edited_ = false;
    Before before_ = Before::CrLf;  ///< what the bytes so far end in, as they came
};

}  // namespace mailgate::smtp
