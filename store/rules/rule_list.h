// SPDX-License-Identifier: Apache-2.0
/// \file  Very many rules in little memory: some 40 bytes for most of them, where a rule that can be worked with has 350.
#pragma once

#include "store/rules/rule.h"

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

namespace mailgate::store {

/// Rules are read one by one, as they were added, and each has a number for whoever adds it.
class RuleList {
  public:
    RuleList() = default;
    RuleList(std::span<const AccessRule> rules);
    RuleList(const std::vector<AccessRule>& rules) : RuleList(std::span(rules)) {}

    void add(const AccessRule& rule, std::uint64_t tag = 0);
    std::size_t size() const noexcept { return rules_.size(); }
    bool empty() const noexcept { return rules_.empty(); }
    /// What `rule` was is gone, but for the memory of its texts.
    void read(std::size_t at, AccessRule& rule) const;
    AccessRule operator[](std::size_t at) const;
    std::uint64_t tag(std::size_t at) const noexcept;
    /// Its address and its prefix length; of a rule for a name nothing.
    Network network(std::size_t at) const noexcept;
    /// Before it is read: what is in no order is not in the processor's cache. The place before that.
    void prefetchPlace(std::size_t at) const noexcept { __builtin_prefetch(&rules_[at]); }
    void prefetch(std::size_t at) const noexcept { __builtin_prefetch(rules_[at]); }

  private:
    char* room(std::size_t bytes);

    std::vector<std::unique_ptr<char[]>> blocks_;
    std::size_t block_size_ = 0;  ///< of the last one
    std::size_t used_ = 0;        ///< of that
    std::vector<const char*> rules_;
};

}  // namespace mailgate::store
