// SPDX-License-Identifier: Apache-2.0
#include "store/sqlite/feed.h"

#include <fmt/format.h>
#include <sqlite3.h>

#include <new>
#include <utility>

namespace mailgate::store::sqlite {

namespace {

struct FedTable : sqlite3_vtab {
    FeedTable::Source* source;
};

struct FedCursor : sqlite3_vtab_cursor {
    FeedTable::Source* source;
    sqlite3_int64 row = 0;
    bool ended = true;
};

FedCursor& cursorOf(sqlite3_vtab_cursor* cursor) noexcept {
    return *static_cast<FedCursor*>(cursor);
}

/// No exception may pass SQLite: it is kept for whoever runs the statement.
template <typename Work>
int guarded(FeedTable::Source& source, const Work& work) noexcept {
    try {
        work();
        return SQLITE_OK;
    } catch (...) {
        source.failure = std::current_exception();
        return SQLITE_ERROR;
    }
}

// Methods of a virtual table, https://www.sqlite.org/vtab.html.

int connectFeed(sqlite3* handle, void* source, int, const char* const*, sqlite3_vtab** table,
                char**) noexcept {
    auto* const made = new (std::nothrow) FedTable{};
    if (made == nullptr) return SQLITE_NOMEM;
    made->source = static_cast<FeedTable::Source*>(source);
    *table = made;
    return sqlite3_declare_vtab(handle, made->source->declaration.c_str());
}

int disconnectFeed(sqlite3_vtab* table) noexcept {
    delete static_cast<FedTable*>(table);
    return SQLITE_OK;
}

int planFeed(sqlite3_vtab*, sqlite3_index_info*) noexcept {
    return SQLITE_OK;  // all rows in their order
}

int openFeed(sqlite3_vtab* table, sqlite3_vtab_cursor** cursor) noexcept {
    auto* const opened = new (std::nothrow) FedCursor{};
    if (opened == nullptr) return SQLITE_NOMEM;
    opened->source = static_cast<FedTable*>(table)->source;
    *cursor = opened;
    return SQLITE_OK;
}

int closeFeed(sqlite3_vtab_cursor* cursor) noexcept {
    delete &cursorOf(cursor);
    return SQLITE_OK;
}

int nextOfFeed(sqlite3_vtab_cursor* base) noexcept {
    FedCursor& cursor = cursorOf(base);
    ++cursor.row;
    return guarded(*cursor.source, [&] { cursor.ended = !cursor.source->feed->next(); });
}

int beginFeed(sqlite3_vtab_cursor* base, int, const char*, int, sqlite3_value**) noexcept {
    FedCursor& cursor = cursorOf(base);
    cursor.row = 0;
    return guarded(*cursor.source, [&] {
        cursor.source->feed->begin();
        cursor.ended = !cursor.source->feed->next();
    });
}

int feedEnded(sqlite3_vtab_cursor* cursor) noexcept {
    return cursorOf(cursor).ended ? 1 : 0;
}

int cellOfFeed(sqlite3_vtab_cursor* base, sqlite3_context* context, int column) noexcept {
    FeedTable::Source& source = *cursorOf(base).source;
    return guarded(source, [&] {
        const Cell cell = source.feed->cell(column);
        if (const auto* number = std::get_if<std::int64_t>(&cell))
            sqlite3_result_int64(context, *number);
        else if (const auto* text = std::get_if<std::string_view>(&cell))
            sqlite3_result_text(context, text->empty() ? "" : text->data(), static_cast<int>(text->size()),
                                SQLITE_STATIC);
    });
}

int rowOfFeed(sqlite3_vtab_cursor* cursor, sqlite3_int64* row) noexcept {
    *row = cursorOf(cursor).row;
    return SQLITE_OK;
}

/// Without xCreate: the table is there without being made, and nobody can make another.
const sqlite3_module& feedModule() noexcept {
    static const sqlite3_module module = [] {
        sqlite3_module methods{};
        methods.xConnect = connectFeed;
        methods.xDisconnect = disconnectFeed;
        methods.xBestIndex = planFeed;
        methods.xOpen = openFeed;
        methods.xClose = closeFeed;
        methods.xFilter = beginFeed;
        methods.xNext = nextOfFeed;
        methods.xEof = feedEnded;
        methods.xColumn = cellOfFeed;
        methods.xRowid = rowOfFeed;
        return methods;
    }();
    return module;
}

void callFunction(sqlite3_context* context, int, sqlite3_value** values) noexcept {
    try {
        const auto& make = *static_cast<const TextFunction::Make*>(sqlite3_user_data(context));
        const std::string_view text = make(Arguments(values));
        sqlite3_result_text(context, text.data(), static_cast<int>(text.size()), SQLITE_TRANSIENT);
    } catch (...) {
        sqlite3_result_error_nomem(context);  // nothing else can be wrong with making a text
    }
}

}  // namespace

FeedTable::FeedTable(Database& database, std::string name, const std::string& columns, Feed& feed)
    : database_(database),
      name_(std::move(name)),
      source_{&feed, fmt::format("CREATE TABLE feed({})", columns)} {
    const int code = sqlite3_create_module_v2(database_.handle(), name_.c_str(), &feedModule(),
                                              static_cast<void*>(&source_), nullptr);
    if (code != SQLITE_OK) database_.fail(code);
}

FeedTable::~FeedTable() {
    sqlite3_create_module_v2(database_.handle(), name_.c_str(), nullptr, nullptr, nullptr);
}

void FeedTable::run(const std::string& statement) {
    try {
        database_.run(statement);
    } catch (const StoreError&) {
        if (source_.failure) std::rethrow_exception(std::exchange(source_.failure, nullptr));
        throw;
    }
}

bool Arguments::isNull(int at) const noexcept {
    return sqlite3_value_type(values_[at]) == SQLITE_NULL;
}

std::int64_t Arguments::number(int at) const noexcept {
    return sqlite3_value_int64(values_[at]);
}

std::string_view Arguments::text(int at) const noexcept {
    sqlite3_value* const value = values_[at];
    const auto* bytes = sqlite3_value_text(value);
    if (bytes == nullptr) return {};
    return {reinterpret_cast<const char*>(bytes), static_cast<std::size_t>(sqlite3_value_bytes(value))};
}

TextFunction::TextFunction(Database& database, std::string name, int arguments, Make make)
    : database_(database), name_(std::move(name)), arguments_(arguments), make_(std::move(make)) {
    const int code = sqlite3_create_function_v2(
        database_.handle(), name_.c_str(), arguments_, SQLITE_UTF8 | SQLITE_DIRECTONLY,
        const_cast<void*>(static_cast<const void*>(&make_)), &callFunction, nullptr, nullptr, nullptr);
    if (code != SQLITE_OK) database_.fail(code);
}

TextFunction::~TextFunction() {
    sqlite3_create_function_v2(database_.handle(), name_.c_str(), arguments_, SQLITE_UTF8, nullptr, nullptr,
                               nullptr, nullptr, nullptr);
}

}  // namespace mailgate::store::sqlite
