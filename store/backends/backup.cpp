// SPDX-License-Identifier: Apache-2.0
#include "store/backends/backup.h"

#include "store/journal/sqlite/schema.h"
#include "store/rules/sqlite/schema.h"
#include "store/sqlite/copy.h"
#include "store/sqlite/database.h"

namespace mailgate::store {

bool hasDatabase(const std::string& url) {
    return sqlite::examine(sqlite::pathOf(url), {});
}

void copyTo(const std::string& url, const std::string& to, const BackupProgress& progress) {
    sqlite::copyDatabase(sqlite::pathOf(url), to, progress);
}

void verifyCopy(const std::string& file, const BackupProgress& progress) {
    sqlite::verifyDatabase(file, progress);
}

void requireRules(const std::string& file) {
    sqlite::Database database(file, {.create = false});
    schema::requireKnown(database);
}

void requireJournal(const std::string& file) {
    sqlite::Database database(file, {.create = false});
    journal::requireKnown(database);
}

std::string takeOutOfUse(const std::string& url) {
    std::string path = sqlite::pathOf(url);
    sqlite::releaseDatabase(path);
    return path;
}

}  // namespace mailgate::store
