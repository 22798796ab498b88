#include "gateway/cli/journal_text.h"

#include "gateway/cli/access_text.h"
#include "gateway/config/values.h"
#include "gateway/log/escape.h"
#include "gateway/log/log_line.h"
#include "store/text.h"

#include <fmt/format.h>

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
    return shown(session.user.empty() ? session.helo : session.user);
}

std::string recipientsText(const JournalMail& mail) {
    if (mail.recipients.empty()) return "-";
    std::string text = shown(mail.recipients.front());
    if (mail.recipient_count > 1) text += fmt::format(" +{}", mail.recipient_count - 1);
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

void writeMail(LogLine& line, const JournalSession& session) {
    line.beginArray("mail");
    for (const JournalMail& mail : session.mail) {
        line.beginObject();
        line.text("from", mail.from);
        line.beginArray("recipients");
        for (const std::string& recipient : mail.recipients)
            line.item(recipient);
        line.endArray();
        if (mail.recipient_count > mail.recipients.size())
            line.number("recipient_count", mail.recipient_count);
        line.number("size", static_cast<std::int64_t>(mail.size));
        line.textOrNull("reply", mail.reply);
        line.textOrNull("queue_id", store::queueIdOf(mail.reply));
        line.endObject();
    }
    line.endArray();
    if (session.mail_count > session.mail.size()) line.number("mail_count", session.mail_count);
}

void writeTiming(LogLine& line, std::string_view key, std::int64_t milliseconds) {
    if (milliseconds < 0)
        line.null(key);
    else
        line.number(key, milliseconds);
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

std::vector<std::vector<std::string>> sumsTable(std::string_view title, std::span<const JournalSums> sums) {
    std::vector<std::vector<std::string>> rows{
        {std::string(title), "SESSIONS", "MAILS", "REFUSED", "BYTES IN", "BYTES OUT"}};
    for (const JournalSums& entry : sums)
        rows.push_back({entry.name.empty() ? "<>" : shown(entry.name), fmt::to_string(entry.sessions),
                        fmt::to_string(entry.mails), fmt::to_string(entry.refused),
                        fmt::to_string(entry.bytes_in), fmt::to_string(entry.bytes_out)});
    return rows;
}

std::string sumsJson(std::string_view key, std::span<const JournalSums> sums) {
    std::string json = fmt::format("  \"{}\": [", key);
    for (const JournalSums& entry : sums) {
        LineBuffer name;
        appendEscaped(name, entry.name);
        json += fmt::format(
            "{}\n    {{\"name\":\"{}\",\"sessions\":{},\"mails\":{},\"refused\":{},\"bytes_in\":{},"
            "\"bytes_out\":{}}}",
            &entry == sums.data() ? "" : ",", fmt::to_string(name), entry.sessions, entry.mails,
            entry.refused, entry.bytes_in, entry.bytes_out);
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
    writeMail(line, session);
    line.number("bytes_in", static_cast<std::int64_t>(session.bytes_in));
    line.number("bytes_out", static_cast<std::int64_t>(session.bytes_out));
    writeTiming(line, "header_ms", session.header_ms);
    writeTiming(line, "connect_ms", session.connect_ms);
    writeTiming(line, "greeting_ms", session.greeting_ms);
    writeTiming(line, "duration_ms", session.duration_ms);
    line.text("end", session.end);
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
        for (const std::string& recipient : mail.recipients)
            facts.push_back({"  to", fmt::format("<{}>", shown(recipient))});
        if (mail.recipient_count > mail.recipients.size())
            facts.push_back({"  to", fmt::format("{} more", mail.recipient_count - mail.recipients.size())});
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
    return fmt::format("{} sessions, {} refused\n\n{}\n{}\n{}", top.sessions, top.refused,
                       alignedTable(sumsTable("CLIENT", top.clients)),
                       alignedTable(sumsTable("SENDER", top.senders)),
                       alignedTable(sumsTable("USER", top.users)));
}

std::string topAsJson(const store::JournalTop& top) {
    return fmt::format("{{\n  \"sessions\": {},\n  \"refused\": {},\n{},\n{},\n{}\n}}\n", top.sessions,
                       top.refused, sumsJson("clients", top.clients), sumsJson("senders", top.senders),
                       sumsJson("users", top.users));
}

}  // namespace mailgate::cli
