// SPDX-License-Identifier: Apache-2.0
#include "protocols/smtp/message_screen.h"

#include <algorithm>
#include <cstring>
#include <utility>

namespace mailgate::smtp {

namespace {

/// The input of one call: what has been looked at goes on in one piece, as far as it can.
class Cursor {
  public:
    Cursor(std::string_view input, Output& out, std::uint64_t& size) noexcept
        : input_(input), out_(out), size_(size) {}

    void passUpTo(std::size_t at) {
        out_.pass(at - done_);
        size_ += at - done_;
        done_ = at;
    }
    void writeAt(std::size_t at, std::string_view text) {
        if (at > done_) passUpTo(at);
        out_.write(text);
        size_ += text.size();
    }
    void dropOne() {
        out_.drop(1);
        ++done_;
    }
    std::string_view left() const noexcept { return input_.substr(done_); }

  private:
    std::string_view input_;
    Output& out_;
    std::uint64_t& size_;
    std::size_t done_ = 0;
};

/// Where the first line begins that is not plain: without a dot at its front, and with CR LF at its end only. A line
/// begins at `at`. Nearly all lines are, and what follows a line end is then as it was before.
std::size_t behindPlainLines(std::string_view input, std::size_t at) noexcept {
    while (at < input.size() && input[at] != '.') {
        const std::size_t cr = input.find('\r', at);
        if (cr == std::string_view::npos || cr + 1 == input.size() || input[cr + 1] != '\n') break;
        if (std::memchr(input.data() + at, '\n', cr - at)) break;
        at = cr + 2;
    }
    return at;
}

constexpr std::size_t kDotLineBytes = 3;
/// A smuggler says all of it at once.
constexpr std::size_t kMaxRemembered = std::size_t{16} << 10;

}  // namespace

void MessageScreen::start() noexcept {
    size_ = 0;
    forgetOddEnd();
    // The CRLF of the DATA line counts: an empty message is the dot line alone (RFC 5321 4.1.1.4).
    before_ = Before::CrLf;
}

/// The dot follows what some server takes for a line end.
MessageScreen::Dot MessageScreen::judgeDot(std::string_view from_dot) const noexcept {
    if (from_dot.size() < 2) return Dot::Undecided;
    const char next = from_dot[1];
    if (before_ == Before::CrLf && next == '\r') {
        if (from_dot.size() < kDotLineBytes) return Dot::Undecided;
        if (from_dot[2] == '\n') return Dot::End;
    }
    return next == '\r' || next == '\n' || next == '\0' ? Dot::Odd : Dot::Plain;
}

void MessageScreen::remember(std::string_view passed) {
    if (!odd_size_) return;
    if (after_odd_end_.size() + passed.size() > kMaxRemembered) return forgetOddEnd();
    after_odd_end_ += passed;
}

std::string MessageScreen::takeAfterOddEnd() noexcept {
    odd_size_.reset();
    return std::exchange(after_odd_end_, std::string());
}

MessageScreen::Progress MessageScreen::read(std::string_view& bytes, Output& out) {
    const std::string_view input = bytes;
    Cursor cursor(input, out, size_);
    std::size_t at = 0;
    std::size_t lf = 0;   // looked for when it is not behind `at`
    std::size_t odd = 0;  // what is to be remembered begins here
    const auto stop = [&](std::size_t passed, Progress progress) {
        remember(input.substr(odd, passed - odd));
        cursor.passUpTo(passed);
        bytes = cursor.left();
        return progress;
    };
    while (at < input.size()) {
        if (before_ == Before::CrLf) at = behindPlainLines(input, at);
        if (at == input.size()) break;
        if (input[at] == '.' && before_ != Before::Text) {
            const Dot dot = judgeDot(input.substr(at));
            if (dot == Dot::Undecided) return stop(at, Progress::Going);
            if (dot == Dot::End) {
                size_ -= kDotLineBytes;
                return stop(at + kDotLineBytes, Progress::Over);
            }
            if (dot == Dot::Odd && policy_ == BareLfPolicy::Reject) return stop(at + 1, Progress::Refused);
            if (dot == Dot::Odd && policy_ == BareLfPolicy::Normalize) {
                edited_ = true;
                cursor.writeAt(at, ".");
            }
            if (dot == Dot::Odd && policy_ == BareLfPolicy::Pass && !odd_size_) {
                cursor.passUpTo(at);
                odd_size_ = size_;
                odd = at + 1;
            }
            before_ = Before::Text;
            ++at;
            continue;
        }
        if (lf <= at) lf = input.find('\n', at);
        const std::size_t end = std::min(lf, input.size());
        const std::size_t cr = std::min(input.substr(at, end - at).find('\r'), end - at) + at;
        if (cr < end && (cr + 1 < end || lf == std::string_view::npos)) {
            before_ = Before::Cr;  // the LF is not what comes next, or has not come yet
            at = cr + 1;
            continue;
        }
        if (lf == std::string_view::npos) {
            before_ = Before::Text;
            break;
        }
        const bool bare = at == end ? before_ != Before::Cr : cr == end;
        if (bare && policy_ == BareLfPolicy::Reject) return stop(lf, Progress::Refused);
        if (bare && policy_ == BareLfPolicy::Normalize) {
            edited_ = true;
            cursor.writeAt(lf, "\r\n");
            cursor.dropOne();
        }
        before_ = bare ? Before::Lf : Before::CrLf;
        at = lf + 1;
    }
    return stop(input.size(), Progress::Going);
}

}  // namespace mailgate::smtp
