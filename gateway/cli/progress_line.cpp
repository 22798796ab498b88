// SPDX-License-Identifier: Apache-2.0
#include "gateway/cli/progress_line.h"

#include <fmt/format.h>

#include <unistd.h>

#include <cmath>
#include <cstdio>

namespace mailgate::cli {

namespace {

using Step = store::Progress::Step;

std::string grouped(std::size_t number) {
    std::string text = std::to_string(number);
    for (std::size_t at = text.size(); at > 3;) {
        at -= 3;
        text.insert(at, ",");
    }
    return text;
}

std::string_view nameOf(Step step) {
    switch (step) {
        case Step::Read:
            return "reading lines";
        case Step::Compare:
            return "comparing rules";
        case Step::Write:
            return "writing rules";
        case Step::Finish:
            break;
    }
    return "finishing";
}

}  // namespace

std::string progressText(Step step, std::size_t done, std::size_t total, double seconds) {
    if (step == Step::Finish) return fmt::format("{} ...", nameOf(step));
    std::string text = fmt::format("{}: {} of {}", nameOf(step), grouped(done), grouped(total));
    if (done == 0 || seconds <= 0) return text;
    const double rate = static_cast<double>(done) / seconds;
    return text + fmt::format(" ({}/s, {} s left)", grouped(static_cast<std::size_t>(rate)),
                              std::ceil(static_cast<double>(total - done) / rate));
}

ProgressLine::ProgressLine() : terminal_(::isatty(STDERR_FILENO) == 1) {}

store::Progress ProgressLine::progress() {
    if (!terminal_) return {};
    return store::Progress(
        [this](Step step, std::size_t done, std::size_t total) { show(step, done, total); });
}

void ProgressLine::clear() {
    if (!shown_) return;
    shown_ = false;
    std::fputs("\r\x1b[K", stderr);
    std::fflush(stderr);
}

void ProgressLine::show(Step step, std::size_t done, std::size_t total) {
    constexpr std::chrono::seconds kPatience{2};
    constexpr std::chrono::milliseconds kEvery{200};
    const auto now = Clock::now();
    const bool begins = step != step_;
    if (begins) {
        step_ = step;
        step_began_ = now;
    }
    if (now - begin_ < kPatience || (!begins && now - shown_at_ < kEvery)) return;
    shown_at_ = now;
    shown_ = true;
    const std::chrono::duration<double> seconds = now - step_began_;
    fmt::print(stderr, "\r{}\x1b[K", progressText(step, done, total, seconds.count()));
    std::fflush(stderr);
}

}  // namespace mailgate::cli
