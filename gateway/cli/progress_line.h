// SPDX-License-Identifier: Apache-2.0
/// \file  How far a long command has come, for who waits at a terminal.
#pragma once

#include "store/rules/progress.h"

#include <chrono>
#include <cstddef>
#include <string>

namespace mailgate::cli {

/// "writing rules: 312,000 of 1,000,000 (250,000/s, 3 s left)"; `seconds`: since the step began.
std::string progressText(store::Progress::Step step, std::size_t done, std::size_t total, double seconds);

/// One line on standard error, renewed a few times a second from two seconds on, and gone in the end. Nothing where standard
/// error is no terminal.
class ProgressLine {
  public:
    ProgressLine();
    ~ProgressLine() { clear(); }
    ProgressLine(const ProgressLine&) = delete;
    ProgressLine& operator=(const ProgressLine&) = delete;

    /// What calls this line, which must outlive it.
    store::Progress progress();
    void clear();

  private:
    using Clock = std::chrono::steady_clock;

    void show(store::Progress::Step step, std::size_t done, std::size_t total);

    const bool terminal_;
    const Clock::time_point begin_ = Clock::now();
    store::Progress::Step step_ = store::Progress::Step::Finish;
    Clock::time_point step_began_ = begin_;
    Clock::time_point shown_at_ = begin_;
    bool shown_ = false;
};

}  // namespace mailgate::cli
