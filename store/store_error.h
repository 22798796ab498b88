// SPDX-License-Identifier: Apache-2.0
/// \file  What can go wrong with the store, in words an administrator can act on.
#pragma once

#include <stdexcept>
#include <string>

namespace mailgate::store {

/// Errors of databases end at store/: above it only this is seen.
class StoreError : public std::runtime_error {
  public:
    enum class Kind {
        Open,
        Locked,
        ReadOnly,
        Damaged,
        NewerSchema,
        DiskFull,
        BadRow,
        BadInput,
        Unknown,  ///< whether it was done: the answer has not come
        Other
    };
    StoreError(Kind kind, const std::string& message) : std::runtime_error(message), kind_(kind) {}
    Kind kind() const noexcept { return kind_; }

  private:
    Kind kind_;
};

}  // namespace mailgate::store
