// SPDX-License-Identifier: Apache-2.0
#include "store/journal/sqlite/schema.h"

#include "store/journal/mask.h"
#include "store/sqlite/migrator.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <charconv>

namespace mailgate::store::journal {

namespace {

// -1 and '' as in JournalSession: fewer cases than NULLs, and the columns stay STRICT.
constexpr std::string_view kSessionTable = R"(
CREATE TABLE {}(
  key              INTEGER PRIMARY KEY,
  id               TEXT NOT NULL,
  started_ms       INTEGER NOT NULL,
  listener         TEXT NOT NULL,
  protocol         TEXT NOT NULL,
  client           TEXT NOT NULL,
  client_port      INTEGER NOT NULL,
  balancer         TEXT NOT NULL,
  destination      TEXT NOT NULL,
  destination_port INTEGER NOT NULL,
  allowed          INTEGER NOT NULL,
  rule             TEXT NOT NULL,
  upstream         TEXT NOT NULL,
  server           TEXT NOT NULL,
  helo             TEXT NOT NULL,
  user             TEXT NOT NULL,
  tls              TEXT NOT NULL,
  authenticated    INTEGER NOT NULL,
  mail_count       INTEGER NOT NULL,
  bytes_in         INTEGER NOT NULL,
  bytes_out        INTEGER NOT NULL,
  header_ms        INTEGER NOT NULL,
  connect_ms       INTEGER NOT NULL,
  greeting_ms      INTEGER NOT NULL,
  duration_ms      INTEGER NOT NULL,
  end              TEXT NOT NULL
) STRICT;
)";

constexpr std::string_view kOtherTables = R"(
CREATE TABLE mail(
  key             INTEGER PRIMARY KEY,
  sender          TEXT NOT NULL,
  recipients      TEXT NOT NULL,
  recipient_count INTEGER NOT NULL,
  size            INTEGER NOT NULL,
  queue_id        TEXT NOT NULL,
  reply           TEXT NOT NULL,
  accepted        INTEGER NOT NULL
) STRICT;

CREATE TABLE segment(
  number    INTEGER PRIMARY KEY AUTOINCREMENT,
  refused   INTEGER NOT NULL,
  rows      INTEGER NOT NULL,
  first_ms  INTEGER NOT NULL,
  last_ms   INTEGER NOT NULL,
  opened_ms INTEGER NOT NULL,
  sealed    INTEGER NOT NULL DEFAULT 0,
  masked    INTEGER NOT NULL DEFAULT 0
) STRICT;

CREATE TABLE term_page(
  key   INTEGER PRIMARY KEY,
  terms BLOB NOT NULL
) STRICT;
)";

constexpr std::string_view kApartAddresses = R"(
CREATE TABLE client_address(
  key    INTEGER PRIMARY KEY,
  client TEXT NOT NULL,
  rule   TEXT,  -- NULL: nothing more than in the session's row
  helo   TEXT
) STRICT;

CREATE TABLE address_page(
  key   INTEGER PRIMARY KEY,
  terms BLOB NOT NULL
) STRICT;

ALTER TABLE segment ADD COLUMN addresses INTEGER NOT NULL DEFAULT 0;
ALTER TABLE segment DROP COLUMN masked;
ALTER TABLE mail ADD COLUMN recipients_refused INTEGER NOT NULL DEFAULT 0;
ALTER TABLE mail ADD COLUMN replies TEXT NOT NULL DEFAULT '';
)";

// What a row has beyond version 2; values of a kind stand in lines.
constexpr std::string_view kLaterColumns = R"(
ALTER TABLE {0} ADD COLUMN failed_logins INTEGER NOT NULL DEFAULT 0;
ALTER TABLE {0} ADD COLUMN failed_users TEXT NOT NULL DEFAULT '';
ALTER TABLE {0} ADD COLUMN balancer_told TEXT NOT NULL DEFAULT '';
ALTER TABLE {0} ADD COLUMN violation TEXT NOT NULL DEFAULT '';
ALTER TABLE {0} ADD COLUMN reply TEXT NOT NULL DEFAULT '';
ALTER TABLE {0} ADD COLUMN limit_name TEXT NOT NULL DEFAULT '';
ALTER TABLE {0} ADD COLUMN limit_value INTEGER NOT NULL DEFAULT 0;
ALTER TABLE {0} ADD COLUMN repeated INTEGER NOT NULL DEFAULT 0;
ALTER TABLE {0} ADD COLUMN rule_id INTEGER NOT NULL DEFAULT 0;
)";

