// SPDX-License-Identifier: Apache-2.0
#include "gateway/api/turns.h"

#include <algorithm>

namespace mailgate::api {

bool Turns::hasTurn(const std::string& account) const {
    return std::ranges::any_of(
        all_, [&](const One& one) { return one.state == State::HasTurn && one.account == account; });
}

bool Turns::fits(const One& one) const {
    std::size_t taken = 0, taken_by_viewers = 0;
    for (const One& other : all_) {
        if (other.state != State::HasTurn) continue;
        ++taken;
        taken_by_viewers += other.is_viewer ? 1 : 0;
    }
    return taken < limits_.most && (!one.is_viewer || taken_by_viewers < limits_.most_of_viewers) &&
           !hasTurn(one.account);
}

void Turns::give() {
    for (One& one : all_)
        if (one.state == State::Waits && fits(one)) one.state = State::HasTurn;
    changed_.notify_all();
}

bool Turns::isSecond(const One& one) const {
    bool is_in_front = true;
    return std::ranges::any_of(all_, [&](const One& other) {
        if (&other == &one) return is_in_front = false;
        return other.account == one.account &&
               (other.state == State::HasTurn || (is_in_front && other.state == State::Waits));
    });
}

bool Turns::mayWait(const One& newcomer) {
    std::size_t waiting = 0;
    One* second = nullptr;
    for (One& one : all_) {
        if (&one == &newcomer || one.state != State::Waits || one.is_viewer != newcomer.is_viewer) continue;
        ++waiting;
        if (isSecond(one)) second = &one;
    }
    if (waiting < limits_.most_waiting) return true;
    if (second == nullptr || isSecond(newcomer)) return false;
    second->state = State::SentAway;
    changed_.notify_all();
    return true;
}

void Turns::await(std::unique_lock<std::mutex>& lock, const One& one, std::chrono::milliseconds patience,
                  const std::function<bool()>& has_left) {
    constexpr std::chrono::milliseconds kLook{200};
    const auto until = std::chrono::steady_clock::now() + patience;
    for (bool is_over = false; !is_over;) {
        const auto look = std::chrono::steady_clock::now() + kLook;
        is_over = until <= look;
        if (changed_.wait_until(lock, std::min(look, until), [&] { return one.state != State::Waits; }))
            return;
        lock.unlock();
        is_over = is_over || (has_left && has_left());
        lock.lock();
    }
}

Turns::Turn Turns::enter(const Principal& who, std::chrono::milliseconds patience,
                         const std::function<bool()>& has_left) {
    std::unique_lock lock(mutex_);
    const auto mine = all_.insert(all_.end(), {who.client(), who.role == store::Role::Viewer});
    if (!isSecond(*mine)) {
        const auto second = std::ranges::find_if(
            all_, [&](const One& one) { return one.state == State::Waits && isSecond(one); });
        all_.splice(second, all_, mine);
    }
    give();
    if (mine->state == State::Waits && mayWait(*mine)) await(lock, *mine, patience, has_left);
    if (mine->state != State::HasTurn) {
        all_.erase(mine);
        return nullptr;
    }
    lock.unlock();  // who finds no memory for what is returned leaves by the same way
    return {this, [mine](Turns* turns) {
                const std::lock_guard guard(turns->mutex_);
                turns->all_.erase(mine);
                turns->give();
            }};
}

}  // namespace mailgate::api
