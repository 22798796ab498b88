// SPDX-License-Identifier: Apache-2.0
/// \file  How far a change of very many rules has come, for whoever waits for it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <utility>

namespace mailgate::store {

class Progress {
  public:
    enum class Step : std::uint8_t {
        Read,     ///< lines of the list
        Match,    ///< rules of the list with each other
        Judge,    ///< ... by whom they would let in and shut out; in one go
        Compare,  ///< ... with those that are there
        Sort,     ///< new rules; in one go
        Write,    ///< new rules
        Finish,   ///< in one go
    };
    /// `done` of `total` are done; both are 0 of what is done in one go. Called on the thread that works, every few thousandths of a step.
    using Tell = std::function<void(Step step, std::size_t done, std::size_t total)>;

    Progress() = default;
    explicit Progress(Tell tell) : tell_(std::move(tell)) {}

    void tell(Step step, std::size_t done, std::size_t total) const {
        constexpr std::size_t kEvery = 4'096;
        if (tell_ && done % kEvery == 0) tell_(step, done, total);
    }

  private:
    Tell tell_;
};

}  // namespace mailgate::store
