// SPDX-License-Identifier: Apache-2.0
/// \file  Opens the console's accounts in the database that a URL names: that of the access rules (store/backends/rules.h).
#pragma once

#include "store/accounts/store.h"

#include <memory>
#include <string>

namespace mailgate::store {

/// An older database is migrated, a missing one is StoreError(Open), unless `create`. Throws StoreError.
std::unique_ptr<AccountStore> openAccounts(const std::string& url, bool create);

}  // namespace mailgate::store
