// SPDX-License-Identifier: Apache-2.0
/// \file  The commands that the server has yet to answer, oldest first.
///
/// SMTP, POP3 and ManageSieve answer in order and clients pipeline, so what a reply means is known by counting.
#pragma once

#include <cstddef>
#include <utility>
#include <vector>

namespace mailgate {

/// More than any client pipelines; a flood of commands must not become a flood of memory.
inline constexpr std::size_t kMaxUnanswered = 1000;

template <typename Command>
class ReplyQueue {
  public:
    bool empty() const noexcept { return head_ == commands_.size(); }
    std::size_t size() const noexcept { return commands_.size() - head_; }
    bool full() const noexcept { return size() >= kMaxUnanswered; }
    const Command& front() const { return commands_[head_]; }
    const Command& back() const { return commands_.back(); }

    /// Not when full(). Throws std::bad_alloc.
    template <typename Pushed>
    void push(Pushed&& command) {
        // A pipeline that never runs dry would otherwise grow the vector for ever.
        if (head_ > kMaxUnanswered) {
            commands_.erase(commands_.begin(), commands_.begin() + static_cast<std::ptrdiff_t>(head_));
            head_ = 0;
        }
        commands_.push_back(std::forward<Pushed>(command));
    }

    /// Not when empty().
    Command pop() {
        Command command = std::move(commands_[head_++]);
        if (empty()) {
            commands_.clear();
            head_ = 0;
        }
        return command;
    }

  private:
    std::vector<Command> commands_;
    std::size_t head_ = 0;
};

}  // namespace mailgate
