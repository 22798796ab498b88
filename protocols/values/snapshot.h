// SPDX-License-Identifier: Apache-2.0
/// \file  An immutable value that is swapped as a whole under those who read it: a pool's list of endpoints, the
/// table of access rules, the configuration in force.
///
/// Readers take no lock and allocate nothing. A swap waits until nobody reads the previous value, so a Reading must
/// be short; a reader that needs the value for longer takes a share of it.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <memory>
#include <mutex>
#include <thread>
#include <utility>

namespace mailgate {

template <typename T>
class Snapshot {
  public:
    using Share = std::shared_ptr<const T>;

    explicit Snapshot(Share first = nullptr) noexcept : values_{std::move(first), nullptr} {}
    Snapshot(const Snapshot&) = delete;
    Snapshot& operator=(const Snapshot&) = delete;

    /// Keeps the value in force from being replaced for as long as it lives. Any thread.
    class Reading {
      public:
        explicit Reading(const Snapshot& snapshot) noexcept
            : counted_in_(snapshot.readers_[snapshot.phase_.load()]) {
            // Sequentially consistent, as swap(): either that sees this reader, or this reader sees its value.
            counted_in_.fetch_add(1);
            value_ = &snapshot.values_[snapshot.in_force_.load()];
        }
        ~Reading() { counted_in_.fetch_sub(1, std::memory_order_release); }
        Reading(const Reading&) = delete;
        Reading& operator=(const Reading&) = delete;

        const T* operator->() const noexcept { return value_->get(); }
        const T& operator*() const noexcept { return **value_; }
        const Share& share() const noexcept { return *value_; }

      private:
        std::atomic<std::uint32_t>& counted_in_;
        const Share* value_;
    };

    /// The value in force; null before there is one. Any thread.
    Share share() const noexcept { return Reading(*this).share(); }

    /// Changes with every swap. Any thread; one load shows whether a share is still the value in force: who sees a
    /// version finds its value, or a later one.
    std::uint64_t version() const noexcept { return version_.load(std::memory_order_acquire); }

    /// Puts `next` in force and returns what was. Any thread.
    Share swap(Share next) noexcept {
        const std::lock_guard one_at_a_time(swapping_);
        const unsigned before = in_force_.load();
        values_[1 - before] = std::move(next);
        in_force_.store(1 - before);
        version_.fetch_add(1, std::memory_order_release);
        // A reader that begins now sees the new value, and is counted apart from those that are waited for.
        for (int round = 0; round < 2; ++round) {
            const unsigned phase = phase_.fetch_xor(1);
            while (readers_[phase].load() != 0)
                std::this_thread::yield();
        }
        return std::move(values_[before]);
    }

  private:
    std::array<Share, 2> values_;  ///< the value in force, and room for the next
    std::atomic<unsigned> in_force_{0};
    std::atomic<unsigned> phase_{0};  ///< in which of the two counts who begins to read now is counted
    mutable std::array<std::atomic<std::uint32_t>, 2> readers_{};
    std::atomic<std::uint64_t> version_{0};
    std::mutex swapping_;
};

/// One thread's own share of one snapshot, renewed only when that holds another value.
template <typename T>
class CachedShare {
  public:
    const T& of(const Snapshot<T>& snapshot) noexcept {
        // Read before the value: a swap in between has it renewed once more.
        const std::uint64_t version = snapshot.version();
        if (!share_ || version != version_) {
            version_ = version;
            share_ = snapshot.share();
        }
        return *share_;
    }

  private:
    std::shared_ptr<const T> share_;
    std::uint64_t version_ = 0;
};

}  // namespace mailgate
