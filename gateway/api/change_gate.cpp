// SPDX-License-Identifier: Apache-2.0
#include "gateway/api/change_gate.h"

#include <algorithm>

namespace mailgate::api {

/// Null: nobody is.
const ChangeGate::Inside* ChangeGate::inTheWayOf(const std::string& name) const {
    const auto same = std::ranges::find(inside_, name, &Inside::name);
    if (!name.empty() && same != inside_.end()) return &*same;
    return inside_.size() >= most_ ? &inside_.front() : nullptr;
}

ChangeGate::Pass ChangeGate::enter(const std::string& name) {
    std::unique_lock lock(mutex_);
    while (const Inside* const other = inTheWayOf(name)) {
        const auto until = other->since + patience_;
        if (Clock::now() >= until) return nullptr;
        left_.wait_until(lock, until);
    }
    const auto mine = inside_.insert(inside_.end(), {name, Clock::now()});
    return {this, [mine](ChangeGate* gate) {
                const std::lock_guard guard(gate->mutex_);
                gate->inside_.erase(mine);
                gate->left_.notify_all();  // each waits for another one
            }};
}

}  // namespace mailgate::api
