// SPDX-License-Identifier: Apache-2.0
/// \file  Accounts and tokens in the file of the access rules, whose schema they are a part of. Internal to store/.
#pragma once

#include "store/accounts/store.h"

#include <memory>
#include <string>

namespace mailgate::store::sqlite {

/// Creates and migrates the file. Throws StoreError.
std::unique_ptr<AccountStore> openAccounts(const std::string& path);

}  // namespace mailgate::store::sqlite
