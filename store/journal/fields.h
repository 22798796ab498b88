// SPDX-License-Identifier: Apache-2.0
/// \file  The one list of what a record says. The log's lines, the JSON of `mailgate sessions --json`, the
/// columns of a database, how they are written and read back, and the story of `mailgate sessions show` are
/// made from it.
///
/// A new field is a member in store/journal/record.h, a row here, and the place where it is set. Its column is
/// new in the version after the newest (`since`): an older database gets it when it is opened. docs/log.md has
/// to know it. Rows stand in the order of the log's lines; the client comes before what may quote its address.
#pragma once

#include "store/journal/record.h"

#include <algorithm>
#include <array>
#include <string_view>
#include <tuple>
#include <type_traits>

namespace mailgate::store::journal {

/// The events whose lines have a field.
enum Line : std::uint8_t { kNoLine = 0, kEnd = 1, kRefused = 2, kMail = 4, kSessions = 3, kEveryLine = 7 };

constexpr Line lineOf(JournalKind kind) noexcept {
    constexpr std::array<Line, 3> kLines{kEnd, kRefused, kMail};
    return kLines[static_cast<std::size_t>(kind)];
}

/// What a line says of an empty text or list, a zero, an optional without a value. A time span below zero is
/// null in any case.
enum class WhenEmpty : std::uint8_t { Written, Null, LeftOut };

/// How the client's address is taken out of what is kept for long (store/journal/mask.h). Of all but quoting
/// texts the whole is kept apart meanwhile.
enum class Masking : std::uint8_t { None, Client, Network, HeloName, Quoted };

/// Where `mailgate sessions show` tells a field: measures and outcome come after the mails.
enum class Part : std::uint8_t { Session, Measures, Outcome };

/// A column that has the name of the log.
inline constexpr std::string_view kSameName = "=";

/// What a row says beside the member.
template <typename OfRecord>
struct FieldRow {
    using Record = OfRecord;

    std::string_view name;  ///< in the log; empty: it has none there
    /// What it is in there, "tls" or "tls.client_certificate"; empty: the line itself. Rows of an object stand together. It is
    /// null where its first row is, and that is empty; then the others have to be left out.
    std::string_view object = {};
    Line lines = kEveryLine;
    WhenEmpty when_empty = WhenEmpty::Written;
    bool (*applies)(const Record& record) noexcept = nullptr;  ///< where it does not, lines leave it out
    std::array<std::string_view, 2> words{};                   ///< for false and true
    std::string_view column = kSameName;                       ///< in a database; empty: it has none
    int since = 1;  ///< the version of the database that had it first
    Masking masking = Masking::None;
    std::string JournalRefusal::*half = nullptr;  ///< of refusals: what the column has
    std::string_view label{};  ///< in the story; empty: told with another field, or not at all
    Part part = Part::Session;
    bool again = false;  ///< the member has a row above
};
template <typename OfRecord, typename OfValue>
struct Field : FieldRow<OfRecord> {
    using Value = OfValue;

