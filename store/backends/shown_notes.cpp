// SPDX-License-Identifier: Apache-2.0
#include "store/backends/shown_notes.h"

#include "store/rules/sqlite/store.h"
#include "store/sqlite/database.h"

namespace mailgate::store {

void forEachShownNote(const std::string& url, std::chrono::milliseconds lock_timeout,
                      const std::function<void(std::int64_t rule_id, std::string_view note)>& visit) {
    sqlite::forEachShownNote(sqlite::pathOf(url),
                             {.use = RuleStore::Use::Inspect, .lock_timeout = lock_timeout}, visit);
}

}  // namespace mailgate::store
