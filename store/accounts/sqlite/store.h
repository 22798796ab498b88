// SPDX-License-Identifier: Apache-2.0
/// \file  Accounts and tokens in the file of the access rules, whose schema they are a part of. Internal to store/.
#pragma once

#include "store/accounts/store.h"

#include <memory>
#include <string>

namespace mailgate::store::sqlite {

/// Migrates the file, which is to be there unless `create`. Throws StoreError.
std::unique_ptr<AccountStore> openAccounts(const std::string& path, bool create);

}  // namespace mailgate::store::sqlite
