// SPDX-License-Identifier: Apache-2.0
#include "store/fleet/postgres/journal_sums.h"

#include "protocols/values/text.h"
#include "store/fleet/postgres/journal_columns.h"
#include "store/fleet/postgres/journal_conditions.h"
#include "store/journal/mask.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cstddef>
#include <string_view>

namespace mailgate::store::postgres {

namespace {

/// As text: inet's own has /32 behind a single address.
constexpr std::string_view kClientText =
    "CASE WHEN masklen(client) = CASE family(client) WHEN 4 THEN 32 ELSE 128 END THEN host(client) ELSE "
    "text(client) "
    "END";
constexpr std::string_view kNetworkText =
    "text(network(set_masklen(client, least(masklen(client), CASE family(client) WHEN 4 THEN 24 ELSE 48 "
    "END))))";

/// What a session is summed up by; of users and HELO names not the empty one.
constexpr std::string_view nameOf(SumsOf what) noexcept {
    switch (what) {
        case SumsOf::Clients:
            return kClientText;
        case SumsOf::Networks:
            return kNetworkText;
        case SumsOf::Users:
            return "\"user\"";
        case SumsOf::Helos:
            return "helo";
        case SumsOf::Ends:
            return "CASE WHEN refused THEN 'refused: ' || \"end\" ELSE \"end\" END";
        case SumsOf::Senders:
        case SumsOf::Recipients:
            break;
    }
    return "";
}

constexpr bool isOfMail(SumsOf what) noexcept {
    return what == SumsOf::Senders || what == SumsOf::Recipients;
}

constexpr std::string_view weightOf(SumsBy by, bool of_mail) noexcept {
    switch (by) {
        case SumsBy::Sessions:
            return "sessions";
        case SumsBy::Bytes:
            return of_mail ? "bytes_in" : "bytes_in + bytes_out";
        case SumsBy::Refused:
            return of_mail ? "mails_refused" : "refused + mails_refused";
        case SumsBy::FailedLogins:
            return "failed_logins";
    }
    return "";
}

class Summing {
  public:
    Summing(const JournalTopQuery& query, const std::optional<std::vector<int>>& journals, const Ask& ask)
        : query_(query), journals_(journals), ask_(ask) {}

    JournalTop sumUp() {
        JournalTop top;
        addTotals(top);
        for (const SumsOf what : query_.of)
            top.sums[static_cast<std::size_t>(what)] =
                isOfMail(what) ? sumsOfMail(what) : sumsOfSessions(what);
        return top;
    }

  private:
    /// That are asked for, of these tables.
    std::string sessions(Conditions& conditions, std::string_view columns, JournalKind one,
                         JournalKind other);
    void addTotals(JournalTop& top);
    std::vector<JournalSums> sumsOfSessions(SumsOf what);
    std::string refusedMails(Conditions& conditions, SumsOf what);
    std::vector<JournalSums> sumsOfMail(SumsOf what);
    /// Of `sums`, a query of them with their names.
    Rows heaviest(Conditions& conditions, const std::string& sums, std::string_view weight);

