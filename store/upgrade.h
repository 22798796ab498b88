// SPDX-License-Identifier: Apache-2.0
/// \file  How whoever opens a database of an earlier version is told that it is brought to this one's.
#pragma once

#include <functional>

namespace mailgate::store {

/// What is called on the way of that, where it is necessary: when it begins, from when on it cannot be called off any more, and
/// when it has been done.
struct Upgrade {
    std::function<void()> begins{}, commits{}, done{};
};

}  // namespace mailgate::store
