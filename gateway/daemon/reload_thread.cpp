// SPDX-License-Identifier: Apache-2.0
#include "gateway/daemon/reload_thread.h"

#include <utility>

namespace mailgate {

ReloadThread::ReloadThread(std::function<void()> reload)
    : reload_(std::move(reload)), thread_([this] { run(); }) {}

ReloadThread::~ReloadThread() {
    stop();
}

void ReloadThread::ask() noexcept {
    {
        const std::lock_guard lock(mutex_);
        asked_ = true;
    }
    changed_.notify_one();
}

void ReloadThread::stop() noexcept {
    if (!thread_.joinable()) return;
    {
        const std::lock_guard lock(mutex_);
        stopping_ = true;
    }
    changed_.notify_one();
    thread_.join();
}

void ReloadThread::run() {
    std::unique_lock lock(mutex_);
    while (true) {
        changed_.wait(lock, [this] { return asked_ || stopping_; });
        if (stopping_) return;
        // Before it begins: the file may change while it is read.
        asked_ = false;
        lock.unlock();
        reload_();
        lock.lock();
    }
}

}  // namespace mailgate
