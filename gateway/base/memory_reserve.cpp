// SPDX-License-Identifier: Apache-2.0
#include "gateway/base/memory_reserve.h"

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdlib>
#include <new>

namespace mailgate::memory_reserve {
namespace {

// Parts that malloc keeps among the blocks it can divide: what has been freed since is then enough to refill them.
constexpr std::size_t kPartBytes = std::size_t{64} << 10;
constexpr int kParts = 128;
constexpr int kPartsForOthers = 32;

std::array<std::atomic<void*>, kParts> parts;
std::atomic<int> given_away = 0;
thread_local int first_part = 0;

/// A std::new_handler: to return is to have the allocation tried again.
void giveAway() {
    for (int i = first_part; i < kParts; ++i) {
        if (void* const part = parts[static_cast<std::size_t>(i)].exchange(nullptr)) {
            ++given_away;
            std::free(part);
            return;
        }
    }
    throw std::bad_alloc();
}

}  // namespace

void install() noexcept {
    if (std::set_new_handler(giveAway) == giveAway) return;
    given_away = kParts;
    refill();
}

void leaveTheLastToOthers() noexcept {
    first_part = kPartsForOthers;
}

bool low() noexcept {
    return given_away > kParts / 2;
}

bool refill() noexcept {
    for (auto& part : parts) {
        if (part.load() != nullptr) continue;
        void* const fresh = std::malloc(kPartBytes);
        if (fresh == nullptr) break;
        void* none = nullptr;
        if (part.compare_exchange_strong(none, fresh))
            --given_away;
        else
            std::free(fresh);
    }
    return given_away < kParts / 4;
}

}  // namespace mailgate::memory_reserve
