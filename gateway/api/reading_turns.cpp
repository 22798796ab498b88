// SPDX-License-Identifier: Apache-2.0
#include "gateway/api/reading_turns.h"

#include <algorithm>

namespace mailgate::api {

bool ReadingTurns::reads(const std::string& account) const {
    return std::ranges::any_of(inside_, [&](const One& one) { return one.reader.account == account; });
}

bool ReadingTurns::fits(const One& one) const {
    const auto viewers =
        std::ranges::count_if(inside_, [](const One& other) { return !other.reader.may_change; });
    return inside_.size() < kMost && !reads(one.reader.account) &&
           (one.reader.may_change || static_cast<std::size_t>(viewers) < kMostOfViewers);
}

bool ReadingTurns::isInTheWay(const One& waiting) const {
    return !waiting.is_sent_away && fits(waiting);
}

bool ReadingTurns::isNext(Line::const_iterator one) const {
    return fits(*one) &&
           std::none_of(waiting_.begin(), one, [&](const One& earlier) { return isInTheWay(earlier); });
}

bool ReadingTurns::mayWait(const Reader& reader) {
    const auto is_same_kind = [&](const One& one) {
        return one.reader.may_change == reader.may_change && !one.is_sent_away;
    };
    if (static_cast<std::size_t>(std::ranges::count_if(waiting_, is_same_kind)) < kMostWaiting) return true;
    const auto second = std::ranges::find_if(
        waiting_, [&](const One& one) { return is_same_kind(one) && reads(one.reader.account); });
    if (second == waiting_.end() || reads(reader.account)) return false;
    second->is_sent_away = true;
    return true;
}

ReadingTurns::Turn ReadingTurns::enter(const Reader& reader) {
    std::unique_lock lock(mutex_);
    const bool waits =
        !fits({reader}) || std::ranges::any_of(waiting_, [&](const One& one) { return isInTheWay(one); });
    if (waits && !mayWait(reader)) return nullptr;
    const auto mine = waiting_.insert(waiting_.end(), {reader});
    if (waits) {
        changed_.notify_all();  // who was sent away
        changed_.wait_for(lock, patience_, [&] { return mine->is_sent_away || isNext(mine); });
    }
    if (mine->is_sent_away || !isNext(mine)) {
        waiting_.erase(mine);
        changed_.notify_all();
        return nullptr;
    }
    inside_.splice(inside_.end(), waiting_, mine);
    changed_.notify_all();  // who is behind may have been kept by this one alone
    lock.unlock();          // who finds no memory for what is returned leaves by the same way
    return {this, [mine](ReadingTurns* turns) {
                const std::lock_guard guard(turns->mutex_);
                turns->inside_.erase(mine);
                turns->changed_.notify_all();
            }};
}

}  // namespace mailgate::api
