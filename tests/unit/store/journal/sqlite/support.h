// SPDX-License-Identifier: Apache-2.0
/// \file  What the tests of the journal's file share.
#pragma once

#include "store/journal/sqlite/writer.h"
#include "tests/unit/store/support.h"

#include <memory>

namespace mailgate::store {

inline std::unique_ptr<journal::Sink> openSqlite(const JournalOptions& options) {
    return std::make_unique<journal::Writer>(options);
}

}  // namespace mailgate::store
