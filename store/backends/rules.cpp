// SPDX-License-Identifier: Apache-2.0
#include "store/backends/rules.h"

#include "store/rules/sqlite/store.h"
#include "store/sqlite/database.h"

namespace mailgate::store {

std::unique_ptr<RuleStore> openRules(const std::string& url, const RuleStore::Options& options) {
    return sqlite::openRules(sqlite::pathOf(url), options);
}

bool examineDatabase(const std::string& url) {
    return sqlite::examine(sqlite::pathOf(url), {});
}

}  // namespace mailgate::store
