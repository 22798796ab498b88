// SPDX-License-Identifier: Apache-2.0
#include "store/backends/rules.h"

#include "store/rules/sqlite/store.h"
#include "store/sqlite/database.h"
#include "store/store_error.h"

#include <cstdint>

namespace mailgate::store {

std::unique_ptr<RuleStore> openRules(const std::string& url, const RuleStore::Options& options) {
    return sqlite::openRules(sqlite::pathOf(url), options);
}

bool examineDatabase(const std::string& url) {
    return sqlite::examine(sqlite::pathOf(url), {});
}

void requireSound(const std::string& url) {
    if (!examineDatabase(url)) return;
    try {
        openRules(url, {.use = RuleStore::Use::Inspect})->load({});
    } catch (const StoreError& error) {
        if (error.kind() == StoreError::Kind::Damaged) throw;
    }
}

void requireRoom(const std::string& url) {
    // Measured: new rules and a new journal take 300 KiB with what SQLite keeps beside them.
    constexpr std::uint64_t kNewDatabases = std::uint64_t{320} * 1024;
    sqlite::requireRoom(sqlite::pathOf(url), kNewDatabases);
}

}  // namespace mailgate::store
