// SPDX-License-Identifier: Apache-2.0
/// \file  How far a long command is: one line on standard error that replaces itself, where that is a terminal.
#pragma once

#include <unistd.h>

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <mutex>
#include <string>
#include <string_view>
#include <thread>
#include <utility>

namespace mailgate::cli {

/// "writing rules: 120,000 of 1,000,000, 12 %, 17,142/s, 52 s left", before anything is done "writing rules: 0 of 1,000,000,
/// 0 %, 7 s"; without a total "exporting rules: 120,000, 7 s", without a count "asking postfix/mx1: 7 s".
std::string progressText(std::string_view what, std::uint64_t done, std::uint64_t total,
                         std::chrono::milliseconds since);

/// For the time of its life. Nothing is printed before two seconds are over since the first one began, nor where the line would be in the way:
/// into a pipe, a file, a dumb terminal. The line is taken away at the end, whatever ends it. Since another thread
/// prints, a command that waits for one long statement of a database or for the network has its line too.
///
/// Nothing else may print to the terminal meanwhile, unless under a Pause. Of several, one inside the other, the innermost has
/// the line. They are made, and counts come, on one thread, which makes neither one nor a further Pause under a Pause.
class Progress {
  public:
    /// For the time of its life there is no line, so that something else can be printed.
    class Pause {
      public:
        Pause();
        Pause(const Pause&) = delete;
        Pause& operator=(const Pause&) = delete;

      private:
        std::unique_lock<std::mutex> silent_;
    };

    /// `what` says what is going on, in words of ours: "exporting rules". `total`: of what is counted; 0: not known.
    explicit Progress(std::string what, std::uint64_t total = 0, int terminal = STDERR_FILENO,
                      std::chrono::milliseconds patience = std::chrono::seconds(2));
    ~Progress();
    Progress(const Progress&) = delete;
    Progress& operator=(const Progress&) = delete;

    /// Whether it has a line, if it lasts long enough.
    bool isShown() const noexcept { return printer_.joinable(); }

    // Cheap: for every row.
    void advance() noexcept {
        done_.store(done_.load(std::memory_order_relaxed) + 1, std::memory_order_relaxed);
    }
    void at(std::uint64_t done) noexcept { done_.store(done, std::memory_order_relaxed); }
    void outOf(std::uint64_t total) noexcept { total_.store(total, std::memory_order_relaxed); }

    /// The next step, which is counted from nothing.
    void begin(std::string what, std::uint64_t total);

  private:
    void run(std::chrono::milliseconds patience);
    void print(std::string_view text) const noexcept;
    void erase() noexcept;

    static std::atomic<Progress*> innermost;  ///< of those that have a line

    const int terminal_;
    Progress* outer_ = nullptr;
    std::atomic<std::uint64_t> done_{0}, total_;
    std::mutex mutex_;
    std::condition_variable ended_;
    // Guarded by the mutex.
    std::string what_;
    std::chrono::steady_clock::time_point began_ = std::chrono::steady_clock::now();
    bool is_over_ = false;
    bool is_seen_ = false;  ///< the line is there
    std::thread printer_;   ///< none where nothing is printed
};

/// What `work` gives, which may take long.
template <typename Work>
auto withProgress(std::string what, Work work) {
    const Progress progress(std::move(what));
    return work();
}

}  // namespace mailgate::cli
