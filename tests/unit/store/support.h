// SPDX-License-Identifier: Apache-2.0
/// \file  What the tests of the store share: a folder of their own, and the file as the sqlite3 shell sees it.
#pragma once

#include "tests/support/networks.h"
#include "tests/support/temporary_folder.h"

#include <gtest/gtest.h>
#include <sqlite3.h>

#include <cstdint>
#include <stdexcept>
#include <string>
#include <string_view>

namespace mailgate::store {

/// Another connection to the file, which knows nothing of mailgate.
class Shell {
  public:
    explicit Shell(const std::string& file) {
        if (sqlite3_open(file.c_str(), &handle_) != SQLITE_OK)
            throw std::runtime_error("cannot open " + file);
        sqlite3_busy_timeout(handle_, 5'000);
    }
    ~Shell() { sqlite3_close(handle_); }
    Shell(const Shell&) = delete;
    Shell& operator=(const Shell&) = delete;

    /// The error's text; empty when all went well.
    std::string tryRun(const std::string& sql) {
        char* error = nullptr;
        sqlite3_exec(handle_, sql.c_str(), nullptr, nullptr, &error);
        std::string text = error == nullptr ? "" : error;
        sqlite3_free(error);
        return text;
    }
    void run(const std::string& sql) { ASSERT_EQ(tryRun(sql), "") << sql; }

    /// The first column of the first row as text; "(none)" without a row.
    std::string value(const std::string& sql) {
        sqlite3_stmt* statement = nullptr;
        if (sqlite3_prepare_v2(handle_, sql.c_str(), -1, &statement, nullptr) != SQLITE_OK)
            throw std::runtime_error(sqlite3_errmsg(handle_));
        std::string text = "(none)";
        if (sqlite3_step(statement) == SQLITE_ROW) {
            const auto* column = reinterpret_cast<const char*>(sqlite3_column_text(statement, 0));
            text = column == nullptr ? "NULL" : column;
        }
        sqlite3_finalize(statement);
        return text;
    }

  private:
    sqlite3* handle_ = nullptr;
};

}  // namespace mailgate::store
