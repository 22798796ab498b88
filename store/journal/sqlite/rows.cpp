// SPDX-License-Identifier: Apache-2.0
#include "store/journal/sqlite/rows.h"

#include "store/journal/mask.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <functional>
#include <type_traits>

namespace mailgate::store::journal {

namespace {

using Named = std::pair<std::string, std::string>;

template <typename Value>
constexpr bool kIsNumber = std::is_arithmetic_v<Value> || std::is_same_v<Value, std::optional<bool>>;
/// Has a table of its own.
template <typename Value>
constexpr bool kIsTable = std::is_same_v<Value, std::vector<JournalMail>>;

/// Calls `visit(field)` for those with a column.
template <typename Record, typename Visit>
void eachColumn(Visit visit) {
    eachField<Record>([&](const auto& field) {
        if constexpr (!kIsTable<typename std::decay_t<decltype(field)>::Value>)
            if (!field.column.empty()) visit(field);
    });
}

// Columns are never NULL: -1 and '' as in the records are fewer cases.
template <typename Record>
std::string addedColumnsOf(int version, std::string_view table) {
    std::string script;
    eachColumn<Record>([&](const auto& field) {
        if (field.since != version) return;
        const bool number = kIsNumber<typename std::decay_t<decltype(field)>::Value>;
        script += fmt::format("ALTER TABLE {} ADD COLUMN {} {} NOT NULL DEFAULT {};\n", table, field.column,
                              number ? "INTEGER" : "TEXT", number ? "0" : "''");
    });
    return script;
}

template <typename Record>
std::string insertInto(std::string_view table) {
    std::string columns = "key", places = "?1";
    int place = 1;
    eachColumn<Record>([&](const auto& field) {
        columns.append(", ").append(field.column);
        places += fmt::format(", ?{}", ++place);
    });
    return fmt::format("INSERT INTO {}({}) VALUES ({})", table, columns, places);
}

// Numbers as columns have them. A login of which nothing final is known: -1; before version 3: 0 without a
// user name too.
template <typename Value>
std::int64_t numberOf(Value value) noexcept {
    return static_cast<std::int64_t>(value);
}
std::int64_t numberOf(const std::optional<bool>& value) noexcept {
    return value ? numberOf(*value) : -1;
}

constexpr bool isEscaped(char character) noexcept {
    return static_cast<unsigned char>(character) < 0x20 || character == '%' || character == 0x7F;
}

/// "name=value", the value's control characters and % as %HH.
std::string namedLine(const Named& named) {
    std::string line = named.first + '=';
    for (const char character : named.second) {
        if (isEscaped(character))
            line += fmt::format("%{:02X}", static_cast<unsigned char>(character));
        else
            line += character;
    }
    return line;
}

template <typename Item, typename Line = std::identity>
std::string_view joinLines(std::string& text, const std::vector<Item>& items, Line line = {}) {
    text.clear();
    for (const Item& item : items) {
        if (&item != &items.front()) text += '\n';
        text += std::invoke(line, item);
    }
    return text;
}

// Texts as columns have them, the client's address included.
template <typename Record>
std::string_view textOf(const Field<Record, std::string>&, const std::string& value, ColumnText&) noexcept {
    return value;
}
template <typename OfField>
std::string_view textOf(const OfField&, const AddressBytes& value, ColumnText& column) {
    if (column.address != value) {
        column.whole = Network{value, 128}.toString();
        column.address = value;
    }
    return column.whole;
}
template <typename OfField>
std::string_view textOf(const OfField& field, const std::optional<AddressBytes>& value, ColumnText& column) {
    return value ? textOf(field, *value, column) : "";
}
template <typename OfField>
std::string_view textOf(const OfField&, const std::vector<std::string>& value, ColumnText& column) {
    return joinLines(column.whole, value);
}
template <typename OfField>
std::string_view textOf(const OfField&, const std::vector<Named>& value, ColumnText& column) {
    return joinLines(column.whole, value, namedLine);
}
template <typename OfField>
std::string_view textOf(const OfField& field, const std::vector<JournalRefusal>& value, ColumnText& column) {
    return joinLines(column.whole, value, field.half);
}

std::string unescaped(std::string_view value) {
    std::string text;
    for (std::size_t at = 0; at < value.size(); ++at) {
        unsigned byte = 0;
        const char* const digits = value.data() + at + 1;
        if (value[at] == '%' && at + 2 < value.size() &&
            std::from_chars(digits, digits + 2, byte, 16).ptr == digits + 2) {
            text += static_cast<char>(byte);
            at += 2;
        } else {
            text += value[at];
        }
    }
    return text;
}

Named namedOf(std::string_view line) {
    const std::size_t equals = std::min(line.find('='), line.size());
    return {std::string(line.substr(0, equals)), unescaped(line.substr(std::min(equals + 1, line.size())))};
}

// How a column is read, by what the member is.
void readNumber(std::int64_t number, std::optional<bool>& value) noexcept {
    if (number >= 0) value = number > 0;
}
template <typename Value>
void readNumber(std::int64_t number, Value& value) noexcept {
    value = static_cast<Value>(number);
}

void readText(std::string_view text, std::string& value) {
    value = text;
}
void readText(std::string_view text, AddressBytes& value) noexcept {
    value = networkOf(text).address;
}
void readText(std::string_view text, std::optional<AddressBytes>& value) noexcept {
    if (!text.empty()) value = networkOf(text).address;
}
void readText(std::string_view text, std::vector<std::string>& value) {
    eachLine(text, [&](std::string_view line) { value.emplace_back(line); });
}
void readText(std::string_view text, std::vector<Named>& value) {
    eachLine(text, [&](std::string_view line) { value.push_back(namedOf(line)); });
}

/// The recipients come first, and say how many there are.
void readHalf(std::string_view text, std::vector<JournalRefusal>& value, std::string JournalRefusal::*half) {
    std::size_t at = 0;
    eachLine(text, [&](std::string_view line) {
        if (half == &JournalRefusal::to) value.emplace_back();
        if (at < value.size()) value[at++].*half = line;
    });
}

/// From `column` on.
template <typename Record>
Record readRecord(const sqlite::RawStatement& row, int column) {
    Record record;
    eachColumn<Record>([&](const auto& field) {
        using Value = typename std::decay_t<decltype(field)>::Value;
        Value& value = record.*field.member;
        if constexpr (kIsNumber<Value>)
            readNumber(row.number(column), value);
        else if constexpr (std::is_same_v<Value, std::vector<JournalRefusal>>)
            readHalf(row.text(column), value, field.half);
        else
            readText(row.text(column), value);
        if constexpr (std::is_same_v<Record, JournalSession>)
            if (field.masking == Masking::Client)
                record.client_masked = networkOf(row.text(column)).prefix_length != 128;
        ++column;
    });
    return record;
}

}  // namespace

std::string addedColumns(int version) {
    std::string script;
    for (const Kind kind : kKinds)
        script += addedColumnsOf<JournalSession>(version, tableOf(kind));
    return script + addedColumnsOf<JournalMail>(version, "mail");
}

std::string insertSql(Kind kind) {
    return insertInto<JournalSession>(tableOf(kind));
}

std::string mailInsertSql() {
    return insertInto<JournalMail>("mail");
}

std::string addressInsertSql() {
    std::string columns = "key", places = "?1";
    int place = 1;
    eachColumn<JournalSession>([&](const auto& field) {
        if (!isApart(field.masking)) return;
        columns.append(", ").append(field.column);
        places += fmt::format(", ?{}", ++place);
    });
    return fmt::format("INSERT INTO client_address({}) VALUES ({})", columns, places);
}

/// What the row may have of it. The client comes before what may quote it.
std::string_view RowBinder::kept(std::string_view text, Masking masking, ColumnText& column) {
    switch (masking) {
        case Masking::None:
            return text;
        case Masking::Client:
            if (client_ != text) {
                client_ = text;
                masked_client_ = masked({*column.address, 128}).toString();
            }
            return masked_client_;
        case Masking::Network:
            if (isMaskedRule(text)) return text;
            if (column.kept_of != text) {
                column.kept_of = text;
                column.kept = maskedRule(text);
            }
            return column.kept;
        case Masking::HeloName:
            if (!text.starts_with('[') && text.find(client_) == std::string_view::npos) return text;
            return column.kept = maskedHelo(text, client_, masked_client_);
        case Masking::Quoted:
            if (text.find(client_) == std::string_view::npos) return text;
            return column.kept = withReplaced(text, client_, masked_client_);
    }
    return text;
}

template <typename Record>
void RowBinder::bindColumns(sqlite::RawStatement& insert, std::int64_t key, const Record& record,
                            Texts<Record>& texts) {
    insert.bind(1, key);
    int place = 1;
    eachColumn<Record>([&](const auto& field) {
        const auto& value = record.*field.member;
        ColumnText& text = texts[static_cast<std::size_t>(++place - 2)];
        if constexpr (kIsNumber<std::decay_t<decltype(value)>>)
            insert.bind(place, numberOf(value));
        else
            insert.bind(place, text.bound = kept(textOf(field, value, text), field.masking, text));
    });
}

void RowBinder::bindSession(sqlite::RawStatement& insert, std::int64_t key, const JournalSession& session) {
    bindColumns(insert, key, session, session_texts_);
}

void RowBinder::bindMail(sqlite::RawStatement& insert, std::int64_t key, const JournalMail& mail) {
    bindColumns(insert, key, mail, mail_texts_);
}

void RowBinder::bindAddress(sqlite::RawStatement& insert, std::int64_t key, const JournalSession& session) {
    insert.bind(1, key);
    int place = 1;
    std::size_t at = 0;
    eachColumn<JournalSession>([&](const auto& field) {
        ColumnText& text = session_texts_[at++];
        if constexpr (!kIsNumber<std::decay_t<decltype(session.*field.member)>>) {
            if (!isApart(field.masking)) return;
            const std::string_view whole = textOf(field, session.*field.member, text);
            if (whole == text.bound)
                insert.bindNull(++place);
            else
                insert.bind(++place, whole);
        }
    });
}

std::string selectSql(Kind kind, std::string_view condition) {
    std::string columns = "s.key";
    eachColumn<JournalSession>([&](const auto& field) {
        columns += isApart(field.masking) ? fmt::format(", coalesce(a.{0}, s.{0})", field.column)
                                          : fmt::format(", {}", field.column);
    });
    return fmt::format("SELECT {} FROM {} s LEFT JOIN client_address a ON a.key = s.key WHERE {}", columns,
                       tableOf(kind), condition);
}

std::string selectMaskedSql(Kind kind, std::string_view condition) {
    std::string columns = "s.key";
    eachColumn<JournalSession>([&](const auto& field) { columns += fmt::format(", s.{}", field.column); });
    return fmt::format("SELECT {} FROM {} s WHERE {}", columns, tableOf(kind), condition);
}

JournalSession readSession(const sqlite::RawStatement& row, Kind kind) {
    auto session = readRecord<JournalSession>(row, 1);  // the key is the caller's
    session.kind = kind;
    // As before version 3, which knew of the last login only.
    if (session.authenticated == false && session.failed_logins == 0) {
        if (session.user.empty())
            session.authenticated.reset();
        else
            session.failed_logins = 1;
    }
    return session;
}

std::string selectMailSql() {
    std::string columns;
    eachColumn<JournalMail>(
        [&](const auto& field) { columns.append(columns.empty() ? "" : ", ").append(field.column); });
    return fmt::format("SELECT {} FROM mail WHERE key BETWEEN ?1 AND ?2 ORDER BY key", columns);
}

JournalMail readMail(const sqlite::RawStatement& row) {
    auto mail = readRecord<JournalMail>(row, 0);
    if (!mail.replies.empty()) mail.replies.resize(mail.recipients.size());  // the last ones may be empty
    return mail;
}

void unmaskReplies(JournalSession& session) {
    const Network client{session.client, 128};
    const std::string address = client.toString();
    const std::string mask = masked(client).toString();
    const auto unmask = [&](std::string& reply) {
        if (reply.find(mask) != std::string::npos) reply = withReplaced(reply, mask, address);
    };
    unmask(session.reply);
    for (JournalMail& mail : session.mail) {
        unmask(mail.reply);
        unmask(mail.message_id);
        for (std::string& reply : mail.replies)
            unmask(reply);
        for (JournalRefusal& refusal : mail.refused)
            unmask(refusal.reply);
    }
}

}  // namespace mailgate::store::journal
