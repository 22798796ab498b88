// SPDX-License-Identifier: Apache-2.0
/// \file  The notes that rules show to whom they deny, for listeners whose refusal_footer has a place for them. Immutable,
/// swapped as a whole.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>

namespace mailgate {

class RuleNotes {
  public:
    /// More than a reply has room for.
    static constexpr std::size_t kMaxBytes = 400;

    void add(std::int64_t rule_id, std::string_view note) {
        if (!note.empty()) notes_.emplace(rule_id, note.substr(0, kMaxBytes));
    }
    /// Empty: it has none.
    std::string of(std::int64_t rule_id) const {
        const auto found = notes_.find(rule_id);
        return found == notes_.end() ? std::string() : found->second;
    }

  private:
    std::unordered_map<std::int64_t, std::string> notes_;
};

}  // namespace mailgate