constexpr std::string_view kRefusedRecipients = R"(
ALTER TABLE segment RENAME COLUMN refused TO kind;  -- as JournalKind
ALTER TABLE mail ADD COLUMN refused TEXT NOT NULL DEFAULT '';
ALTER TABLE mail ADD COLUMN refused_replies TEXT NOT NULL DEFAULT '';
ALTER TABLE mail ADD COLUMN truncated INTEGER NOT NULL DEFAULT 0;
)";

constexpr std::string_view kColumns =
    "key, id, started_ms, listener, protocol, client, client_port, balancer, destination, destination_port,"
    " allowed, rule, upstream, server, helo, user, tls, authenticated, mail_count, bytes_in, bytes_out,"
    " header_ms, connect_ms, greeting_ms, duration_ms, end, failed_logins, failed_users, balancer_told,"
    " violation, reply, limit_name, limit_value, repeated, rule_id";
constexpr int kColumnCount = 35;
constexpr std::string_view kWholeColumns =
    "s.key, id, started_ms, listener, protocol, coalesce(a.client, s.client), client_port, balancer,"
    " destination, destination_port, allowed, coalesce(a.rule, s.rule), upstream, server,"
    " coalesce(a.helo, s.helo), user, tls, authenticated, mail_count, bytes_in, bytes_out, header_ms,"
    " connect_ms, greeting_ms, duration_ms, end, failed_logins, failed_users, balancer_told, violation, "
    "reply,"
    " limit_name, limit_value, repeated, rule_id";

std::string version1() {
    return fmt::format(kSessionTable, tableOf(Kind::Session)) +
           fmt::format(kSessionTable, tableOf(Kind::Refused)) + std::string(kOtherTables);
}

std::string version2() {
    return std::string(kApartAddresses);
}

std::string version3() {
    std::string script = fmt::format(kSessionTable, tableOf(Kind::Mail));
    for (const Kind kind : kKinds)
        script += fmt::format(kLaterColumns, tableOf(kind));
    return script + std::string(kRefusedRecipients);
}

/// -1: nothing final. Before version 3: 0 without a user name too.
constexpr int authenticatedColumn(const std::optional<bool>& authenticated) noexcept {
    return authenticated ? static_cast<int>(*authenticated) : -1;
}

constexpr bool isEscaped(char character) noexcept {
    return static_cast<unsigned char>(character) < 0x20 || character == '%' || character == 0x7F;
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

std::vector<std::pair<std::string, std::string>> namedOf(std::string_view lines) {
    std::vector<std::pair<std::string, std::string>> named;
    eachLine(lines, [&](std::string_view line) {
        const std::size_t equals = std::min(line.find('='), line.size());
        named.emplace_back(line.substr(0, equals), unescaped(line.substr(std::min(equals + 1, line.size()))));
    });
    return named;
}

constexpr std::array<sqlite::Schema::Migration, 3> kMigrations{version1, version2, version3};
constexpr sqlite::Migrator kMigrator{
    {.application_id = kApplicationId,
     .migrations = kMigrations,
     .page_size = 8'192,  // rows of some 300 bytes that are only appended: larger pages are fewer writes
     .empty_kind = StoreError::Kind::Open,
     .empty = "nothing has been written to this journal yet: does the gateway run with this configuration?",
     .foreign = "is not a journal",
     .elsewhere = "name another file in [journal] url",
     .before = "name another file in [journal] url"}};

}  // namespace

std::vector<Segment> readSegments(sqlite::Database& database) {
    std::vector<Segment> segments;
    sqlite::RawStatement select(database,
                                "SELECT number, kind, rows, first_ms, last_ms, opened_ms, sealed, addresses"
                                " FROM segment ORDER BY number");
    while (select.step())
        segments.push_back({select.number(0), static_cast<Kind>(select.number(1)), select.number(2),
                            select.number(3), select.number(4), select.number(5), select.number(6) != 0,
                            static_cast<Addresses>(select.number(7))});
    return segments;
}

void migrate(sqlite::Database& database, bool create) {
    kMigrator.migrate(database, create);
}

std::string namedLines(const std::vector<std::pair<std::string, std::string>>& named) {
    std::string lines;
    for (const auto& [name, value] : named) {
        if (!lines.empty()) lines += '\n';
        lines += name + '=';
        for (const char character : value) {
            if (isEscaped(character))
                lines += fmt::format("%{:02X}", static_cast<unsigned char>(character));
            else
                lines += character;
        }
    }
    return lines;
}

std::string insertSql(Kind kind) {
    std::string places = "?1";
    for (int place = 2; place <= kColumnCount; ++place)
        places += fmt::format(", ?{}", place);
    return fmt::format("INSERT INTO {}({}) VALUES ({})", tableOf(kind), kColumns, places);
}

