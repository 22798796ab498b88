// SPDX-License-Identifier: Apache-2.0
#include "gateway/answers/journal.h"

#include "gateway/log/log_line.h"
#include "gateway/session/counters.h"
#include "gateway/session/session_fields.h"
#include "protocols/stream/session_facts.h"
#include "protocols/values/text.h"

#include <algorithm>
#include <chrono>
#include <utility>

namespace mailgate::answers {

using store::JournalSession;

namespace {

std::string_view withoutBrackets(std::string_view text) noexcept {
    const bool has = text.size() >= 2 && text.front() == '<' && text.back() == '>';
    return has ? text.substr(1, text.size() - 2) : text;
}

}  // namespace

// The journal has a quoted local part as it is without that ("a b"@example.net).
std::string envelopeAddress(std::string_view text) {
    text = withoutBrackets(text);
    if (!text.starts_with('"')) return std::string(text);
    std::string address;
    for (std::size_t at = 1; at < text.size(); ++at) {
        if (text[at] == '"') {
            const std::string_view rest = text.substr(at + 1);
            return rest.empty() || rest.starts_with('@') ? address.append(rest) : std::string(text);
        }
        if (text[at] == '\\' && at + 1 < text.size()) ++at;
        address += text[at];
    }
    return std::string(text);
}

std::string messageId(std::string_view text) {
    return std::string(withoutBrackets(trimmed(text)).substr(0, kMaxMessageIdBytes));
}

std::string_view reasonIn(std::string_view end) {
    if (!end.starts_with(kRefusedPrefix)) return end;
    end.remove_prefix(kRefusedPrefix.size());
    return end.substr(0, end.find(' '));
}

std::vector<std::string> endNames() {
    std::vector<std::string> names;
    for (std::size_t at = 0; at < kCloseReasons; ++at)
        if (endsAdmitted(static_cast<CloseReason>(at)))
            names.emplace_back(toString(static_cast<CloseReason>(at)));
    for (std::size_t at = 0; at < kRefusals; ++at)
        if (const std::string_view name = reasonFor(static_cast<Refusal>(at));
            std::find(names.begin(), names.end(), name) == names.end())
            names.emplace_back(name);
    return names;
}

namespace {

/// Of "upstream/server" the last part alone is a name as well.
bool contains(const std::vector<std::string>& names, std::string_view wanted) {
    const bool whole = wanted.find('/') != std::string_view::npos;
    return std::any_of(names.begin(), names.end(), [&](const std::string& name) {
        return sameText(whole ? name : name.substr(name.find('/') + 1), wanted);
    });
}

}  // namespace

std::optional<UnknownName> unknownName(const Config& config, const store::JournalFilter& filter,
                                       store::journal::Source* journal) {
    const auto isOfOld = [&](const store::JournalFilter& one) {
        return journal != nullptr && !journal->newest(one, 1).empty();
    };
    store::JournalFilter one;
    if (one.listener = filter.listener; one.listener) {
        std::vector<std::string> names;
        for (const ListenerConfig& listener : config.listeners)
            names.push_back(listener.name);
        if (!contains(names, *one.listener) && !isOfOld(one))
            return UnknownName{"listener", *one.listener, std::move(names)};
    }
    one = {};
    if (one.server = filter.server; one.server) {
        std::vector<std::string> names;
        for (const UpstreamConfig& upstream : config.upstreams)
            for (const ServerConfig& server : upstream.servers)
                names.push_back(upstream.name + "/" + server.name);
        if (!contains(names, *one.server) && !isOfOld(one))
            return UnknownName{"server", *one.server, std::move(names)};
    }
    return std::nullopt;
}

std::string sessionAsJson(const JournalSession& session) {
    const std::chrono::system_clock::time_point ended{std::chrono::milliseconds(session.endedMs())};
    std::string lines;
    if (session.kind != store::JournalKind::Mail) {
        LogLine line(LogFormat::Json, LogLevel::Information, eventOf(session), ended);
        writeSession(line, session);
        lines = line.finish();
    }
    for (std::size_t at = mailInLine(session).size(); at < session.mail.size(); ++at) {
        LogLine line(LogFormat::Json, LogLevel::Information, "session.mail", ended);
        writeFurtherMail(line, session, at);
        lines += line.finish();
    }
    return lines;
}

}  // namespace mailgate::answers
