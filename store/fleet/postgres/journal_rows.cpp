// SPDX-License-Identifier: Apache-2.0
#include "store/fleet/postgres/journal_rows.h"

#include "store/fleet/postgres/journal_columns.h"
#include "store/journal/mask.h"

#include <algorithm>
#include <optional>
#include <type_traits>
#include <utility>

namespace mailgate::store::postgres {

namespace {

using NamedText = std::pair<std::string, std::string>;

/// Up to the comma or the brace behind it.
std::string takeItem(std::string_view& rest) {
    std::string item;
    if (rest.starts_with('"')) {
        rest.remove_prefix(1);
        while (!rest.empty() && rest.front() != '"') {
            if (rest.front() == '\\' && rest.size() > 1) rest.remove_prefix(1);
            item += rest.front();
            rest.remove_prefix(1);
        }
        if (!rest.empty()) rest.remove_prefix(1);
        return item;
    }
    const std::size_t end = std::min(rest.find_first_of(",}"), rest.size());
    item = rest.substr(0, end);
    rest.remove_prefix(end);
    return item == "NULL" ? "" : item;
}

// How a column is read, by what the member is.
void read(std::string_view text, std::string& value) {
    value = text;
}
void read(std::string_view text, bool& value) noexcept {
    value = text == "t";
}
void read(std::string_view text, std::optional<bool>& value) noexcept {
    if (!text.empty()) value = text == "t";
}
void read(std::string_view text, AddressBytes& value) noexcept {
    value = journal::networkOf(text).address;
}
void read(std::string_view text, std::optional<AddressBytes>& value) noexcept {
    if (!text.empty()) value = journal::networkOf(text).address;
}
void read(std::string_view text, std::vector<std::string>& value) {
    value = arrayItems(text);
}
void read(std::string_view text, std::vector<NamedText>& value) {
    for (const std::string& item : arrayItems(text)) {
        const std::size_t equals = std::min(item.find('='), item.size());
        value.emplace_back(item.substr(0, equals), item.substr(std::min(equals + 1, item.size())));
    }
}

/// The recipients come first, and say how many there are.
void readHalf(std::string_view text, std::vector<JournalRefusal>& value, std::string JournalRefusal::*half) {
    std::vector<std::string> items = arrayItems(text);
    if (half == &JournalRefusal::to) value.resize(items.size());
    for (std::size_t at = 0; at < std::min(items.size(), value.size()); ++at)
        value[at].*half = std::move(items[at]);
}

template <typename Record>
Record recordOf(const Rows& rows, std::size_t row, int column) {
    Record record;
    eachColumn<Record>([&](const auto& field) {
        using Value = typename std::decay_t<decltype(field)>::Value;
        Value& value = record.*field.member;
        if constexpr (std::is_arithmetic_v<Value> && !std::is_same_v<Value, bool>)
            value = static_cast<Value>(rows.number(row, column));
        else if constexpr (std::is_same_v<Value, std::vector<JournalRefusal>>)
            readHalf(rows.view(row, column), value, field.half);
        else
            read(rows.view(row, column), value);
        if constexpr (std::is_same_v<Record, JournalSession>)
            if (field.masking == journal::Masking::Client)
                record.client_masked = journal::networkOf(rows.view(row, column)).prefix_length != 128;
        ++column;
    });
    return record;
}

}  // namespace

std::string sessionSelection(std::string_view alias) {
    return columnList<JournalSession>(std::string(alias) + ".");
}

std::string mailSelection(std::string_view alias) {
    return columnList<JournalMail>(std::string(alias) + ".");
}

JournalSession sessionOf(const Rows& rows, std::size_t row, int column, JournalKind kind) {
    auto session = recordOf<JournalSession>(rows, row, column);
    session.kind = kind;
    return session;
}

JournalMail mailOf(const Rows& rows, std::size_t row, int column) {
    return recordOf<JournalMail>(rows, row, column);
}

MissedRecords missedOf(const Rows& rows, std::size_t row, int column) {
    return {static_cast<std::uint64_t>(rows.number(row, column)), rows.view(row, column + 1) == "t",
            rows.number(row, column + 2), rows.number(row, column + 3)};
}

std::vector<std::string> arrayItems(std::string_view array) {
    std::vector<std::string> items;
    if (!array.starts_with('{')) return items;
    array.remove_prefix(1);
    while (!array.empty() && array.front() != '}') {
        items.push_back(takeItem(array));
        if (!array.starts_with(',')) break;
        array.remove_prefix(1);
    }
    return items;
}

}  // namespace mailgate::store::postgres
