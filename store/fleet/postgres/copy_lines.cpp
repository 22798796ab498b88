// SPDX-License-Identifier: Apache-2.0
#include "store/fleet/postgres/copy_lines.h"

#include "protocols/values/network.h"
#include "store/fleet/postgres/journal_columns.h"

#include <fmt/format.h>

#include <algorithm>
#include <iterator>
#include <limits>
#include <set>

namespace mailgate::store::postgres {

namespace {

/// What goes as it is: printable ASCII but for what COPY and arrays escape.
constexpr bool isCopiedAsIs(char character) noexcept {
    return character >= 0x20 && character < 0x7F && character != '\\' && character != '"';
}

bool isPlainText(std::string_view text) noexcept {
    return std::all_of(text.begin(), text.end(), isCopiedAsIs);
}

void appendCopied(std::string& line, char character) {
    switch (character) {
        case '\\':
            line += "\\\\";
            break;
        case '\t':
            line += "\\t";
            break;
        case '\n':
            line += "\\n";
            break;
        case '\r':
            line += "\\r";
            break;
        default:
            line += character;
    }
}

void appendColumn(std::string& line, std::string_view text) {
    if (isPlainText(text)) {
        line += text;
        return;
    }
    for (const char character : storable(text))
        appendCopied(line, character);
}

/// {"one","two"}
class ArrayColumn {
  public:
    explicit ArrayColumn(std::string& line) : line_(line) { line_ += '{'; }
    ~ArrayColumn() { line_ += '}'; }
    ArrayColumn(const ArrayColumn&) = delete;
    ArrayColumn& operator=(const ArrayColumn&) = delete;

    void add(std::string_view item) {
        line_ += first_ ? "\"" : ",\"";
        first_ = false;
        if (isPlainText(item)) {
            line_ += item;
        } else {
            for (const char character : storable(item)) {
                if (character == '"' || character == '\\') line_ += "\\\\";
                appendCopied(line_, character);
            }
        }
        line_ += '"';
    }

  private:
    std::string& line_;
    bool first_ = true;
};

// How a member is written, by its type.
template <typename Number>
requires std::is_arithmetic_v<Number>
void appendColumn(std::string& line, Number value) {
    if constexpr (std::is_same_v<Number, std::uint32_t>)
        fmt::format_to(std::back_inserter(line), "{}",
                       std::min<std::uint32_t>(value, std::numeric_limits<std::int32_t>::max()));
    else if constexpr (std::is_same_v<Number, std::uint64_t>)
        fmt::format_to(std::back_inserter(line), "{}",
                       std::min<std::uint64_t>(value, std::numeric_limits<std::int64_t>::max()));
    else
        fmt::format_to(std::back_inserter(line), "{}", value);
}
void appendColumn(std::string& line, bool value) {
    line += value ? 't' : 'f';
}
void appendColumn(std::string& line, const std::optional<bool>& value) {
    line += !value ? "\\N" : *value ? "t" : "f";
}
void appendColumn(std::string& line, const std::optional<AddressBytes>& value) {
    line += value ? Network{*value, 128}.toString() : "\\N";
}
void appendColumn(std::string& line, const std::vector<std::string>& value) {
    ArrayColumn array(line);
    for (const std::string& item : value)
        array.add(item);
}
void appendColumn(std::string& line, const std::vector<std::pair<std::string, std::string>>& value) {
    ArrayColumn array(line);
    for (const auto& [name, text] : value)
        array.add(fmt::format("{}={}", name, text));
}

/// Of a session; a mail has none of its own.
template <typename Record>
std::string clientOf(const Record& record) {
    return clientNetwork(record).toString();
}

/// With the columns' tabs.
template <typename Record>
void appendFields(std::string& line, const Record& record) {
    eachColumn<Record>([&](const auto& field) {
        const auto& value = record.*field.member;
        if constexpr (std::is_same_v<std::decay_t<decltype(value)>, std::vector<JournalRefusal>>) {
            ArrayColumn array(line);
            for (const JournalRefusal& refusal : value)
                array.add(refusal.*field.half);
        } else if constexpr (std::is_same_v<std::decay_t<decltype(value)>, AddressBytes>) {
            line +=
                field.masking == journal::Masking::Client ? clientOf(record) : Network{value, 128}.toString();
        } else {
            appendColumn(line, value);
        }
        line += '\t';
    });
}

std::string keyOf(std::string_view text) {
    return searchKey(storable(text));
}

void appendMail(std::string& lines, std::int64_t journal, std::int64_t key, std::size_t number,
                std::int64_t at_ms, const JournalMail& mail) {
    fmt::format_to(std::back_inserter(lines), "{}\t{}\t{}\t{}\t", journal, key, number, at_ms);
    appendFields(lines, mail);
    appendColumn(lines, std::string_view(senderKey(storable(mail.from))));
    lines += '\t';
    std::set<std::string> keys;
    const auto note = [&](const std::string& address) {
        for (std::string& one : recipientKeys(storable(address)))
            keys.insert(std::move(one));
    };
    for (const std::string& recipient : mail.recipients)
        note(recipient);
    for (const JournalRefusal& refusal : mail.refused)
        note(refusal.to);
    {
        ArrayColumn array(lines);
        for (const std::string& one : keys)
            array.add(one);
    }
    lines += '\n';
}

}  // namespace

std::int64_t keptAt(const JournalSession& record, const KeptTime& kept) noexcept {
    return std::clamp(record.endedMs(), kept.first_ms, kept.end_ms - 1);
}

std::string sessionColumns() {
    return fmt::format("journal, key, at_ms, {}, user_key, failed_user_keys", columnList<JournalSession>());
}

std::string mailColumns() {
    return fmt::format("journal, key, number, at_ms, {}, sender_key, recipient_keys",
                       columnList<JournalMail>());
}

void appendLines(std::string& rows, std::string& mails, std::int64_t journal, std::int64_t key,
                 std::int64_t at_ms, const JournalSession& record) {
    fmt::format_to(std::back_inserter(rows), "{}\t{}\t{}\t", journal, key, at_ms);
    appendFields(rows, record);
    appendColumn(rows, std::string_view(keyOf(record.user)));
    rows += '\t';
    {
        ArrayColumn array(rows);
        for (const std::string& user : record.failed_users)
            array.add(keyOf(user));
    }
    rows += '\n';
    for (std::size_t number = 0; number < record.mail.size(); ++number)
        appendMail(mails, journal, key, number, at_ms, record.mail[number]);
}

}  // namespace mailgate::store::postgres
