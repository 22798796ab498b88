// SPDX-License-Identifier: Apache-2.0
/// \file  Checks passwords on a few threads of its own: however many people, or others, log in at once, that takes two
/// processors' time and 32 MiB at the most.
#pragma once

#include <condition_variable>
#include <cstddef>
#include <deque>
#include <future>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <vector>

namespace mailgate::credentials {

/// Any thread.
class PasswordPool {
  public:
    static constexpr unsigned kThreads = 2;
    static constexpr std::size_t kMaxWaiting = 16;

    PasswordPool();
    /// Nobody may wait in check() any more.
    ~PasswordPool();
    PasswordPool(const PasswordPool&) = delete;
    PasswordPool& operator=(const PasswordPool&) = delete;

    /// isPassword(); waits for it. With an empty hash, which nobody has, it takes as long and is false. None: so many wait that
    /// it was not looked at.
    std::optional<bool> check(const std::string& password, const std::string& hash);

  private:
    void work();

    const std::string nobodys_;  ///< a hash, for who has none
    std::mutex mutex_;           ///< of all that follows
    std::condition_variable changed_;
    bool stopping_ = false;
    std::deque<std::packaged_task<bool()>> waiting_;
    std::vector<std::thread> threads_;
};

}  // namespace mailgate::credentials
