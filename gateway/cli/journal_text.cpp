// SPDX-License-Identifier: Apache-2.0
#include "gateway/cli/journal_text.h"

#include "gateway/log/escape.h"
#include "gateway/session/session_fields.h"
#include "protocols/stream/session_facts.h"
#include "protocols/values/text.h"
#include "store/journal/fields.h"
#include "store/journal/filter.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <concepts>
#include <type_traits>
#include <utility>

namespace mailgate::cli {

namespace {

using store::JournalMail;
using store::JournalSession;
using store::JournalSums;

std::string addressText(const AddressBytes& address) {
    return Network{address, 128}.toString();
}

std::string shortId(const JournalSession& session) {
    return orDash(std::string_view(session.id).substr(0, kShownOfId));
}

/// What became of the user's login: nothing where the server took him at once.
std::string loginText(const JournalSession& session) {
    if (session.failed_logins == 0) {
        if (session.authenticated || session.user.empty()) return "";
        return session.wasToldToBeginTls() ? " (no TLS)" : " (no verdict)";
    }
    if (session.authenticated == true)
        return fmt::format(" ({} failed before)", grouped(session.failed_logins));
    return session.failed_logins == 1 ? " (failed)"
                                      : fmt::format(" ({} failed)", grouped(session.failed_logins));
}

Cell whoText(const JournalSession& session) {
    const bool failed = session.failed_logins > 0 && session.authenticated != true;
    return {orDash(session.user.empty() ? session.helo : session.user) + loginText(session),
            failed ? Colour::Warning : Colour::None};
}

/// "TLS1.3" where it ended here; else what was seen of it.
std::string tlsText(const JournalSession& session) {
    if (session.tls_version.starts_with("TLSv")) return "TLS" + session.tls_version.substr(4);
    if (session.tls == "starttls") return "STARTTLS";
    return session.tls.empty() ? orDash("") : "TLS";
}

std::string recipientsText(const JournalMail& mail) {
    const bool none = mail.recipients.empty();
    std::string text = orDash(none && !mail.refused.empty() ? mail.refused.front().to
                              : none                        ? ""
                                                            : mail.recipients.front());
    if (mail.recipient_count > 1) text += fmt::format(" +{}", grouped(mail.recipient_count - 1));
    if (mail.refused_count > 0) text += fmt::format(" ({} refused)", grouped(mail.refused_count));
    return text;
}

Cell outcomeText(const JournalMail& mail) {
    constexpr std::size_t kLongestId = 20;  // Postfix' long ones; what is longer is not to crowd out all else
    if (mail.queue_id.empty()) return orDash(mail.reply);
    Cell id(mail.queue_id);
    id.whole = mail.queue_id.size() <= kLongestId;
    return id;
}

/// What monitor mode would have refused it for is the verdict on a session, and never clipped.
Cell monitoredEnd(const JournalSession& session) {
    const std::vector<std::string>& reasons = session.would_refuse;
    Cell cell(fmt::format("{} (would refuse: {})", orDash(session.end), fmt::join(reasons, ", ")));
    cell.brief = "would refuse: " + reasons.front();
    if (reasons.size() > 1) cell.brief += fmt::format(" +{}", reasons.size() - 1);
    return cell;
}

/// Of the further mails of the session nothing else is told.
Cell endText(const JournalSession& session, std::size_t other_mails) {
    if (other_mails > 0) {
        Cell cell = endText(session, 0);
        cell.text += fmt::format(" (+{} mail{})", grouped(other_mails), other_mails == 1 ? "" : "s");
        return cell;
    }
    if (!session.refused()) return session.would_refuse.empty() ? orDash(session.end) : monitoredEnd(session);
    const std::string times =
        session.repeated > 0 ? fmt::format(" ({} times)", grouped(session.repeated)) : "";
    return {"refused: " + orDash(session.end) + times, Colour::Bad};
}

std::string timingText(std::int64_t milliseconds) {
    return milliseconds < 0 ? "-" : fmt::format("{} ms", milliseconds);
}

/// One that has no row of its own has its number in END.
Table::Row tableRow(const JournalSession& session, const JournalMail* mail, const Times& times,
                    std::size_t other_mails = 0) {
    return {times.text(session.endedMs()),
            shortId(session),
            orDash(session.gateway),
            store::clientNetwork(session).toString(),
            session.listener,
            tlsText(session),
            whoText(session),
            mail == nullptr ? "-" : fmt::format("<{}>", mail->from),
            mail == nullptr ? "-" : recipientsText(*mail),
            mail == nullptr ? Cell("-") : outcomeText(*mail),
            endText(session, other_mails),
            session.protocol,
            session.balancer ? addressText(*session.balancer) : "-",
            orDash(session.server),
            orDash(session.rule),
            mail == nullptr ? "-" : grouped(mail->size),
            grouped(session.bytes_in),
            grouped(session.bytes_out),
            timingText(session.duration_ms),
            times.text(session.started_ms)};
}

using Sum = std::pair<const char*, std::uint64_t JournalSums::*>;

/// What is counted of clients, users and the like.
constexpr std::array<Sum, 7> kOfSessions{{{"SESSIONS", &JournalSums::sessions},
                                          {"REFUSED", &JournalSums::refused},
                                          {"FAILED LOGINS", &JournalSums::failed_logins},
                                          {"MAILS", &JournalSums::mails},
                                          {"MAILS REFUSED", &JournalSums::mails_refused},
                                          {"BYTES IN", &JournalSums::bytes_in},
                                          {"BYTES OUT", &JournalSums::bytes_out}}};
/// ... and of senders and recipients.
constexpr std::array<Sum, 4> kOfMail{{{"SESSIONS", &JournalSums::sessions},
                                      {"MAILS", &JournalSums::mails},
                                      {"MAILS REFUSED", &JournalSums::mails_refused},
                                      {"BYTES IN", &JournalSums::bytes_in}}};

/// What a table of sums and its JSON are called, and what a session has that is summed up.
struct SumsText {
    std::string_view title, key, what;
    std::span<const Sum> columns;
    std::size_t least = 18;  ///< width of the name
};
constexpr std::array<SumsText, store::kSumsOf> kSumsTexts{
    {{"CLIENT", "clients", "a client", kOfSessions, Column::kWhole},
     {"NETWORK", "networks", "a client", kOfSessions, Column::kWhole},
     {"SENDER", "senders", "a sender", kOfMail},
     {"RECIPIENT", "recipients", "a recipient", kOfMail},
     {"USER", "users", "a user", kOfSessions},
     {"HELO", "helo_names", "a HELO name", kOfSessions},
     {"END", "ends", "an end", kOfSessions}}};
constexpr const SumsText& sumsTextOf(store::SumsOf what) noexcept {
    return kSumsTexts[static_cast<std::size_t>(what)];
}

/// "MAILS REFUSED" to "mails_refused".
std::string keyOf(std::string_view title) {
    std::string key(title);
    for (char& character : key)
        character = character == ' ' ? '_' : static_cast<char>(character | 0x20);
    return key;
}

/// "MAILS REFUSED" to "mails-refused".
std::string optionOf(std::string_view title) {
    std::string name = keyOf(title);
    std::replace(name.begin(), name.end(), '_', '-');
    return name;
}

/// After an empty line; nothing when there are none.
std::string sumsTable(const SumsText& text, std::span<const JournalSums> sums, const TableStyle& style) {
    if (sums.empty()) return {};
    const std::span<const Sum> columns = text.columns;
    std::vector<Column> heading{{.name = "name", .title = std::string(text.title), .least = text.least}};
    // The last ones leave first.
    for (std::size_t at = 0; at < columns.size(); ++at)
        heading.push_back({.name = optionOf(columns[at].first),
                           .title = columns[at].first,
                           .leaves = static_cast<unsigned>(columns.size() - at)});
    Table table(std::move(heading), style);
    for (const JournalSums& entry : sums) {
        Table::Row row{entry.name.empty() ? "<>" : entry.name};
        for (const Sum& column : columns)
            row.emplace_back(grouped(entry.*column.second));
        table.add(std::move(row));
    }
    return "\n" + table.text();
}

std::string sumsJson(std::string_view key, std::span<const JournalSums> sums, std::span<const Sum> columns) {
    std::string json = fmt::format("  \"{}\": [", key);
    for (const JournalSums& entry : sums) {
        json +=
            fmt::format("{}\n    {{\"name\":\"{}\"", &entry == sums.data() ? "" : ",", escaped(entry.name));
        for (const Sum& column : columns)
            json += fmt::format(",\"{}\":{}", keyOf(column.first), entry.*column.second);
        json += '}';
    }
    return json + (sums.empty() ? "]" : "\n  ]");
}

}  // namespace

std::vector<std::string> columnsAsked(const store::JournalFilter& filter) {
    std::vector<std::string> columns;
    const auto add = [&](const char* column, bool asked) {
        if (asked) columns.emplace_back(column);
    };
    add("helo", filter.user.has_value() || filter.helo.has_value() || filter.failed_login);
    add("from", filter.from.has_value());
    add("to", filter.to.has_value() || filter.refused_to.has_value());
    add("queue-id", filter.reply.has_value());
    return columns;
}

Table sessionTable(TableStyle style, const Times& times, bool of_fleet) {
    constexpr bool kOnRequest = true;
    constexpr std::size_t kUsualAddress = 15;  // of IPv4
    // One refusal in a list is not to cost all rows their sender where there is little room.
    constexpr std::size_t kRoom = 100, kUsualEnd = 13, kLongestEnd = 24;
    const std::size_t least_end = style.width < kRoom ? kUsualEnd : kLongestEnd;
    return Table(
        {{.name = "time", .title = times.title("TIME"), .usual = times.width()},
         {.name = "session", .title = "SESSION", .usual = 16},
         {.name = "gateway",
          .title = "GATEWAY",
          .least = 7,
          .leaves = 1,
          .usual = 10,
          .on_request = !of_fleet},
         {.name = "client", .title = "CLIENT", .moves = kUsualAddress, .usual = kUsualAddress},
         {.name = "listener", .title = "LISTENER", .least = 8, .leaves = 1, .usual = 10},
         {.name = "tls", .title = "TLS", .least = 6, .leaves = 3, .usual = 8},
         {.name = "helo", .title = "HELO/USER", .least = 9, .leaves = 5, .usual = 20, .also = {"user"}},
         {.name = "from", .title = "FROM", .least = 9, .leaves = 6, .usual = 24},
         {.name = "to", .title = "TO", .least = 9, .leaves = 4, .usual = 20, .also = {"recipients"}},
         {.name = "queue-id",
          .title = "QUEUE ID/REPLY",
          .least = 11,
          .leaves = 2,
          .usual = 14,
          .also = {"reply"}},
         {.name = "end", .title = "END", .least = least_end, .usual = 15},
         {.name = "protocol", .title = "PROTOCOL", .usual = 8, .on_request = kOnRequest},
         {.name = "balancer", .title = "BALANCER", .usual = 15, .on_request = kOnRequest},
         {.name = "server", .title = "SERVER", .least = 8, .usual = 12, .on_request = kOnRequest},
         {.name = "rule", .title = "RULE", .usual = 18, .on_request = kOnRequest},
         {.name = "size", .title = "SIZE", .usual = 8, .on_request = kOnRequest},
         {.name = "in", .title = "IN", .usual = 8, .on_request = kOnRequest, .also = {"bytes_in"}},
         {.name = "out", .title = "OUT", .usual = 8, .on_request = kOnRequest, .also = {"bytes_out"}},
         {.name = "duration",
          .title = "DURATION",
          .usual = 10,
          .on_request = kOnRequest,
          .also = {"duration_ms"}},
         {.name = "started",
          .title = times.title("STARTED"),
          .usual = times.width(),
          .on_request = kOnRequest}},
        std::move(style));
}

void addSessions(Table& table, std::span<const JournalSession> sessions, const store::JournalFilter& filter,
                 const Times& times) {
    for (const JournalSession& session : sessions) {
        std::vector<const JournalMail*> wanted;
        for (const JournalMail& mail : session.mail)
            if (store::journal::passes(mail, filter)) wanted.push_back(&mail);
        // What was asked for is the session's own: what a client was told before its first mail.
        if (wanted.empty())
            for (const JournalMail& mail : session.mail)
                wanted.push_back(&mail);
        const std::size_t all = std::max<std::size_t>(
            session.mail.size(), session.kind == store::JournalKind::Mail ? 0 : session.mail_count);
        const std::size_t others = store::journal::asksForMail(filter) ? all - wanted.size() : 0;
        if (wanted.empty()) table.add(tableRow(session, nullptr, times));
        for (const JournalMail* const mail : wanted)
            table.add(tableRow(session, mail, times, others));
    }
}

namespace {

using store::journal::Field;
using store::journal::FieldRow;
using store::journal::Part;
using store::journal::WhenEmpty;

/// Facts with times in that zone.
struct Story : Facts {
    Story(Letters letters, Zone times) : Facts(letters), zone(times) {}

