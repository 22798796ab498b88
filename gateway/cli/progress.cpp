// SPDX-License-Identifier: Apache-2.0
#include "gateway/cli/progress.h"

#include "gateway/base/signals_blocked.h"
#include "gateway/cli/screen.h"
#include "gateway/cli/table.h"

#include <fmt/format.h>

#include <sys/ioctl.h>

#include <algorithm>
#include <cmath>
#include <utility>

namespace mailgate::cli {

namespace {

/// What replaces itself does so by "back to the first column" and "erase the rest".
constexpr std::string_view kErased = "\r\x1b[K";

bool canReplaceLine(int terminal) {
    return ::isatty(terminal) != 0 && !isDumb();
}

/// Of the patience what is left when a command has had others before, each of them too short to be shown; not so little that
/// what is done at once would flash.
std::chrono::milliseconds leftOf(std::chrono::milliseconds patience) {
    using std::chrono::milliseconds;
    constexpr milliseconds kLeast{250};
    const static auto first_began = std::chrono::steady_clock::now();
    const auto since =
        std::chrono::duration_cast<milliseconds>(std::chrono::steady_clock::now() - first_began);
    return std::min(patience, std::max(kLeast, patience - since));
}

/// A line that wraps could not be taken away.
std::size_t roomOn(int terminal) {
    winsize size{};
    const bool known = ::ioctl(terminal, TIOCGWINSZ, &size) == 0 && size.ws_col > 1;
    return (known ? size.ws_col : 80u) - 1u;
}

}  // namespace

std::string progressText(std::string_view what, std::uint64_t done, std::uint64_t total,
                         std::chrono::milliseconds since) {
    std::string text = fmt::format("{}: ", what);
    if (total > 0) {
        done = std::min(done, total);
        const double part = static_cast<double>(done) / static_cast<double>(total);
        text += fmt::format("{} of {}, {} %, ", grouped(done), grouped(total), static_cast<int>(100 * part));
        if (done > 0 && since.count() > 0) {
            const double seconds = std::chrono::duration<double>(since).count();
            return text +
                   fmt::format("{}/s, {:.0f} s left",
                               grouped(static_cast<std::uint64_t>(static_cast<double>(done) / seconds)),
                               std::ceil(seconds / part - seconds));
        }
    } else if (done > 0) {
        text += grouped(done) + ", ";
    }
    return text + fmt::format("{} s", std::chrono::duration_cast<std::chrono::seconds>(since).count());
}

std::atomic<Progress*> Progress::innermost = nullptr;

Progress::Pause::Pause() {
    Progress* const shown = innermost;
    if (shown == nullptr) return;
    silent_ = std::unique_lock(shown->mutex_);
    shown->erase();
}

Progress::Progress(std::string what, std::uint64_t total, int terminal, std::chrono::milliseconds patience)
    : terminal_(terminal), total_(total), what_(std::move(what)) {
    if (!canReplaceLine(terminal)) return;
    patience = leftOf(patience);
    outer_ = innermost;
    std::unique_lock<std::mutex> outer_is_silent;
    if (outer_ != nullptr) {
        outer_is_silent = std::unique_lock(outer_->mutex_);
        if (outer_->is_seen_) patience = {};  // who waits has waited already
        outer_->erase();
    }
    // The thread may not be had: then nobody is to know of this one.
    const std::lock_guard untold(mutex_);
    const SignalsBlocked blocked;  // they are the command's thread's
    printer_ = std::thread([this, patience] { run(patience); });
    innermost = this;
}

Progress::~Progress() {
    if (!printer_.joinable()) return;
    {
        const std::lock_guard lock(mutex_);
        is_over_ = true;
    }
    ended_.notify_one();
    printer_.join();
    innermost = outer_;
}

void Progress::begin(std::string what, std::uint64_t total) {
    const std::lock_guard lock(mutex_);
    what_ = std::move(what);
    outOf(total);
    began_ = std::chrono::steady_clock::now();
    at(0);
}

void Progress::run(std::chrono::milliseconds patience) {
    constexpr std::chrono::milliseconds kRhythm{250};
    std::unique_lock lock(mutex_);
    if (ended_.wait_for(lock, patience, [this] { return is_over_; })) return;
    do {
        if (innermost != this) continue;
        const auto since =
            std::chrono::duration_cast<std::chrono::milliseconds>(std::chrono::steady_clock::now() - began_);
        const std::string text = progressText(what_, done_.load(std::memory_order_relaxed),
                                              total_.load(std::memory_order_relaxed), since);
        print(std::string(kErased) + clipped(text, roomOn(terminal_), Letters::Ascii));
        is_seen_ = true;
    } while (!ended_.wait_for(lock, kRhythm, [this] { return is_over_; }));
    erase();
}

void Progress::erase() noexcept {
    if (is_seen_) print(kErased);
    is_seen_ = false;
}

/// As a whole; what the terminal does not take is no loss.
void Progress::print(std::string_view text) const noexcept {
    [[maybe_unused]] const ssize_t written = ::write(terminal_, text.data(), text.size());
}

}  // namespace mailgate::cli