    const JournalTopQuery& query_;
    const std::optional<std::vector<int>>& journals_;
    const Ask& ask_;
};

constexpr std::string_view kSummed =
    "greatest(s.repeated, 1) AS number, s.failed_logins, s.mail_count, s.bytes_in, s.bytes_out,"
    " s.client, s.\"user\", s.helo, s.\"end\"";
constexpr std::string_view kAbandoned = "(NOT m.accepted AND m.reply = '')";
constexpr std::string_view kSums =
    "sum(number)::bigint AS sessions, coalesce(sum(number) FILTER (WHERE refused), 0)::bigint AS refused,"
    " count(*) FILTER (WHERE failed_logins > 0) AS failed_logins, sum(mail_count)::bigint AS mails,"
    " sum(bytes_in)::bigint AS bytes_in, sum(bytes_out)::bigint AS bytes_out";

std::string Summing::sessions(Conditions& conditions, std::string_view columns, JournalKind one,
                              JournalKind other) {
    JournalFilter filter;
    filter.client = query_.client;
    filter.since_ms = query_.since_ms;
    filter.until_ms = query_.until_ms;
    addSessionConditions(conditions, filter, false);
    if (query_.listener)
        conditions.add(fmt::format("lower(s.listener) IN ({}, {})",
                                   conditions.bind(lowerCase(storable(*query_.listener))),
                                   conditions.bind(searchKey(storable(*query_.listener)))));
    if (journals_) conditions.add(fmt::format("s.journal = ANY({}::int[])", conditions.bindList(*journals_)));
    const auto from = [&](JournalKind kind) {
        return fmt::format("SELECT {} AS refused, {} FROM mailgate.{} s WHERE {}",
                           kind == JournalKind::Refused, columns, tableOf(kind), conditions.all());
    };
    return fmt::format("({} UNION ALL {}) r", from(one), from(other));
}

Rows Summing::heaviest(Conditions& conditions, const std::string& sums, std::string_view weight) {
    const std::string most = conditions.bind(static_cast<std::int64_t>(query_.limit));
    return ask_(fmt::format("SELECT * FROM ({}) t WHERE {} > 0 ORDER BY {} DESC, name COLLATE \"C\" LIMIT {}",
                            sums, weight, weight, most),
                conditions.parameters());
}

void Summing::addTotals(JournalTop& top) {
    Conditions conditions;
    const std::string from = sessions(conditions, kSummed, JournalKind::Session, JournalKind::Refused);
    const Rows rows =
        ask_(fmt::format("SELECT coalesce(sessions, 0), refused, failed_logins FROM (SELECT {} FROM {}) t",
                         kSums, from),
             conditions.parameters());
    top.sessions = static_cast<std::uint64_t>(rows.number(0, 0));
    top.refused = static_cast<std::uint64_t>(rows.number(0, 1));
    top.failed_logins = static_cast<std::uint64_t>(rows.number(0, 2));
}

/// Mails have a journal's session, or a record of their own beside it.
std::string Summing::refusedMails(Conditions& conditions, SumsOf what) {
    const std::string from = sessions(conditions, fmt::format("{}, s.journal, s.key, s.at_ms", kSummed),
                                      JournalKind::Session, JournalKind::Mail);
    return fmt::format(
        "SELECT name, count(*) FILTER (WHERE NOT {1}) AS mails_refused, count(*) FILTER (WHERE {1}) AS "
        "abandoned"
        " FROM (SELECT {0} AS name, journal, key, at_ms FROM {2}) n"
        " JOIN mailgate.mail m USING (journal, key, at_ms) WHERE NOT m.accepted AND name <> '' GROUP BY name",
        nameOf(what), kAbandoned, from);
}

std::vector<JournalSums> Summing::sumsOfSessions(SumsOf what) {
    Conditions conditions;
    const std::string from = sessions(conditions, kSummed, JournalKind::Session, JournalKind::Refused);
    const bool named = what == SumsOf::Users || what == SumsOf::Helos;
    const std::string of_sessions =
        fmt::format("SELECT {} AS name, {} FROM {} {} GROUP BY 1", nameOf(what), kSums, from,
                    named ? fmt::format("WHERE {} <> ''", nameOf(what)) : "");
    // A session that is not over has mails already.
    const Rows rows = heaviest(
        conditions,
        fmt::format("SELECT name, coalesce(sessions, 0) AS sessions, coalesce(refused, 0) AS refused,"
                    " coalesce(failed_logins, 0) AS failed_logins,"
                    " greatest(coalesce(mails, 0) - coalesce(abandoned, 0), 0) AS mails,"
                    " coalesce(mails_refused, 0) AS mails_refused, coalesce(bytes_in, 0) AS bytes_in,"
                    " coalesce(bytes_out, 0) AS bytes_out"
                    " FROM ({}) a FULL JOIN ({}) b USING (name)",
                    of_sessions, refusedMails(conditions, what)),
        weightOf(query_.by, false));
    std::vector<JournalSums> sums;
    for (std::size_t row = 0; row < rows.size(); ++row) {
        JournalSums& one = sums.emplace_back();
        one.name = rows.text(row, 0);
        if (what == SumsOf::Clients || what == SumsOf::Networks)
            one.name = journal::networkOf(one.name).toString();
        int column = 0;
        for (auto member :
             {&JournalSums::sessions, &JournalSums::refused, &JournalSums::failed_logins, &JournalSums::mails,
              &JournalSums::mails_refused, &JournalSums::bytes_in, &JournalSums::bytes_out})
            one.*member = static_cast<std::uint64_t>(rows.number(row, ++column));
    }
    return sums;
}

/// A session counts once for each.
std::vector<JournalSums> Summing::sumsOfMail(SumsOf what) {
    if (query_.by == SumsBy::FailedLogins) return {};  // mails have none
    Conditions conditions;
    const std::string from =
        sessions(conditions, "s.id, s.journal, s.key, s.at_ms", JournalKind::Session, JournalKind::Mail);
    const std::string mails = fmt::format(
        "{} JOIN mailgate.mail m ON m.journal = r.journal AND m.key = r.key AND m.at_ms = r.at_ms", from);
    std::string named = fmt::format(
        "SELECT m.sender AS name, r.id, NOT m.accepted AS refused, {} AS abandoned, m.size FROM {}",
        kAbandoned, mails);
    if (what == SumsOf::Recipients)
        named = fmt::format(
            "SELECT t.name, r.id, t.refused, t.abandoned, m.size FROM {} CROSS JOIN LATERAL ("
            "SELECT unnest(m.recipients) AS name, NOT m.accepted AS refused, {} AS abandoned"
            " UNION ALL SELECT unnest(m.refused), true, false) t",
            mails, kAbandoned);
    const Rows rows = heaviest(
        conditions,
        fmt::format(
            "SELECT name, count(DISTINCT id) AS sessions, count(*) FILTER (WHERE NOT abandoned) AS mails,"
            " count(*) FILTER (WHERE refused AND NOT abandoned) AS mails_refused, sum(size)::bigint AS "
            "bytes_in FROM ({}) n"
            " GROUP BY name",
            named),
        weightOf(query_.by, true));
    std::vector<JournalSums> sums;
    for (std::size_t row = 0; row < rows.size(); ++row) {
        JournalSums& one = sums.emplace_back();
        one.name = rows.text(row, 0);
        int column = 0;
        for (auto member : {&JournalSums::sessions, &JournalSums::mails, &JournalSums::mails_refused,
                            &JournalSums::bytes_in})
            one.*member = static_cast<std::uint64_t>(rows.number(row, ++column));
    }
    return sums;
}

}  // namespace

JournalTop sumUp(const JournalTopQuery& query, const std::optional<std::vector<int>>& journals,
                 const Ask& ask) {
    return Summing(query, journals, ask).sumUp();
}

}  // namespace mailgate::store::postgres
