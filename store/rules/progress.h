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
        Compare,  ///< rules of the list with those that are there
        Write,    ///< new rules
        Finish,   ///< what is done in one go: `done` and `total` say nothing
    };
    /// `done` of `total` are done. Called on the thread that works, every few thousandths of a step.
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
