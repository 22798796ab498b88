// SPDX-License-Identifier: Apache-2.0
#include "gateway/session/session_fields.h"

#include "protocols/stream/session_facts.h"
#include "store/journal/fields.h"

#include <algorithm>
#include <concepts>
#include <cstdlib>
#include <optional>
#include <type_traits>
#include <utility>
#include <vector>

namespace mailgate {

namespace {

using store::JournalKind;
using store::JournalMail;
using store::JournalSession;
using store::journal::Field;
using store::journal::Masking;
using store::journal::WhenEmpty;

/// Of the mails in a session's own line, so that escaping, and the fields around them, still fit.
constexpr std::size_t kMailBytesInLine = std::size_t{20} << 10;

std::size_t lengthOf(const JournalMail& mail) noexcept {
    std::size_t length = 100 + mail.from.size() + mail.reply.size() + mail.queue_id.size();
    for (const std::vector<std::string>* texts : {&mail.recipients, &mail.replies})
        for (const std::string& text : *texts)
            length += text.size() + 3;
    for (const store::JournalRefusal& refusal : mail.refused)
        length += refusal.to.size() + refusal.reply.size() + 20;
    return length;
}

// What a line says of a value. The session's mails are those of mailInLine().
void writeMail(LogLine& line, const JournalMail& mail);

template <typename Number>
requires std::is_arithmetic_v<Number>
bool isEmpty(Number value) noexcept {
    return value == Number{};
}
bool isEmpty(const std::string& value) noexcept {
    return value.empty();
}
bool isEmpty(const std::vector<std::string>& value) noexcept {
    return value.empty();
}
template <typename Value>
bool isEmpty(const std::optional<Value>& value) noexcept {
    return !value;
}

template <typename OfField>
void writeValue(LogLine& line, const OfField& field, const std::string& value) {
    line.text(field.name, value);
}
template <typename OfField>
void writeValue(LogLine& line, const OfField& field, bool value) {
    if (field.words[value].empty())
        line.boolean(field.name, value);
    else
        line.text(field.name, field.words[value]);
}
template <typename OfField>
void writeValue(LogLine& line, const OfField& field, std::int64_t span) {
    if (span < 0)
        line.null(field.name);
    else
        line.number(field.name, span);
}
template <typename OfField, std::unsigned_integral Number>
void writeValue(LogLine& line, const OfField& field, Number value) {
    line.number(field.name, static_cast<std::int64_t>(value));
}
template <typename OfField>
void writeValue(LogLine& line, const OfField& field, const AddressBytes& value) {
    line.text(field.name, Network{value, 128}.toString());
}
template <typename OfField, typename Value>
void writeValue(LogLine& line, const OfField& field, const std::optional<Value>& value) {
    writeValue(line, field, *value);
}
template <typename OfField>
void writeValue(LogLine& line, const OfField& field, const std::vector<std::string>& value) {
    line.beginArray(field.name);
    for (const std::string& item : value)
        line.item(item);
    line.endArray();
}
template <typename OfField>
void writeValue(LogLine& line, const OfField& field, const std::vector<store::JournalRefusal>& value) {
    line.beginArray(field.name);
    for (const store::JournalRefusal& refusal : value) {
        line.beginObject();
        line.text("to", refusal.to);
        line.textOrNull("reply", refusal.reply);
        line.endObject();
    }
    line.endArray();
}
/// What the balancer told has names of its own.
template <typename OfField>
void writeValue(LogLine& line, const OfField&,
                const std::vector<std::pair<std::string, std::string>>& value) {
    for (const auto& [name, text] : value) {
        if (name == "azure_link_id")
            line.number(name, std::strtoll(text.c_str(), nullptr, 10));
        else
            line.text(name, text);
    }
}

/// Has nothing that a line would say.
template <typename Record, typename Value>
bool lacks(const Field<Record, Value>& field, const Record& record) noexcept {
    if constexpr (requires { isEmpty(record.*field.member); })
        return field.when_empty != WhenEmpty::Written && isEmpty(record.*field.member);
    else
        return false;
}

template <typename Record, typename Value>
void writeField(LogLine& line, const Field<Record, Value>& field, const Record& record) {
    writeValue(line, field, record.*field.member);
}

/// What is left of the address may be a network.
void writeField(LogLine& line, const Field<JournalSession, AddressBytes>& field,
                const JournalSession& session) {
    if (field.masking == Masking::Client)
        line.text(field.name, store::clientNetwork(session).toString());
    else
        writeValue(line, field, session.*field.member);
}

void writeField(LogLine& line, const Field<JournalSession, std::vector<JournalMail>>& field,
                const JournalSession& session) {
    const auto mails = mailInLine(session);
    line.beginArray(field.name);
    for (const JournalMail& mail : mails) {
        line.beginObject();
        writeMail(line, mail);
        line.endObject();
    }
    line.endArray();
    if (session.mail_count > mails.size()) line.number("mail_count", session.mail_count);
}

/// The objects of a line that are open, as a path.
class ObjectPath {
  public:
    explicit ObjectPath(LogLine& line) noexcept : line_(line) {}

