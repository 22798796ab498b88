// SPDX-License-Identifier: Apache-2.0
#include "gateway/credentials/password_pool.h"

#include "gateway/credentials/password.h"
#include "gateway/credentials/secret.h"

#include <utility>

namespace mailgate::credentials {

PasswordPool::PasswordPool() : nobodys_(hashPassword(newSecret())) {
    for (unsigned i = 0; i < kThreads; ++i)
        threads_.emplace_back([this] { work(); });
}

PasswordPool::~PasswordPool() {
    {
        const std::lock_guard lock(mutex_);
        stopping_ = true;
    }
    changed_.notify_all();
    for (std::thread& thread : threads_)
        thread.join();
}

std::optional<bool> PasswordPool::check(const std::string& password, const std::string& hash) {
    const bool is_somebodys = !hash.empty();
    std::packaged_task<bool()> task(
        [password, hash = is_somebodys ? hash : nobodys_] { return isPassword(password, hash); });
    std::future<bool> answer = task.get_future();
    {
        const std::lock_guard lock(mutex_);
        if (waiting_.size() >= kMaxWaiting) return std::nullopt;
        waiting_.push_back(std::move(task));
    }
    changed_.notify_one();
    return answer.get() && is_somebodys;
}

void PasswordPool::work() {
    std::unique_lock lock(mutex_);
    while (true) {
        changed_.wait(lock, [this] { return stopping_ || !waiting_.empty(); });
        if (waiting_.empty()) return;
        std::packaged_task<bool()> task = std::move(waiting_.front());
        waiting_.pop_front();
        lock.unlock();
        task();
        lock.lock();
    }
}

}  // namespace mailgate::credentials
