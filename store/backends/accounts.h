// SPDX-License-Identifier: Apache-2.0
/// \file  Opens the console's accounts in the database that a URL names: that of the access rules (store/backends/rules.h).
#pragma once

#include "store/accounts/store.h"

#include <memory>
#include <string>

namespace mailgate::store {

/// A missing database is created, an older one migrated. Throws StoreError.
std::unique_ptr<AccountStore> openAccounts(const std::string& url);

}  // namespace mailgate::store
