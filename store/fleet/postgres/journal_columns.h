// SPDX-License-Identifier: Apache-2.0
/// \file  The journals of a fleet's gateways as tables, whose columns come from the one list of fields
/// (store/journal/fields.h). Internal to store/.
///
///     journal       whose rows these are: one for each journal of a gateway, with the place up to which it is here
///     session       admitted sessions
///     refused       clients that were refused
///     further_mail  mails that did not wait for their session's end, with what was known of it then
///     mail          the transactions of a row of session or further_mail: the same journal, key and at_ms
///
/// session, refused and further_mail have the same columns. (journal, key) is one record; at_ms says when it ended, and
/// where it is kept: the tables are cut into days by it where the database can do that.
#pragma once

#include "store/journal/fields.h"

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

namespace mailgate::store::postgres {

/// The version of the journal's fields that has a column here. A later one takes a step of its own in schema.cpp.
constexpr int kJournalFields = 5;
static_assert(journal::newestVersion<JournalSession>() == kJournalFields &&
                  journal::newestVersion<JournalMail>() == kJournalFields,
              "the fleet's tables need a step of their own for the new fields: addedColumns() in schema.cpp");

constexpr std::int64_t kDayMs = 86'400'000;  ///< of a table, where there is one for each day

constexpr std::string_view tableOf(JournalKind kind) noexcept {
    constexpr std::array<std::string_view, 3> kTables{"session", "refused", "further_mail"};
    return kTables[static_cast<std::size_t>(kind)];
}
inline constexpr std::array<std::string_view, 4> kJournalTables{"session", "refused", "further_mail", "mail"};

/// What lasted longer has an index of its own: among what ended after a time it is found without the rest.
inline constexpr std::int64_t kLongMs = 3'600'000;

/// How a member is kept: by its type, and how its address is hidden, nothing else.
template <typename Value>
constexpr std::string_view columnType() noexcept {
    if constexpr (std::is_same_v<Value, bool>)
        return "boolean NOT NULL";
    else if constexpr (std::is_same_v<Value, std::optional<bool>>)
        return "boolean";
    else if constexpr (std::is_same_v<Value, AddressBytes>)
        return "inet NOT NULL";
    else if constexpr (std::is_same_v<Value, std::optional<AddressBytes>>)
        return "inet";
    else if constexpr (std::is_same_v<Value, std::uint16_t> || std::is_same_v<Value, std::uint32_t>)
        return "integer NOT NULL";  // what is counted with 32 bits does not come to that many
    else if constexpr (std::is_arithmetic_v<Value>)
        return "bigint NOT NULL";
    else if constexpr (std::is_same_v<Value, std::string>)
        return "text COLLATE \"C\" NOT NULL";
    else
        return "text[] COLLATE \"C\" NOT NULL";
}

/// Calls `visit(field)` for those with a column, in the list's order.
template <typename Record, typename Visit>
constexpr void eachColumn(Visit visit) {
    journal::eachField<Record>([&](const auto& field) {
        using Value = typename std::decay_t<decltype(field)>::Value;
        if constexpr (!std::is_same_v<Value, std::vector<JournalMail>>)
            if (!field.column.empty()) visit(field);
    });
}

/// Quoted, with commas between: what COPY and SELECT name. Without those that are for searching alone.
template <typename Record>
std::string columnList(std::string_view prefix = "") {
    std::string list;
    eachColumn<Record>([&](const auto& field) {
        if (!list.empty()) list += ", ";
        list.append(prefix).append("\"").append(field.column).append("\"");
    });
    return list;
}

/// The script that makes the tables. `by_day`: cut into days, which mailgate.make_day() adds and mailgate.drop_old_days()
/// removes; else they are plain ones.
std::string journalTables(bool by_day);

/// What schema 4 adds.
std::string journalTables4();

/// What schema 6 adds.
std::string journalTables6();

/// What gateways may do with them; `role` in SQL's form.
std::string journalGrants(bool by_day, const std::string& role);

/// As the database can have it: what is not UTF-8, and NUL, as \xHH. Everything else stays as it is.
std::string storable(std::string_view text);

// What rows are searched by. Of storable() text.

/// Of a user or an address: comparable() in lower case.
std::string searchKey(std::string_view text);
/// Of an address, so that those of a domain stand together: "example.org@alice" for Alice@Example.org; empty: the null sender.
std::string senderKey(std::string_view address);
/// Of an address its searchKey(), and "@" and its domain's.
std::vector<std::string> recipientKeys(std::string_view address);

}  // namespace mailgate::store::postgres
