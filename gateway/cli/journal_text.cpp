#include "gateway/cli/journal_text.h"

#include "gateway/cli/access_text.h"
#include "gateway/config/values.h"
#include "gateway/log/escape.h"
#include "gateway/log/session_fields.h"
#include "store/text.h"

#include <fmt/format.h>

#include <array>
#include <chrono>

namespace mailgate::cli {

namespace {

using store::JournalMail;
using store::JournalSession;
using store::JournalSums;
using store::Network;

/// Whatever a client sent, it stays one line and obeys nobody's terminal.
std::string shown(std::string_view text) {
    if (text.empty()) return "-";
    LineBuffer out;
    appendEscaped(out, text);
    return fmt::to_string(out);
}

std::string timeText(std::int64_t unix_ms) {
    std::string text = store::formatUtc(unix_ms / 1'000);
    text.insert(text.size() - 1, fmt::format(".{:03}", unix_ms % 1'000));
    return text;
}

std::string addressText(const store::AddressBytes& address) {
    return Network{address, 128}.toString();
}

/// The time and enough of the rest: `mailgate sessions show` takes it.
std::string shortId(const JournalSession& session) {
    constexpr std::size_t kShown = 16;
    return shown(std::string_view(session.id).substr(0, kShown));
}

std::string whoText(const JournalSession& session) {
    if (session.user.empty()) return shown(session.helo);
    return shown(session.user) + (session.authenticated ? "" : " (failed)");
}

std::string recipientsText(const JournalMail& mail) {
    if (mail.recipients.empty()) return "-";
    std::string text = shown(mail.recipients.front());
    if (mail.recipient_count > 1) text += fmt::format(" +{}", mail.recipient_count - 1);
    if (mail.recipients_refused > 0) text += fmt::format(" ({} refused)", mail.recipients_refused);
    return text;
}

std::string outcomeText(const JournalMail& mail) {
    const std::string_view queue_id = store::queueIdOf(mail.reply);
    return shown(queue_id.empty() ? std::string_view(mail.reply).substr(0, 60) : queue_id);
}

std::vector<std::string> tableRow(const JournalSession& session, const JournalMail* mail) {
    return {timeText(session.started_ms),
            shortId(session),
            store::clientNetwork(session).toString(),
            session.listener,
            whoText(session),
            mail == nullptr ? "-" : fmt::format("<{}>", mail->from.empty() ? "" : shown(mail->from)),
            mail == nullptr ? "-" : recipientsText(*mail),
            mail == nullptr ? "-" : outcomeText(*mail),
            session.refused ? "refused: " + shown(session.end) : shown(session.end)};
}

void writeArrival(LogLine& line, const JournalSession& session) {
    line.text("session", session.id);
    line.text("listener", session.listener);
    line.text("protocol", session.protocol);
    line.text("client", store::clientNetwork(session).toString());
    line.number("client_port", session.client_port);
    line.textOrNull("balancer", session.balancer ? addressText(*session.balancer) : "");
    line.text("destination", addressText(session.destination));
    line.number("destination_port", session.destination_port);
    line.text("access", session.allowed ? "allow" : "deny");
    line.textOrNull("rule", session.rule);
}

std::string timingText(std::int64_t milliseconds) {
    return milliseconds < 0 ? "-" : fmt::format("{} ms", milliseconds);
}

using Column = std::pair<const char*, std::uint64_t JournalSums::*>;

/// What is counted of clients and users.
constexpr std::array<Column, 6> kOfSessions{{{"SESSIONS", &JournalSums::sessions},
                                             {"REFUSED", &JournalSums::refused},
                                             {"FAILED LOGINS", &JournalSums::failed_logins},
                                             {"MAILS", &JournalSums::mails},
                                             {"BYTES IN", &JournalSums::bytes_in},
                                             {"BYTES OUT", &JournalSums::bytes_out}}};
/// ... and of senders.
constexpr std::array<Column, 4> kOfMail{{{"SESSIONS", &JournalSums::sessions},
                                         {"MAILS", &JournalSums::mails},
                                         {"MAILS REFUSED", &JournalSums::mails_refused},
                                         {"BYTES IN", &JournalSums::bytes_in}}};

/// "MAILS REFUSED" to "mails_refused".
std::string keyOf(std::string_view title) {
    std::string key(title);
    for (char& character : key)
        character = character == ' ' ? '_' : static_cast<char>(character | 0x20);
    return key;
}

/// After an empty line; nothing when there are none.
std::string sumsTable(std::string_view title, std::span<const JournalSums> sums,
                      std::span<const Column> columns) {
    if (sums.empty()) return {};
    std::vector<std::vector<std::string>> rows{{std::string(title)}};
    for (const Column& column : columns)
        rows.front().emplace_back(column.first);
    for (const JournalSums& entry : sums) {
        std::vector<std::string>& row = rows.emplace_back();
        row.push_back(entry.name.empty() ? "<>" : shown(entry.name));
        for (const Column& column : columns)
            row.push_back(fmt::to_string(entry.*column.second));
    }
    return "\n" + alignedTable(rows);
}

std::string sumsJson(std::string_view key, std::span<const JournalSums> sums,
                     std::span<const Column> columns) {
    std::string json = fmt::format("  \"{}\": [", key);
    for (const JournalSums& entry : sums) {
        LineBuffer name;
        appendEscaped(name, entry.name);
        json +=
            fmt::format("{}\n    {{\"name\":\"{}\"", &entry == sums.data() ? "" : ",", fmt::to_string(name));
        for (const Column& column : columns)
            json += fmt::format(",\"{}\":{}", keyOf(column.first), entry.*column.second);
        json += '}';
    }
    return json + (sums.empty() ? "]" : "\n  ]");
}

}  // namespace

std::optional<std::int64_t> parsePast(std::string_view text, std::int64_t now_ms) {
    if (const auto duration = parseDuration(text)) return now_ms - duration->count();
    if (const auto seconds = store::parseUtc(text)) return *seconds * 1'000;
    return std::nullopt;
}

std::string envelopeAddress(std::string_view text) {
    if (text.size() >= 2 && text.front() == '<' && text.back() == '>') text = text.substr(1, text.size() - 2);
    return std::string(text);
}

std::string sessionsAsTable(std::span<const JournalSession> sessions, bool heading) {
    std::vector<std::vector<std::string>> rows;
    if (heading)
        rows.push_back(
            {"TIME", "SESSION", "CLIENT", "LISTENER", "HELO/USER", "FROM", "TO", "QUEUE ID/REPLY", "END"});
    for (const JournalSession& session : sessions) {
        if (session.mail.empty()) rows.push_back(tableRow(session, nullptr));
        for (const JournalMail& mail : session.mail)
            rows.push_back(tableRow(session, &mail));
    }
    return alignedTable(rows);
}

std::string sessionAsJson(const JournalSession& session) {
    const std::chrono::system_clock::time_point ended{std::chrono::milliseconds(session.endedMs())};
    LogLine line(LogFormat::Json, LogLevel::Information, session.refused ? "session.refused" : "session.end",
                 ended);
    writeArrival(line, session);
    if (session.refused) {
        line.text("reason", session.end);
        return std::string(line.finish());
    }
    line.textOrNull("upstream", session.upstream);
    line.textOrNull("server", session.server);
    line.textOrNull("helo", session.helo);
    line.textOrNull("user", session.user);
    if (!session.user.empty()) line.boolean("authenticated", session.authenticated);
    line.textOrNull("tls", session.tls);
    writeMail(line, session, QueueIds::Told);
    writeOutcome(line, session);
    return std::string(line.finish());
}

std::string sessionAsStory(const JournalSession& session) {
    std::vector<std::vector<std::string>> facts{
        {"session", shown(session.id)},
        {"started", timeText(session.started_ms)},
        {"listener", fmt::format("{} ({})", session.listener, session.protocol)},
        {"client", fmt::format("{} port {}", store::clientNetwork(session).toString(), session.client_port)},
        {"balancer", session.balancer ? addressText(*session.balancer) : "-"},
        {"destination",
         fmt::format("{} port {}", addressText(session.destination), session.destination_port)},
        {"access", fmt::format("{} by {}", session.allowed ? "allow" : "deny",
                               session.rule.empty() ? "the listener's default" : "rule " + session.rule)},
        {"server", session.server.empty() ? "-" : session.upstream + "/" + session.server},
        {"helo", shown(session.helo)},
        {"user",
         session.user.empty() ? "-" : shown(session.user) + (session.authenticated ? "" : " (not accepted)")},
        {"tls", shown(session.tls)}};
    for (const JournalMail& mail : session.mail) {
        facts.push_back({"mail from", fmt::format("<{}>", mail.from.empty() ? "" : shown(mail.from))});
        for (std::size_t at = 0; at < mail.recipients.size(); ++at) {
            const bool has_reply = at < mail.replies.size() && !mail.replies[at].empty();
            facts.push_back({"  to", fmt::format("<{}>{}", shown(mail.recipients[at]),
                                                 has_reply ? "  " + shown(mail.replies[at]) : "")});
        }
        if (mail.recipient_count > mail.recipients.size())
            facts.push_back({"  to", fmt::format("{} more", mail.recipient_count - mail.recipients.size())});
        if (mail.recipients_refused > 0)
            facts.push_back({"  refused", fmt::format("{} of the recipients", mail.recipients_refused)});
        facts.push_back({"  size", fmt::format("{} bytes", mail.size)});
        facts.push_back({"  reply", shown(mail.reply)});
        facts.push_back({"  queue id", shown(store::queueIdOf(mail.reply))});
    }
    if (session.mail_count > session.mail.size())
        facts.push_back({"mail", fmt::format("{} in all", session.mail_count)});
    facts.push_back({"bytes", fmt::format("{} in, {} out", session.bytes_in, session.bytes_out)});
    facts.push_back({"header", timingText(session.header_ms)});
    facts.push_back({"connect", timingText(session.connect_ms)});
    facts.push_back({"greeting", timingText(session.greeting_ms)});
    facts.push_back({"duration", timingText(session.duration_ms)});
    facts.push_back({"ended", timeText(session.endedMs())});
    facts.push_back({session.refused ? "refused" : "end", shown(session.end)});
    return alignedTable(facts);
}

std::string topAsTable(const store::JournalTop& top) {
    return fmt::format("{} sessions, {} of them refused, {} with a failed login\n", top.sessions, top.refused,
                       top.failed_logins) +
           sumsTable("CLIENT", top.clients, kOfSessions) + sumsTable("SENDER", top.senders, kOfMail) +
           sumsTable("USER", top.users, kOfSessions);
}

std::string topAsJson(const store::JournalTop& top) {
    return fmt::format(
        "{{\n  \"sessions\": {},\n  \"refused\": {},\n  \"failed_logins\": {},\n{},\n{},\n{}\n}}\n",
        top.sessions, top.refused, top.failed_logins, sumsJson("clients", top.clients, kOfSessions),
        sumsJson("senders", top.senders, kOfMail), sumsJson("users", top.users, kOfSessions));
}

}  // namespace mailgate::cli
