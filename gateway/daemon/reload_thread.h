// SPDX-License-Identifier: Apache-2.0
/// \file  Does what SIGHUP asks for, away from the thread that feeds systemd's watchdog and hears SIGTERM.
#pragma once

#include <condition_variable>
#include <functional>
#include <mutex>
#include <thread>

namespace mailgate {

class ReloadThread {
  public:
    /// The thread is there from the start on: asking needs nothing that could be missing. `reload` must not
    /// throw. Throws std::system_error.
    explicit ReloadThread(std::function<void()> reload);
    ~ReloadThread();  ///< stop()
    ReloadThread(const ReloadThread&) = delete;
    ReloadThread& operator=(const ReloadThread&) = delete;

    /// Asks for one; who asks while one waits to begin asks for the same. Any thread.
    void ask() noexcept;
    /// Waits for the one under way; one that waits to begin is dropped.
    void stop() noexcept;

  private:
    void run();

    std::function<void()> reload_;
    std::mutex mutex_;
    std::condition_variable changed_;
    bool asked_ = false;
    bool stopping_ = false;
    std::thread thread_;
};

}  // namespace mailgate
