// SPDX-License-Identifier: Apache-2.0
/// \file  What was found in the file of the rules, and in which state of the file. Internal to store/.
///
/// A look costs: SQLite is asked each time, and of a damaged file all is read, beside the mail. So what the last one has found
/// stands for a while where nobody has written, as far as the times of the files tell.
#pragma once

#include "store/sqlite/database.h"

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <exception>
#include <utility>

namespace mailgate::store::sqlite {

/// What shows that somebody has written, by SQLite or behind its back.
struct FileState {
    FileIdentity identity;
    std::int64_t written = 0, log_written = 0;
    friend bool operator==(const FileState&, const FileState&) = default;

    /// Whoever writes from now on changes it. The times are those of a clock that ticks: what was written just now may be
    /// written again without a trace.
    bool isSettled() const {
        constexpr std::chrono::milliseconds kTick{50};
        const auto written_last = std::chrono::nanoseconds(std::max(written, log_written));
        return std::chrono::system_clock::now().time_since_epoch() - written_last > kTick;
    }
};

class LastLook {
  public:
    using Time = std::chrono::steady_clock::time_point;
    /// So long the times at which the files were written are believed: to ask SQLite each time takes a multiple of it.
    static constexpr std::chrono::milliseconds kTimesStand{900};
    /// So long a damaged file is not looked into again where nobody has written it.
    static constexpr std::chrono::seconds kDamageStands{10};

    /// True: a look at the file as it is now would find nothing new. Throws the damage that it would find. False: it is to be
    /// made, and what is found is of this state.
    bool stands(const FileState& file, Time now) {
        if (damage_ && now < damage_stands_until_ && file == file_) std::rethrow_exception(damage_);
        damage_ = nullptr;
        file_ = file;
        if (file == unchanged_ && now < unchanged_until_) return true;
        unchanged_until_ = {};
        may_be_believed_ = file.isSettled();
        return false;
    }
    void foundNothingNew(Time now) noexcept {
        if (!may_be_believed_) return;
        unchanged_ = file_;
        unchanged_until_ = now + kTimesStand;
    }
    /// The first words for it stand.
    void foundDamage(std::exception_ptr damage, Time now) noexcept {
        if (damage_) return;
        damage_ = std::move(damage);
        damage_stands_until_ = now + kDamageStands;
    }
    /// That there is nothing new is believed no more.
    void forgetUnchanged() noexcept { unchanged_until_ = {}; }

    // What was read of it last is not what it says.
    void foundStale() noexcept { stale_ = true; }
    void foundReplaced() noexcept { stale_ = replaced_ = true; }
    bool isStale() const noexcept { return stale_; }
    /// And the file is another. Told once.
    bool tellReplaced() noexcept { return std::exchange(replaced_, false); }
    void read() noexcept { stale_ = false; }

  private:
    FileState file_;  ///< of before the look
    bool may_be_believed_ = false;
    FileState unchanged_;  ///< in which nothing new was found
    Time unchanged_until_{};
    std::exception_ptr damage_;  ///< of file_; null: none
    Time damage_stands_until_{};
    bool stale_ = false, replaced_ = false;
};

}  // namespace mailgate::store::sqlite
