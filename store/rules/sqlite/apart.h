// SPDX-License-Identifier: Apache-2.0
/// \file  A copy of the rules for what takes long and is to come to nothing. Internal to store/.
#pragma once

#include "store/sqlite/database.h"

#include <memory>

namespace mailgate::store::rows {

/// The rules as they are now, with sets, names and the last entry of the trail, in a database of the connection's own that is
/// gone with it. What does not fit into its cache is in a file that only this process can find. Null: the source is such a one
/// itself, in memory. No lock is held afterwards, and none that keeps others from writing meanwhile. Throws StoreError.
std::unique_ptr<sqlite::Database> copyApart(sqlite::Database& source);

}  // namespace mailgate::store::rows