    void goTo(std::string_view path) {
        if (path.empty() && open_.empty()) return;
        while (!open_.empty() && path != open_ && !isIn(path, open_)) {
            line_.endObject();
            open_ = open_.substr(0, open_.rfind('.') == std::string_view::npos ? 0 : open_.rfind('.'));
        }
        while (open_ != path) {
            const std::size_t begin = open_.empty() ? 0 : open_.size() + 1;
            open_ = path.substr(0, path.find('.', begin));
            line_.beginObject(open_.substr(begin));
        }
    }

  private:
    static bool isIn(std::string_view path, std::string_view object) noexcept {
        return path.size() > object.size() && path.starts_with(object) && path[object.size()] == '.';
    }

    LogLine& line_;
    std::string_view open_;
};

template <typename Record>
void writeFields(LogLine& line, const Record& record, store::journal::Line of) {
    ObjectPath objects(line);
    store::journal::eachField<Record>([&](const auto& field) {
        if (field.name.empty() || (field.lines & of) == 0) return;
        if (field.applies && !field.applies(record)) return;
        const bool null = lacks(field, record);
        if (null && field.when_empty == WhenEmpty::LeftOut) return;
        objects.goTo(null ? std::string_view() : field.object);
        if (null)
            line.null(field.object.empty() ? field.name : field.object);
        else
            writeField(line, field, record);
    });
    objects.goTo({});
}

void writeMail(LogLine& line, const JournalMail& mail) {
    writeFields(line, mail, store::journal::kEveryLine);
}

}  // namespace

std::string_view eventOf(const JournalSession& session) noexcept {
    switch (session.kind) {
        case JournalKind::Session:
            return "session.end";
        case JournalKind::Refused:
            return "session.refused";
        case JournalKind::Mail:
            return "session.mail";
    }
    return "";
}

std::span<const JournalMail> mailInLine(const JournalSession& session) noexcept {
    if (session.kind != JournalKind::Session) return {};
    std::size_t count = 0, length = 0;
    while (count < std::min(session.mail.size(), kMaxTransactionsKept)) {
        const JournalMail& mail = session.mail[count];
        if (mail.number != 0) break;  // it had a line of its own before
        length += lengthOf(mail);
        if (length > kMailBytesInLine) break;
        ++count;
    }
    return std::span(session.mail).first(count);
}

void writeFurtherMail(LogLine& line, const JournalSession& session, std::size_t at) {
    const JournalMail& mail = session.mail[at];
    writeFields(line, session, store::journal::kMail);
    line.number("number", mail.number == 0 ? static_cast<std::int64_t>(at) + 1 : mail.number);
    writeMail(line, mail);
}

void writeSession(LogLine& line, const JournalSession& session) {
    if (session.kind == JournalKind::Mail) {
        if (!session.mail.empty()) writeFurtherMail(line, session, 0);
        return;
    }
    writeFields(line, session, store::journal::lineOf(session.kind));
}

}  // namespace mailgate