void bindSession(sqlite::RawStatement& insert, std::int64_t key, const JournalSession& session,
                 const RowTexts& texts) {
    int place = 0;
    const auto number = [&](auto value) { insert.bind(++place, static_cast<std::int64_t>(value)); };
    const auto text = [&](std::string_view value) { insert.bind(++place, value); };
    number(key);
    text(session.id);
    number(session.started_ms);
    text(session.listener);
    text(session.protocol);
    text(texts.client);
    number(session.client_port);
    text(texts.balancer);
    text(texts.destination);
    number(session.destination_port);
    number(session.allowed);
    text(texts.rule);
    text(session.upstream);
    text(session.server);
    text(texts.helo);
    text(session.user);
    text(session.tls);
    number(authenticatedColumn(session.authenticated));
    number(session.mail_count);
    number(session.bytes_in);
    number(session.bytes_out);
    number(session.header_ms);
    number(session.connect_ms);
    number(session.greeting_ms);
    number(session.duration_ms);
    text(session.end);
    number(session.failed_logins);
    text(texts.failed_users);
    text(texts.balancer_told);
    text(session.violation);
    text(texts.reply);
    text(session.limit);
    number(session.limit_value);
    number(session.repeated);
    number(session.rule_id);
}

std::string selectSql(Kind kind, std::string_view condition) {
    return fmt::format("SELECT {} FROM {} s LEFT JOIN client_address a ON a.key = s.key WHERE {}",
                       kWholeColumns, tableOf(kind), condition);
}

JournalSession readSession(const sqlite::RawStatement& row, Kind kind) {
    JournalSession session;
    int column = 0;  // the key is the caller's
    const auto text = [&] { return row.text(++column); };
    const auto number = [&](auto& value) {
        value = static_cast<std::remove_reference_t<decltype(value)>>(row.number(++column));
    };
    session.kind = kind;
    session.id = text();
    number(session.started_ms);
    session.listener = text();
    session.protocol = text();
    const Network client = networkOf(text());
    session.client = client.address;
    session.client_masked = client.prefix_length != 128;
    number(session.client_port);
    if (const std::string_view balancer = text(); !balancer.empty())
        session.balancer = networkOf(balancer).address;
    session.destination = networkOf(text()).address;
    number(session.destination_port);
    number(session.allowed);
    for (std::string* value :
         {&session.rule, &session.upstream, &session.server, &session.helo, &session.user, &session.tls})
        *value = text();
    int authenticated = 0;
    number(authenticated);
    number(session.mail_count);
    number(session.bytes_in);
    number(session.bytes_out);
    number(session.header_ms);
    number(session.connect_ms);
    number(session.greeting_ms);
    number(session.duration_ms);
    session.end = text();
    number(session.failed_logins);
    eachLine(text(), [&](std::string_view user) { session.failed_users.emplace_back(user); });
    session.balancer_told = namedOf(text());
    session.violation = text();
    session.reply = text();
    session.limit = text();
    number(session.limit_value);
    number(session.repeated);
    number(session.rule_id);
    const bool said = authenticated > 0 || session.failed_logins > 0 || !session.user.empty();
    if (authenticated >= 0 && said) session.authenticated = authenticated > 0;
    if (session.authenticated == false) session.failed_logins = std::max(session.failed_logins, 1u);
    return session;
}

JournalMail readMail(const sqlite::RawStatement& row) {
    JournalMail mail;
    mail.from = row.text(0);
    eachLine(row.text(1), [&](std::string_view recipient) { mail.recipients.emplace_back(recipient); });
    mail.recipient_count = static_cast<std::uint32_t>(row.number(2));
    mail.size = static_cast<std::uint64_t>(row.number(3));
    mail.reply = row.text(4);
    mail.accepted = row.number(5) != 0;
    mail.refused_count = static_cast<std::uint32_t>(row.number(6));
    eachLine(row.text(7), [&](std::string_view reply) { mail.replies.emplace_back(reply); });
    if (!mail.replies.empty()) mail.replies.resize(mail.recipients.size());  // the last ones may be empty
    mail.queue_id = row.text(8);
    eachLine(row.text(9), [&](std::string_view to) { mail.refused.push_back({std::string(to), {}}); });
    std::size_t at = 0;
    eachLine(row.text(10), [&](std::string_view reply) {
        if (at < mail.refused.size()) mail.refused[at++].reply = reply;
    });
    mail.truncated = row.number(11) != 0;
    return mail;
}

}  // namespace mailgate::store::journal
