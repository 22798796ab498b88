// SPDX-License-Identifier: Apache-2.0
#include "gateway/session/session_report.h"

#include "gateway/session/session_fields.h"
#include "protocols/proxy/header.h"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <new>
#include <type_traits>
#include <utility>
#include <vector>

namespace mailgate {
namespace {

std::string_view explain(Rejection rejection) noexcept {
    switch (rejection) {
        case Rejection::UntrustedPeer:
            return "the peer is not in the listener's trusted list";
        case Rejection::NoHeader:
            return "a trusted peer sent nothing until the time limit";
        case Rejection::HeaderTimeout:
            return "only part of a PROXY header came until the time limit";
        case Rejection::Incomplete:
            return "the peer closed in the middle of the PROXY header";
        default:
            return proxy::describe(static_cast<proxy::Reason>(static_cast<int>(rejection) -
                                                              static_cast<int>(Rejection::NotProxy)));
    }
}

std::string hintFor(const Arrival& arrival, Rejection rejection) {
    const std::string peer = arrival.peer.address.toString();
    switch (rejection) {
        case Rejection::UntrustedPeer:
            return fmt::format("if {0} is one of your balancers, add \"{0}\" to trusted of listener \"{1}\"",
                               peer, arrival.listener->name);
        case Rejection::NoHeader:
            return "is the PROXY protocol on at the balancer? An AWS NLB by default holds the header back "
                   "until the client's "
                   "first data, which never comes where the server speaks first: set its target group's "
                   "proxy_protocol_v2.client_to_server.header_placement to on_first_ack";
        case Rejection::NotProxy:
            return fmt::format(
                "{} is trusted and must send a PROXY header: turn it on there, or use proxy = \"mixed\" and "
                "take the address out of trusted if its clients connect directly",
                peer);
        default:
            return {};
    }
}

// At most the first word: a client that speaks its protocol to the wrong port may be sending a password.
std::string firstBytesHex(std::string_view bytes, Rejection rejection) {
    constexpr std::size_t kShown = 16;
    if (rejection == Rejection::NotProxy) bytes = bytes.substr(0, bytes.find(' '));
    std::string hex;
    for (const char c : bytes.substr(0, kShown))
        hex += fmt::format("{:02x}", static_cast<unsigned char>(c));
    return hex;
}

/// Names as in the log.
std::vector<std::pair<std::string, std::string>> balancerTold(const proxy::Tlvs& tlvs) {
    std::vector<std::pair<std::string, std::string>> told;
    const auto tell = [&](const char* name, std::string value) { told.emplace_back(name, std::move(value)); };
    if (tlvs.unique_id) tell("balancer_id", *tlvs.unique_id);
    if (tlvs.authority) tell("authority", *tlvs.authority);
    if (tlvs.alpn) tell("alpn", *tlvs.alpn);
    if (tlvs.ssl && tlvs.ssl->tls) tell("balancer_tls", tlvs.ssl->version);
    if (tlvs.ssl && tlvs.ssl->certificate_verified) tell("balancer_tls_cn", tlvs.ssl->common_name);
    if (tlvs.aws_vpce_id) tell("aws_vpce_id", *tlvs.aws_vpce_id);
    if (tlvs.azure_link_id) tell("azure_link_id", std::to_string(*tlvs.azure_link_id));
    if (tlvs.gcp_psc_connection_id)
        tell("gcp_psc_connection_id", std::to_string(*tlvs.gcp_psc_connection_id));
    return told;
}

/// Taken where `mail` may be moved from, else copied.
template <typename Mail>
store::JournalMail journalMail(Mail&& mail, std::uint32_t number) {
    store::JournalMail entry;
    entry.from = std::forward<Mail>(mail).from;
    entry.recipients = std::forward<Mail>(mail).recipients;
    entry.refused.reserve(mail.refused.size());
    for (auto& refusal : mail.refused) {
        if constexpr (std::is_lvalue_reference_v<Mail>)
            entry.refused.push_back({refusal.to, refusal.reply});
        else
            entry.refused.push_back({std::move(refusal.to), std::move(refusal.reply)});
    }
    entry.recipient_count = mail.recipient_count;
    entry.refused_count = mail.refused_count;
    entry.size = mail.size;
    entry.reply = std::forward<Mail>(mail).reply;
    entry.queue_id = std::forward<Mail>(mail).queue_id;
    entry.replies = std::forward<Mail>(mail).replies;
    entry.accepted = mail.accepted;
    entry.truncated = mail.truncated;
    entry.number = number;
    return entry;
}

/// The millisecond that the journal has, which reckons by the clock that never jumps; a clock that was set
/// meanwhile is believed.
std::chrono::system_clock::time_point timeOf(const store::JournalSession& entry) {
    using namespace std::chrono_literals;
    const auto now = std::chrono::system_clock::now();
    const std::chrono::system_clock::time_point ended{std::chrono::milliseconds(entry.endedMs())};
    return now - ended < 1s && ended - now < 1s ? ended : now;
}

void writeLine(EventSink& log, const store::JournalSession& entry) {
    LogLine line = log.line(LogLevel::Information, eventOf(entry), timeOf(entry));
    writeSession(line, entry);
    log.write(line);
}

}  // namespace

store::JournalSession SessionReport::journalHead(const Session& session) {
    store::JournalSession entry;
    entry.id = session.id_.text();
    entry.started_ms = session.wall_start_;
    entry.listener = session.arrival_.listener->name;
    entry.protocol = toString(session.arrival_.listener->protocol);
    entry.client = session.client_address_.address.bytes;
    entry.client_port = session.client_address_.port;
    if (session.arrival_.header_expected) entry.balancer = session.arrival_.peer.address.bytes;
    entry.destination = session.destination_.address.bytes;
    entry.destination_port = session.destination_.port;
    entry.allowed = session.admission_.allowed;
    if (session.admission_.match) entry.rule = session.admission_.match->network.toString();
    if (session.tlvs_) entry.balancer_told = balancerTold(*session.tlvs_);
    entry.header_ms = session.header_done_ - session.start_;
    entry.duration_ms = session.host_.now() - session.start_;
    return entry;
}

void SessionReport::addServer(store::JournalSession& entry, const Session& session) {
    entry.upstream = session.pool().config().name;
    if (session.connected_ == 0) return;
    entry.server = session.endpoint_->server->name;
    entry.connect_ms = session.connected_ - session.header_done_;
    if (session.greeted_ != 0) entry.greeting_ms = session.greeted_ - session.connected_;
}

/// The session is over: what it knew goes with the entry.
store::JournalSession SessionReport::journalEntry(Session& session, std::uint64_t bytes_in,
                                                  std::uint64_t bytes_out) {
    store::JournalSession entry = journalHead(session);
    addServer(entry, session);
    SessionFacts& facts = session.facts_;
    entry.helo = std::move(facts.helo);
    entry.user = std::move(facts.user);
    entry.tls = std::move(facts.tls);
    entry.authenticated = facts.authenticated;
    entry.failed_logins = facts.failed_logins;
    entry.failed_users = std::move(facts.failed_users);
    entry.mail.reserve(facts.transactions.size());
    for (MailTransaction& mail : facts.transactions)
        entry.mail.push_back(journalMail(std::move(mail), 0));
    entry.mail_count = facts.transaction_count;
    entry.bytes_in = bytes_in;
    entry.bytes_out = bytes_out;
    entry.end = toString(session.end_);
    if (session.violated_ && session.filter_) entry.violation = toString(*session.filter_->violation());
    return entry;
}

/// What is known of the session now, and one mail of it.
store::JournalSession SessionReport::mailEntry(const Session& session, const MailTransaction& mail,
                                               std::uint32_t number) {
    store::JournalSession entry = journalHead(session);
    entry.kind = store::JournalKind::Mail;
    addServer(entry, session);
    const SessionFacts& facts = session.facts_;
    entry.helo = facts.helo;
    entry.user = facts.user;
    entry.tls = facts.tls;
    entry.authenticated = facts.authenticated;
    entry.failed_logins = facts.failed_logins;
    entry.failed_users = facts.failed_users;
    entry.mail.push_back(journalMail(mail, number));
    entry.mail_count = number;
    return entry;
}

LiveSession SessionReport::live(const Session& session) {
    LiveSession live;
    const SessionFacts& facts = session.facts_;
    live.id = session.id_.text();
    live.listener = session.arrival_.listener->name;
    live.protocol = toString(session.arrival_.listener->protocol);
    live.state = stateName(session);
    if (session.identified()) live.client = session.client_address_;
    if (session.arrival_.header_expected) live.balancer = session.arrival_.peer.address;
    if (session.server_) {
        live.upstream = session.pool().config().name;
        live.server = session.endpoint_->server->name;
    }
    live.helo = facts.helo;
    live.user = facts.user;
    live.tls = facts.tls;
    if (!facts.transactions.empty()) live.from = facts.transactions.back().from;
    if (session.filter_ && !session.filter_->sender().empty()) live.from = session.filter_->sender();
    live.mail_count = facts.transaction_count;
    live.bytes_in = session.relay_.bytesFrom(Side::Client) - session.header_bytes_;
    live.bytes_out = session.relay_.bytesFrom(Side::Server);
    live.started_ms = session.wall_start_;
    live.idle_ms = session.host_.now() - std::max(session.last_activity_, session.start_);
    return live;
}

std::string_view SessionReport::stateName(const Session& session) noexcept {
    switch (session.state_) {
        case Session::State::AwaitingHeader:
            return "awaiting_header";
        case Session::State::Checking:
            return "checking";
        case Session::State::Refusing:
            return "refusing";
        case Session::State::Connecting:
            return "connecting";
        case Session::State::AwaitingGreeting:
            return "awaiting_greeting";
        case Session::State::Holding:
            return "holding";
        case Session::State::Relaying:
            return "relaying";
        case Session::State::Lingering:
            return "lingering";
        case Session::State::Closed:
            return "closed";
    }
    return "";
}

void SessionReport::ended(Session& session) {
    SessionHost& host = session.host_;
    const Relay& relay = session.relay_;
    const std::uint64_t bytes_in = relay.bytesFrom(Side::Client) - session.header_bytes_;
    const std::uint64_t bytes_out = relay.bytesFrom(Side::Server);
    count(host.counters().ends[static_cast<std::size_t>(session.end_)]);
    count(host.counters().bytes_in, bytes_in);
    count(host.counters().bytes_out, bytes_out);
    EventSink& log = host.log();
    const bool logged = log.enabled(LogLevel::Information);
    if (!host.recorder() && !logged) return;
    store::JournalSession entry = journalEntry(session, bytes_in, bytes_out);
    count(session.listenerCounters().failed_logins, entry.failed_logins);
    if (logged) logEnd(log, entry);
    if (Recorder* recorder = host.recorder()) recorder->record(std::move(entry));
}

void SessionReport::logEnd(EventSink& log, const store::JournalSession& entry) {
    // In the order of time: the session's own line is its last.
    for (std::size_t at = mailInLine(entry).size(); at < entry.mail.size(); ++at) {
        LogLine line = log.line(LogLevel::Information, "session.mail", timeOf(entry));
        writeFurtherMail(line, entry, at);
        log.write(line);
    }
    writeLine(log, entry);
}

void SessionReport::mail(Session& session, const MailTransaction& mail, std::uint32_t number) noexcept {
    Recorder* const recorder = session.host_.recorder();
    if (!recorder && !session.host_.log().enabled(LogLevel::Information)) return;
    try {
        store::JournalSession entry = mailEntry(session, mail, number);
        record(session.host_, std::move(entry));
    } catch (const std::bad_alloc&) {
        if (recorder) recorder->recordFailed();
    }
}

void SessionReport::refused(Session& session, Refusal refusal, std::string_view reply) {
    SessionHost& host = session.host_;
    count(session.listenerCounters().refusals[static_cast<std::size_t>(refusal)]);
    if (!host.recorder() && !host.log().enabled(LogLevel::Information)) return;
    auto* const repeated =
        host.repeatedRefusal(session.client_address_.address, session.arrival_.listener_index, refusal);
    if (!repeated) return record(host, refusedEntry(session, refusal, reply));
    if (!*repeated)
        *repeated = std::make_unique<store::JournalSession>(refusedEntry(session, refusal, reply));
}

void SessionReport::record(SessionHost& host, store::JournalSession&& entry) {
    if (host.log().enabled(LogLevel::Information)) writeLine(host.log(), entry);
    if (Recorder* recorder = host.recorder()) recorder->record(std::move(entry));
}

store::JournalSession SessionReport::refusedEntry(const Session& session, Refusal refusal,
                                                  std::string_view reply) {
    store::JournalSession entry = journalHead(session);
    entry.kind = store::JournalKind::Refused;
    entry.end = reasonFor(refusal);
    const auto& match = session.admission_.match;
    if (refusal == Refusal::Rule && match)
        entry.rule_id = session.host_.accessTable(*session.arrival_.generation).ruleId(match->rule);
    if (refusal == Refusal::TooMany) {
        const bool by_number = session.over_limit_ == ClientTable::Verdict::TooManySessions;
        const ClientTable::Limits limits = session.clientLimits();
        entry.limit = by_number ? "client_sessions" : "client_rate";
        entry.limit_value = by_number ? limits.sessions : limits.per_minute;
    }
    while (!reply.empty() && (reply.back() == '\r' || reply.back() == '\n'))
        reply.remove_suffix(1);
    entry.reply = reply;
    return entry;
}

void SessionReport::failed(const Session& session) {
    EventSink& log = session.host_.log();
    if (!log.enabled(LogLevel::Error)) return;
    LogLine line = log.line(LogLevel::Error, "session.failed");
    line.text("session", session.id_.text());
    line.text("listener", session.arrival_.listener->name);
    line.text("peer", session.arrival_.peer.address.toString());
    line.text("detail", "out of memory or descriptors before the client was known");
    log.write(line);
}

void SessionReport::checked(Session& session, bool up) {
    EventSink& log = session.host_.log();
    if (!log.enabled(LogLevel::Debug)) return;
    LogLine line = log.line(LogLevel::Debug, "session.check");
    line.text("session", session.id_.text());
    line.text("listener", session.arrival_.listener->name);
    line.text("balancer", session.arrival_.peer.address.toString());
    line.boolean("up", up);
    log.write(line);
}

void SessionReport::rejected(SessionHost& host, const Arrival& arrival, Rejection rejection,
                             std::string_view first_bytes, std::size_t offset) {
    host.counters().rejections.add(rejection, arrival.peer.address);
    std::uint32_t suppressed = 0;
    if (!host.log().enabled(LogLevel::Warning)) return;
    if (!host.mayLogRejection(arrival.peer.address, rejection, suppressed)) return;
    LogLine line = host.log().line(LogLevel::Warning, "proxy.rejected");
    line.text("listener", arrival.listener->name);
    line.text("peer", arrival.peer.address.toString());
    line.number("peer_port", arrival.peer.port);
    line.text("reason", toString(rejection));
    line.text("detail", explain(rejection));
    if (rejection != Rejection::UntrustedPeer) line.number("offset", static_cast<std::int64_t>(offset));
    if (!first_bytes.empty()) line.text("first_bytes", firstBytesHex(first_bytes, rejection));
    if (const std::string hint = hintFor(arrival, rejection); !hint.empty()) line.text("hint", hint);
    if (suppressed > 0) line.number("suppressed", suppressed);
    host.log().write(line);
}

}  // namespace mailgate
