// SPDX-License-Identifier: Apache-2.0
#include "store/backends/accounts.h"

#include "store/accounts/sqlite/store.h"
#include "store/sqlite/database.h"

namespace mailgate::store {

std::unique_ptr<AccountStore> openAccounts(const std::string& url, bool create) {
    return sqlite::openAccounts(sqlite::pathOf(url), create);
}

}  // namespace mailgate::store