    Zone zone;
};

std::string bracketed(std::string_view address) {
    return fmt::format("<{}>", address);
}

std::string valueText(const std::string& value) {
    return orDash(value);
}
template <std::unsigned_integral Number>
std::string valueText(Number value) {
    return grouped(value);
}
std::string valueText(bool value) {
    return value ? "yes" : "no";
}
std::string valueText(const AddressBytes& value) {
    return addressText(value);
}
template <typename Value>
std::string valueText(const std::optional<Value>& value) {
    return value ? valueText(*value) : "-";
}
std::string valueText(const std::vector<std::string>& values) {
    std::string text;
    for (const std::string& value : values)
        text += (text.empty() ? "" : ", ") + orDash(value);
    return text;
}

std::string ruleText(const JournalSession& session) {
    if (session.rule.empty()) return "the listener's default";
    return "rule " + session.rule + (session.rule_id == 0 ? "" : fmt::format(" (id {})", session.rule_id));
}

/// Fields that are told together with others, or in words of their own. Empty: by the value alone.
std::string ownText(const FieldRow<JournalSession>& field, const JournalSession& session) {
    const std::string_view name = field.name;
    if (name == "listener") return fmt::format("{} ({})", session.listener, session.protocol);
    if (name == "client")
        return fmt::format("{} port {}", store::clientNetwork(session).toString(), session.client_port);
    if (name == "destination")
        return fmt::format("{} port {}", addressText(session.destination), session.destination_port);
    if (name == "access")
        return fmt::format("{} by {}", session.allowed ? "allow" : "deny", ruleText(session));
    if (name == "server") return session.server.empty() ? "-" : session.upstream + "/" + session.server;
    if (name == "user")
        return orDash(session.user) + (session.authenticated == false ? " (not accepted)" : "");
    if (name == "failed_logins")
        return fmt::format("{}{}{}", grouped(session.failed_logins), session.failed_users.empty() ? "" : ": ",
                           valueText(session.failed_users));
    if (name == "bytes_in")
        return fmt::format("{} in, {} out", grouped(session.bytes_in), grouped(session.bytes_out));
    if (name == "limit") return fmt::format("{} {}", session.limit, session.limit_value);
    if (name == "mode" && field.object == "server_tls") {
        if (session.server_tls_version.empty()) return session.server_tls + ", failed";
        return fmt::format("{}, {} {}{}, {}", session.server_tls, session.server_tls_version,
                           session.server_tls_cipher, session.server_tls_resumed ? ", resumed" : "",
                           session.server_tls_verified ? "verified" : "not verified");
    }
    if (name == "mode" && !session.tls_version.empty())
        return fmt::format("{}, {} {}{}", session.tls, session.tls_version, session.tls_cipher,
                           session.tls_resumed ? ", resumed" : "");
    if (name == "subject")
        return fmt::format("{}, sha256 {}, {}", session.tls_client_subject, session.tls_client_sha256,
                           session.tls_client_verified ? "verified" : "not verified");
    if (name == "repeated") return fmt::format("{}, this was the first of them", grouped(session.repeated));
    return {};
}

std::string ownText(const FieldRow<JournalMail>& field, const JournalMail& mail) {
    const std::string_view name = field.name;
    if (name == "from") return bracketed(mail.from);
    if (name == "recipient_count")
        return fmt::format("{} more", grouped(mail.recipient_count - mail.recipients.size()));
    if (name == "refused_count")
        return fmt::format("{} more", grouped(mail.refused_count - mail.refused.size()));
    if (name == "size") return fmt::format("{} bytes", grouped(mail.size));
    return {};
}

template <typename Record, typename Value>
void addField(Story& story, const Field<Record, Value>& field, const Record& record) {
    std::string text = ownText(field, record);
    std::string_view label = field.label;
    if constexpr (std::is_same_v<Record, JournalSession>) {
        if (record.refused() && field.name == "end") label = "refused";
        if (!record.refused() && !record.wasToldToBeginTls() && field.name == "reply")
            label = "would be told";
    }
    story.add(label, text.empty() ? valueText(record.*field.member) : std::move(text));
}

void addField(Story& story, const Field<JournalMail, std::vector<std::string>>& field,
              const JournalMail& mail) {
    for (std::size_t at = 0; at < mail.recipients.size(); ++at) {
        const bool has_reply = at < mail.replies.size() && !mail.replies[at].empty();
        story.add(field.label,
                  bracketed(mail.recipients[at]) + (has_reply ? "  " + orDash(mail.replies[at]) : ""));
    }
}

void addField(Story& story, const Field<JournalMail, std::vector<store::JournalRefusal>>& field,
              const JournalMail& mail) {
    for (const store::JournalRefusal& refusal : mail.refused)
        story.add(field.label, bracketed(refusal.to) + "  " + orDash(refusal.reply));
}

void addField(Story& story, const Field<JournalSession, std::vector<JournalMail>>& field,
              const JournalSession& session) {
    for (const JournalMail& mail : session.mail)
        store::journal::eachField<JournalMail>([&](const auto& part) {
            if (part.label.empty() || (part.applies && !part.applies(mail))) return;
            addField(story, part, mail);
        });
    if (session.mail_count > session.mail.size())
        story.add(field.label, fmt::format("{} in total", grouped(session.mail_count)));
}

void addTold(Story& story, const JournalSession& session) {
    for (const auto& [name, value] : session.balancer_told)
        story.add("  " + name, orDash(value));
}

void addField(Story& story, const Field<JournalSession, std::vector<std::pair<std::string, std::string>>>&,
              const JournalSession& session) {
    addTold(story, session);
}

/// With what it told.
void addField(Story& story, const Field<JournalSession, std::optional<AddressBytes>>& field,
              const JournalSession& session) {
    story.add(field.label, valueText(session.*field.member));
    addTold(story, session);
}

/// A span; with the last one goes when it was over.
void addField(Story& story, const Field<JournalSession, std::int64_t>& field, const JournalSession& session) {
    if (field.member == &JournalSession::started_ms)
        return story.add(field.label, exactTimeText(session.started_ms, story.zone));
    story.add(field.label, timingText(session.*field.member));
    if (field.member == &JournalSession::duration_ms)
        story.add("ended", exactTimeText(session.endedMs(), story.zone));
}

/// Whether there is something to tell: what belongs to refusals only, or is left out of lines, is not told empty.
template <typename Value>
bool isTold(const Field<JournalSession, Value>& field, const JournalSession& session) {
    if (field.lines == store::journal::kRefused && !session.refused()) return false;
    if (field.applies && !field.applies(session)) return false;
    if (field.name == "bytes_in" && session.refused()) return session.bytes_in > 0;  // none are counted
    if (field.name == "failed_logins") return session.failed_logins > 0;
    if constexpr (std::is_same_v<Value, std::string> || std::is_same_v<Value, std::vector<std::string>> ||
                  std::unsigned_integral<Value>)
        return field.when_empty != WhenEmpty::LeftOut || session.*field.member != Value{};
    return true;
}

void addPart(Story& story, Part part, const JournalSession& session, const std::string& rule = {}) {
    store::journal::eachField<JournalSession>([&](const auto& field) {
        if (!field.label.empty() && field.part == part && isTold(field, session))
            addField(story, field, session);
        if (field.part == part && field.name == "access" && !rule.empty())
            story.add(fmt::format("  rule {}", session.rule_id), rule);
    });
}

}  // namespace

std::string sessionAsStory(const JournalSession& session, Zone zone, Letters letters,
                           const std::string& rule) {
    Story story(letters, zone);
    addPart(story, Part::Session, session, rule);
    if (session.kind == store::JournalKind::Mail) {
        story.add("end", "unknown: the session is still open, or the gateway was killed");
        return story.text();
    }
    addPart(story, Part::Measures, session);
    addPart(story, Part::Outcome, session);
    return story.text();
}

std::string emptyTop(const store::JournalTop& top, const store::JournalTopQuery& query) {
    constexpr std::array<std::string_view, 4> kWeights{"", "bytes", "a refusal", "a failed login"};
    if (top.sessions == 0) return "no session in the journal matches";
    for (const store::SumsOf what : query.of)
        if (!top.of(what).empty()) return {};
    // Each session has a client, which several things to sum up are never without.
    std::string missing(query.of.size() == 1 ? sumsTextOf(query.of.front()).what : "");
    if (const std::string_view weight = kWeights[static_cast<std::size_t>(query.by)]; !weight.empty())
        missing.append(missing.empty() ? "" : " and ").append(weight);
    return fmt::format("no session of this period has {}", missing);
}

std::string topAsTable(const store::JournalTop& top, const store::JournalTopQuery& query, bool to_the_present,
                       const TableStyle& style, Zone zone) {
    const std::string until = to_the_present ? "" : fmt::format(" until {}", timeText(query.until_ms, zone));
    std::string text = wrapped(fmt::format("{} since {}{}, {} of them refused, {} with a failed login\n",
                                           counted(top.sessions, "session"), timeText(query.since_ms, zone),
                                           until, grouped(top.refused), grouped(top.failed_logins)),
                               style.width);
    for (const store::SumsOf what : query.of)
        text += sumsTable(sumsTextOf(what), top.of(what), style);
    return text;
}

std::string topAsJson(const store::JournalTop& top, const store::JournalTopQuery& query,
                      std::string_view further) {
    std::string text = fmt::format(
        "{{\n  \"since\": \"{}\",\n  \"until\": \"{}\",\n"
        "  \"sessions\": {},\n  \"refused\": {},\n  \"failed_logins\": {}",
        formatUtc(query.since_ms / 1'000), formatUtc(query.until_ms / 1'000), top.sessions, top.refused,
        top.failed_logins);
    for (const store::SumsOf what : query.of)
        text += ",\n" + sumsJson(sumsTextOf(what).key, top.of(what), sumsTextOf(what).columns);
    return text.append(further) + "\n}\n";
}

}  // namespace mailgate::cli
