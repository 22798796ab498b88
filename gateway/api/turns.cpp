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

bool Turns::mayWait(const One& newcomer) {
    const auto is_alike = [&](const One& one) {
        return &one != &newcomer && one.state == State::Waits && one.is_viewer == newcomer.is_viewer;
    };
    if (static_cast<std::size_t>(std::ranges::count_if(all_, is_alike)) < limits_.most_waiting) return true;
    if (hasTurn(newcomer.account)) return false;
    const auto second =
        std::ranges::find_if(all_, [&](const One& one) { return is_alike(one) && hasTurn(one.account); });
    if (second == all_.end()) return false;
    second->state = State::SentAway;
    changed_.notify_all();
    return true;
}

/// In front of those who have a turn and wait for another one.
std::list<Turns::One>::iterator Turns::placeOf(const std::string& account) {
    if (hasTurn(account)) return all_.end();
    return std::ranges::find_if(
        all_, [&](const One& one) { return one.state == State::Waits && hasTurn(one.account); });
}

Turns::Turn Turns::enter(const Principal& who) {
    std::unique_lock lock(mutex_);
    const auto mine = all_.insert(placeOf(who.client()), {who.client(), who.role == store::Role::Viewer});
    give();
    if (mine->state == State::Waits && mayWait(*mine))
        changed_.wait_for(lock, limits_.patience, [&] { return mine->state != State::Waits; });
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