    Value OfRecord::*member;
};

constexpr bool isApart(Masking masking) noexcept {
    return masking != Masking::None && masking != Masking::Quoted;
}

/// SMTP or LMTP.
bool carriesMail(const JournalSession& session) noexcept;

constexpr bool hasLogin(const JournalSession& session) noexcept {
    return !session.user.empty() || session.authenticated || session.failed_logins > 0;
}
constexpr bool hasFailedLogins(const JournalSession& session) noexcept {
    return hasLogin(session) && session.failed_logins > 0;
}
/// Here, that is.
constexpr bool endedTls(const JournalSession& session) noexcept {
    return session.tls_handshake_ms >= 0;
}
constexpr bool showedCertificate(const JournalSession& session) noexcept {
    return !session.tls_client_sha256.empty();
}
constexpr bool spokeTlsToServer(const JournalSession& session) noexcept {
    return !session.server_tls_version.empty();
}
constexpr bool hasLimit(const JournalSession& session) noexcept {
    return !session.limit.empty();
}
inline bool hasReply(const JournalSession& session) noexcept {
    return session.refused() || !session.would_refuse.empty() || !session.reply.empty();
}
constexpr bool hasRefused(const JournalMail& mail) noexcept {
    return mail.refused_count > 0 || !mail.refused.empty();
}
constexpr bool hasMoreRefused(const JournalMail& mail) noexcept {
    return mail.refused_count > mail.refused.size();
}
constexpr bool hasMoreRecipients(const JournalMail& mail) noexcept {
    return mail.recipient_count > mail.recipients.size();
}

namespace fields {
using S = JournalSession;
using M = JournalMail;
using enum WhenEmpty;
using enum Part;

/// A function: clang 14 does not deduce of what an aggregate is, nor lets one member's default be another.
template <typename Record, typename Value>
constexpr Field<Record, Value> field(Value Record::*member, std::type_identity_t<FieldRow<Record>> row) {
    if (row.column == kSameName) row.column = row.name;
    return {row, member};
}
}  // namespace fields

// A row for each.
// clang-format off
inline constexpr auto kSessionFields = [] {
    using namespace fields;
    return std::tuple{
        field(&S::id, {.name = "session", .column = "id", .label = "session"}),
        field(&S::gateway, {.name = "gateway", .when_empty = LeftOut, .column = "", .label = "gateway"}),
        field(&S::started_ms, {.name = "", .column = "started_ms", .label = "started"}),
        field(&S::listener, {.name = "listener", .label = "listener"}),
        field(&S::protocol, {.name = "protocol"}),
        field(&S::client, {.name = "client", .masking = Masking::Client, .label = "client"}),
        field(&S::client_port, {.name = "client_port"}),
        field(&S::balancer, {.name = "balancer", .lines = kSessions, .when_empty = Null, .label = "balancer"}),
        field(&S::destination, {.name = "destination", .lines = kSessions, .label = "destination"}),
        field(&S::destination_port, {.name = "destination_port", .lines = kSessions}),
        field(&S::allowed, {.name = "access", .lines = kSessions, .words = {"deny", "allow"}, .column = "allowed", .label = "access"}),
        field(&S::rule, {.name = "rule", .lines = kSessions, .when_empty = Null, .masking = Masking::Network}),
        field(&S::upstream, {.name = "upstream", .lines = kEnd, .when_empty = Null}),
        field(&S::server, {.name = "server", .lines = kEnd, .when_empty = Null, .label = "server"}),
        field(&S::helo, {.name = "helo", .lines = kEnd, .when_empty = Null, .applies = carriesMail, .masking = Masking::HeloName, .label = "helo"}),
        field(&S::user, {.name = "user", .lines = Line(kEnd | kMail), .when_empty = Null, .label = "user"}),
        field(&S::authenticated, {.name = "authenticated", .lines = kEnd, .when_empty = Null, .applies = hasLogin}),
        field(&S::failed_logins, {.name = "failed_logins", .lines = kSessions, .applies = hasLogin, .since = 3, .label = "failed logins"}),
        field(&S::failed_users, {.name = "failed_users", .lines = kSessions, .applies = hasFailedLogins, .since = 3}),
        field(&S::tls, {.name = "mode", .object = "tls", .lines = kEnd, .when_empty = Null, .column = "tls", .label = "tls"}),
        field(&S::tls_version, {.name = "version", .object = "tls", .lines = kEnd, .when_empty = LeftOut, .column = "tls_version", .since = 4}),  // with `mode`
        field(&S::tls_cipher, {.name = "cipher", .object = "tls", .lines = kEnd, .when_empty = LeftOut, .column = "tls_cipher", .since = 4}),
        field(&S::tls_sni, {.name = "sni", .object = "tls", .lines = kEnd, .when_empty = LeftOut, .column = "tls_sni", .since = 4, .label = "asked for"}),
        field(&S::tls_resumed, {.name = "resumed", .object = "tls", .lines = kEnd, .applies = endedTls, .column = "tls_resumed", .since = 4}),
        field(&S::tls_handshake_ms, {.name = "handshake_ms", .object = "tls", .lines = kEnd, .applies = endedTls, .column = "tls_handshake_ms", .since = 4, .label = "handshake", .part = Measures}),
        field(&S::tls_error, {.name = "error", .object = "tls", .lines = kEnd, .when_empty = LeftOut, .column = "tls_error", .since = 4, .label = "tls error", .part = Outcome}),
        field(&S::tls_client_subject, {.name = "subject", .object = "tls.client_certificate", .lines = kEnd, .when_empty = LeftOut, .column = "tls_client_subject", .since = 4, .label = "certificate"}),
        field(&S::tls_client_sha256, {.name = "sha256", .object = "tls.client_certificate", .lines = kEnd, .when_empty = LeftOut, .column = "tls_client_sha256", .since = 4}),
        field(&S::tls_client_verified, {.name = "verified", .object = "tls.client_certificate", .lines = kEnd, .applies = showedCertificate, .column = "tls_client_verified", .since = 4}),
        field(&S::server_tls, {.name = "mode", .object = "server_tls", .lines = kEnd, .when_empty = LeftOut, .column = "server_tls", .since = 5, .label = "server tls"}),
        field(&S::server_tls_version, {.name = "version", .object = "server_tls", .lines = kEnd, .when_empty = LeftOut, .column = "server_tls_version", .since = 5}),  // with `mode`
        field(&S::server_tls_cipher, {.name = "cipher", .object = "server_tls", .lines = kEnd, .when_empty = LeftOut, .column = "server_tls_cipher", .since = 5}),
        field(&S::server_tls_resumed, {.name = "resumed", .object = "server_tls", .lines = kEnd, .applies = spokeTlsToServer, .column = "server_tls_resumed", .since = 5}),
        field(&S::server_tls_verified, {.name = "verified", .object = "server_tls", .lines = kEnd, .applies = spokeTlsToServer, .column = "server_tls_verified", .since = 5}),
        field(&S::server_tls_error, {.name = "error", .object = "server_tls", .lines = kEnd, .when_empty = LeftOut, .column = "server_tls_error", .since = 5, .label = "server tls error", .part = Outcome}),
        field(&S::mail, {.name = "mail", .lines = kEnd, .applies = carriesMail, .column = "", .label = "mail"}),
        field(&S::mail_count, {.name = "mail_count", .lines = kNoLine}),  // goes with the mail
        field(&S::would_refuse, {.name = "would_refuse", .lines = kSessions, .when_empty = LeftOut, .since = 4, .label = "would refuse", .part = Outcome}),
        field(&S::rule_id, {.name = "rule_id", .lines = kSessions, .when_empty = LeftOut, .since = 3}),
        field(&S::end, {.name = "reason", .lines = kRefused, .column = "", .again = true}),
        field(&S::limit, {.name = "limit", .lines = kSessions, .when_empty = LeftOut, .column = "limit_name", .since = 3, .label = "limit", .part = Outcome}),
        field(&S::limit_value, {.name = "limit_value", .lines = kSessions, .applies = hasLimit, .since = 3}),
        field(&S::reply, {.name = "reply", .lines = kSessions, .when_empty = Null, .applies = hasReply, .since = 3, .masking = Masking::Quoted, .label = "told", .part = Outcome}),
        field(&S::balancer_told, {.name = "balancer_told", .lines = kSessions, .since = 3}),  // each by its own name
        field(&S::repeated, {.name = "repeated", .lines = kRefused, .when_empty = LeftOut, .since = 3, .label = "times", .part = Outcome}),
        field(&S::bytes_in, {.name = "bytes_in", .lines = kEnd, .label = "bytes", .part = Measures}),
        field(&S::bytes_out, {.name = "bytes_out", .lines = kEnd}),
        field(&S::header_ms, {.name = "header_ms", .lines = kEnd, .label = "header", .part = Measures}),
        field(&S::connect_ms, {.name = "connect_ms", .lines = kEnd, .label = "connect", .part = Measures}),
        field(&S::greeting_ms, {.name = "greeting_ms", .lines = kEnd, .label = "greeting", .part = Measures}),
        field(&S::duration_ms, {.name = "duration_ms", .lines = kEnd, .label = "duration", .part = Measures}),
        field(&S::end, {.name = "end", .lines = kEnd, .label = "end", .part = Outcome}),
        field(&S::violation, {.name = "violation", .lines = kEnd, .when_empty = LeftOut, .since = 3, .label = "violation", .part = Outcome}),
    };
}();

inline constexpr auto kMailFields = [] {
    using namespace fields;
    return std::tuple{
        field(&M::from, {.name = "from", .column = "sender", .label = "mail from"}),
        field(&M::recipients, {.name = "recipients", .label = "  to"}),
        field(&M::recipient_count, {.name = "recipient_count", .applies = hasMoreRecipients, .label = "  to"}),
        field(&M::refused, {.name = "refused", .applies = hasRefused, .since = 3, .half = &JournalRefusal::to, .label = "  refused"}),
        field(&M::refused, {.name = "", .column = "refused_replies", .since = 3, .masking = Masking::Quoted, .half = &JournalRefusal::reply, .again = true}),
        field(&M::refused_count, {.name = "refused_count", .applies = hasMoreRefused, .column = "recipients_refused", .since = 2, .label = "  refused"}),
        field(&M::size, {.name = "size", .label = "  size"}),
        field(&M::reply, {.name = "reply", .when_empty = Null, .masking = Masking::Quoted, .label = "  reply"}),
        field(&M::replies, {.name = "replies", .when_empty = LeftOut, .since = 2, .masking = Masking::Quoted}),
        field(&M::queue_id, {.name = "queue_id", .when_empty = Null, .label = "  queue id"}),
        field(&M::message_id, {.name = "message_id", .when_empty = LeftOut, .since = 5, .masking = Masking::Quoted, .label = "  message id"}),
        field(&M::accepted, {.name = "", .column = "accepted"}),
        field(&M::truncated, {.name = "truncated", .when_empty = LeftOut, .since = 3}),
    };
}();
// clang-format on

template <typename Record>
constexpr const auto& fieldsOf() noexcept {
    if constexpr (std::is_same_v<Record, JournalSession>)
        return kSessionFields;
    else
        return kMailFields;
}

/// Calls `visit(field)` for each, in the list's order.
template <typename Record, typename Visit>
constexpr void eachField(Visit visit) {
    std::apply([&](const auto&... field) { (visit(field), ...); }, fieldsOf<Record>());
}

/// The version that has all of their columns.
template <typename Record>
constexpr int newestVersion() noexcept {
    int newest = 1;
    eachField<Record>([&](const auto& field) { newest = std::max(newest, field.since); });
    return newest;
}

}  // namespace mailgate::store::journal
