// SPDX-License-Identifier: Apache-2.0
#include "store/rules/sqlite/apart.h"

#include "store/rules/sqlite/bulk.h"
#include "store/rules/sqlite/schema.h"

#include <fmt/format.h>
#include <sqlite3.h>

#include <string>
#include <string_view>

namespace mailgate::store::rows {

using sqlite::Database;
using sqlite::RawStatement;

namespace {

/// What rules depend on: neither the trail, which may be many times as much, nor what is nobody's business outside of the file.
constexpr std::string_view kCopied[]{"access_rule", "access_set",  "access_name",
                                     "access_meta", "fleet_state", "fleet_local"};

void attach(Database& copy, const char* path) {
    RawStatement attach(copy, "ATTACH ? AS source");
    attach.bind(1, std::string_view(path));
    attach.step();
}

}  // namespace

std::unique_ptr<Database> copyApart(Database& source) {
    const char* const path = sqlite3_db_filename(source.handle(), "main");
    if (path == nullptr || *path == '\0') return nullptr;
    auto copy = Database::temporary(source.path());
    schema::migrate(*copy, true);
    attach(*copy, path);
    {
        const WithoutTriggers without(*copy);
        // Rows that the sqlite3 shell has written without the constraints are to be met here, too.
        copy->run("PRAGMA ignore_check_constraints = ON");
        copy->snapshot([&] {
            for (const std::string_view table : kCopied)
                copy->run(fmt::format("DELETE FROM main.{0}; INSERT INTO main.{0} SELECT * FROM source.{0}",
                                      table));
            // Numbers go on where they are.
            copy->run(
                "INSERT INTO main.access_audit SELECT * FROM source.access_audit ORDER BY id DESC LIMIT 1;"
                "DELETE FROM main.sqlite_sequence;"
                "INSERT INTO main.sqlite_sequence SELECT * FROM source.sqlite_sequence"
                " WHERE name IN ('access_rule', 'access_audit')");
        });
        copy->run("PRAGMA ignore_check_constraints = OFF");
    }
    copy->run("DETACH source");
    return copy;
}

}  // namespace mailgate::store::rows
