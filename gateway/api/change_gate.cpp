// SPDX-License-Identifier: Apache-2.0
#include "gateway/api/change_gate.h"

namespace mailgate::api {

ChangeGate::Pass ChangeGate::enter() {
    std::unique_lock lock(mutex_);
    while (inside_.size() >= most_) {
        const auto until = inside_.front() + patience_;
        if (Clock::now() >= until) return nullptr;
        left_.wait_until(lock, until);
    }
    const auto mine = inside_.insert(inside_.end(), Clock::now());
    lock.unlock();  // who finds no memory for what is returned leaves by the same way
    return {this, [mine](ChangeGate* gate) {
                const std::lock_guard guard(gate->mutex_);
                gate->inside_.erase(mine);
                gate->left_.notify_one();
            }};
}

}  // namespace mailgate::api
