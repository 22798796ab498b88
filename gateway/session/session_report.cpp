// SPDX-License-Identifier: Apache-2.0
#include "gateway/session/session_report.h"

#include "gateway/session/session_fields.h"
#include "protocols/mail_protocol.h"
#include "protocols/proxy/header.h"
#include "protocols/values/text.h"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <new>
#include <type_traits>
#include <utility>
#include <vector>

namespace mailgate::report {
namespace {

std::string_view explain(Rejection rejection) noexcept {
    switch (rejection) {
        case Rejection::UntrustedPeer:
            return "the peer is not in the listener's trusted list";
        case Rejection::NoHeader:
            return "a trusted peer sent nothing within the time limit";
        case Rejection::HeaderTimeout:
            return "only part of a PROXY header arrived within the time limit";
        case Rejection::Incomplete:
            return "the peer closed the connection in the middle of the PROXY header";
        case Rejection::Unexpected:
            return "a PROXY header came in the place of a command";
        default:
            return proxy::describe(static_cast<proxy::Reason>(static_cast<int>(rejection) -
                                                              static_cast<int>(Rejection::NotProxy)));
    }
}

std::string hintFor(const AcceptedConnection& arrival, Rejection rejection) {
    const std::string peer = arrival.peer.address.toString();
    switch (rejection) {
        case Rejection::UntrustedPeer:
            return fmt::format("if {0} is one of your balancers, add \"{0}\" to trusted of listener \"{1}\"",
                               peer, arrival.listener().name);
        case Rejection::Unexpected:
            if (arrival.header_expected)
                return "one had come before, and was believed: do two balancers add one each?";
            return arrival.listener().proxy == ProxyMode::Off
                       ? fmt::format(
                             "if {0} is one of your balancers, set proxy = \"require\" and trusted = "
                             "[\"{0}\"] for listener \"{1}\"",
                             peer, arrival.listener().name)
                       : fmt::format(
                             "if {0} is one of your balancers, add \"{0}\" to trusted of listener \"{1}\"",
                             peer, arrival.listener().name);
        case Rejection::NoHeader:
            return "is the PROXY protocol enabled on the balancer? By default an AWS NLB sends the header "
                   "only with the client's first data, which never comes in protocols where the server "
                   "speaks first: set its target group's proxy_protocol_v2.client_to_server.header_placement "
                   "to on_first_ack";
        case Rejection::NotProxy:
            return fmt::format(
                "{} is trusted and must send a PROXY header: enable it there, or, if clients connect "
                "directly from this address, use proxy = \"mixed\" and remove it from trusted",
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
    entry.message_id = std::forward<Mail>(mail).message_id;
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

store::JournalSession begin(const SessionRecord& record, Millis now) {
    store::JournalSession entry;
    entry.id = record.id.text();
    entry.started_ms = record.wall_start;
    entry.listener = record.listener().name;
    entry.protocol = toString(record.listener().protocol);
    entry.client = record.client.address.bytes;
    entry.client_port = record.client.port;
    if (record.arrival.header_expected) entry.balancer = record.arrival.peer.address.bytes;
    entry.destination = record.destination.address.bytes;
    entry.destination_port = record.destination.port;
    entry.allowed = record.admission.allowed;
    if (record.admission.rule_prefix)
        entry.rule = networkAround(record.client.address.bytes, *record.admission.rule_prefix).toString();
    for (std::size_t reason = 0; reason < kRefusals; ++reason)
        if (record.would_refuse.has(static_cast<Refusal>(reason)))
            entry.would_refuse.emplace_back(reasonFor(static_cast<Refusal>(reason)));
    if (record.would_refuse.has(Refusal::Rule)) entry.rule_id = record.rule_id;
    entry.limit = record.would_limit.name();
    entry.limit_value = record.would_limit.value;
    if (record.tlvs) entry.balancer_told = balancerTold(*record.tlvs);
    entry.header_ms = record.header_done.sinceStart();
    entry.duration_ms = now - record.start;
    return entry;
}

void addServer(store::JournalSession& entry, const SessionRecord& record) {
    entry.upstream = record.pool().config().name;
    if (!record.connected.hasCome()) return;
    entry.server = record.endpoint->server->name;
    entry.connect_ms = record.connected - record.connecting;
    if (record.greeted.hasCome()) entry.greeting_ms = record.greeted - record.connected;
}

void addTls(store::JournalSession& entry, const SessionRecord& record) {
    if (!record.tls && record.balancerEndsTls()) {
        entry.tls = "balancer";
        if (!record.tlvs || !record.tlvs->ssl) return;
        entry.tls_version = printable(record.tlvs->ssl->version);
        entry.tls_cipher = printable(record.tlvs->ssl->cipher);
    }
    if (!record.tls) return;
    const TlsFacts& facts = *record.tls;
    entry.tls_version = facts.version;
    entry.tls_cipher = facts.cipher;
    entry.tls_sni = facts.sni;
    entry.tls_resumed = facts.resumed;
    entry.tls_handshake_ms = facts.handshake_ms;
    entry.tls_error = facts.fault;
    if (!facts.peer) return;
    entry.tls_client_subject = facts.peer->subject;
    entry.tls_client_sha256 = facts.peer->sha256;
    entry.tls_client_verified = facts.peer->verified;
}

void addServerTls(store::JournalSession& entry, const SessionRecord& record) {
    if (!record.server_tls) return;
    const ServerTlsFacts& facts = *record.server_tls;
    entry.server_tls = record.pool().config().tls == UpstreamTls::Implicit ? "implicit" : "starttls";
    entry.server_tls_version = facts.version;
    entry.server_tls_cipher = facts.cipher;
    entry.server_tls_resumed = facts.resumed;
    entry.server_tls_verified = facts.verified;
    entry.server_tls_error = toString(facts.failure);
}

/// What a client was told that wanted to go on in the clear, and did not come back with TLS.
std::string_view lastWord(const SessionRecord& record) noexcept {
    const SessionFacts& facts = record.facts;
    const bool stopped = facts.tls_refusals > 0 && facts.tls == TlsBegin::None && facts.authenticated != true;
    return stopped ? traitsOf(record.listener().protocol).tls_first : std::string_view();
}

/// The session is over: what it knew goes with the entry.
store::JournalSession sessionEntry(SessionRecord& record, Millis now) {
    store::JournalSession entry = begin(record, now);
    addServer(entry, record);
    SessionFacts& facts = record.facts;
    entry.helo = facts.helo.view();
    entry.user = std::move(facts.user);
    entry.tls = toString(facts.tls);
    addTls(entry, record);
    addServerTls(entry, record);
    entry.authenticated = facts.authenticated;
    entry.failed_logins = facts.failed_logins;
    entry.failed_users = facts.failed_users.take();
    entry.mail.reserve(facts.transactions.size());
    for (MailTransaction& mail : facts.transactions.take())
        entry.mail.push_back(journalMail(std::move(mail), 0));
    entry.mail_count = facts.transaction_count;
    entry.end = toString(record.end);
    if (record.violation) entry.violation = toString(*record.violation);
    return entry;
}

/// What is known of the session now, and one mail of it.
store::JournalSession mailEntry(const SessionRecord& record, Millis now, const MailTransaction& mail,
                                std::uint32_t number) {
    store::JournalSession entry = begin(record, now);
    entry.kind = store::JournalKind::Mail;
    addServer(entry, record);
    const SessionFacts& facts = record.facts;
    entry.helo = facts.helo.view();
    entry.user = facts.user;
    entry.tls = toString(facts.tls);
    addTls(entry, record);
    addServerTls(entry, record);
    entry.authenticated = facts.authenticated;
    entry.failed_logins = facts.failed_logins;
    entry.failed_users = facts.failed_users;
    entry.mail.push_back(journalMail(mail, number));
    entry.mail_count = number;
    return entry;
}

std::string_view withoutLineEnd(std::string_view reply) noexcept {
    while (!reply.empty() && (reply.back() == '\r' || reply.back() == '\n'))
        reply.remove_suffix(1);
    return reply;
}

store::JournalSession refusedEntry(SessionHost& host, const SessionRecord& record, Refusal refusal,
                                   std::string_view reply) {
    store::JournalSession entry = begin(record, host.now());
    entry.kind = store::JournalKind::Refused;
    entry.end = reasonFor(refusal);
    if (refusal == Refusal::Rule) entry.rule_id = record.rule_id;
    // Of one that was served, until there was no server for it after STARTTLS.
    entry.failed_logins = record.facts.failed_logins;
    entry.failed_users = record.facts.failed_users;
    entry.reply = withoutLineEnd(reply);
    return entry;
}

void countMail(ListenerCounters& counters, const MailTransaction& mail) noexcept {
    if (!mail.accepted) return;
    count(counters.mails);
    count(counters.recipients, mail.recipient_count);
}

void logEnd(EventSink& log, const store::JournalSession& entry) {
    // In the order of time: the session's own line is its last.
    for (std::size_t at = mailInLine(entry).size(); at < entry.mail.size(); ++at) {
        LogLine line = log.line(LogLevel::Information, "session.mail", timeOf(entry));
        writeFurtherMail(line, entry, at);
        log.write(line);
    }
    writeLine(log, entry);
}

}  // namespace

void ended(SessionHost& host, SessionRecord& record, std::uint64_t bytes_in, std::uint64_t bytes_out,
           std::string_view would_reply) {
    count(host.counters().ends[static_cast<std::size_t>(record.end)]);
    count(host.counters().bytes_in, bytes_in);
    count(host.counters().bytes_out, bytes_out);
    ListenerCounters& counters = record.listenerCounters();
    count(counters.failed_logins, record.facts.failed_logins);
    count(counters.tls_required_refusals, record.facts.tls_refusals);
    if (record.facts.authenticated == true) count(counters.logins);
    for (const MailTransaction& mail : record.facts.transactions)
        countMail(counters, mail);
    EventSink& log = host.log();
    const bool logged = log.enabled(LogLevel::Information);
    if (!host.recorder() && !logged) return;
    const std::string_view last_word = lastWord(record);
    store::JournalSession entry = sessionEntry(record, host.now());
    entry.bytes_in = bytes_in;
    entry.bytes_out = bytes_out;
    entry.reply = would_reply.empty() ? last_word : withoutLineEnd(would_reply);
    if (logged) logEnd(log, entry);
    if (Recorder* recorder = host.recorder()) recorder->record(std::move(entry));
}

void mail(SessionHost& host, const SessionRecord& record, const MailTransaction& mail,
          std::uint32_t number) noexcept {
    countMail(record.listenerCounters(), mail);
    Recorder* const recorder = host.recorder();
    if (!recorder && !host.log().enabled(LogLevel::Information)) return;
    try {
        keep(host, mailEntry(record, host.now(), mail, number));
    } catch (const std::bad_alloc&) {
        if (recorder) recorder->recordFailed();
    }
}

void refused(SessionHost& host, const SessionRecord& record, Refusal refusal, const LimitReached& limit,
             std::string_view reply) {
    count(record.listenerCounters().refusals[static_cast<std::size_t>(refusal)]);
    count(record.listenerCounters().failed_logins, record.facts.failed_logins);
    count(record.listenerCounters().tls_required_refusals, record.facts.tls_refusals);
    if (!host.recorder() && !host.log().enabled(LogLevel::Information)) return;
    auto* const repeated =
        record.facts.failed_logins > 0
            ? nullptr
            : host.repeatedRefusal(record.client.address, record.arrival.listener_index, refusal);
    if (repeated && *repeated) return;
    store::JournalSession entry = refusedEntry(host, record, refusal, reply);
    entry.limit = limit.name();
    entry.limit_value = limit.value;
    if (!repeated) return keep(host, std::move(entry));
    *repeated = std::make_unique<store::JournalSession>(std::move(entry));
}

void keep(SessionHost& host, store::JournalSession&& entry) {
    if (host.log().enabled(LogLevel::Information)) writeLine(host.log(), entry);
    if (Recorder* recorder = host.recorder()) recorder->record(std::move(entry));
}

void failed(SessionHost& host, const SessionRecord& record) noexcept {
    EventSink& log = host.log();
    if (!log.enabled(LogLevel::Error)) return;
    try {
        LogLine line = log.line(LogLevel::Error, "session.failed");
        line.text("session", record.id.text());
        line.text("listener", record.listener().name);
        line.text("peer", record.arrival.peer.address.toString());
        line.text("detail", "out of memory or descriptors before the client was known");
        log.write(line);
    } catch (const std::bad_alloc&) {
        // It ends all the same, and what ends it must not go on to the other sessions.
    }
}

void probed(SessionHost& host, const SessionRecord& record, bool up) {
    EventSink& log = host.log();
    if (!log.enabled(LogLevel::Debug)) return;
    LogLine line = log.line(LogLevel::Debug, "session.check");
    line.text("session", record.id.text());
    line.text("listener", record.listener().name);
    line.text("balancer", record.arrival.peer.address.toString());
    line.boolean("up", up);
    log.write(line);
}

void rejected(SessionHost& host, const AcceptedConnection& arrival, Rejection rejection,
              std::string_view first_bytes, std::size_t offset) {
    // A session that was admitted is counted by its end, and its peer may be any client.
    if (rejection != Rejection::Unexpected) host.counters().rejections.add(rejection, arrival.peer.address);
    std::uint32_t suppressed = 0;
    if (!host.log().enabled(LogLevel::Warning)) return;
    if (!host.mayLogRejection(arrival.peer.address, rejection, suppressed)) return;
    LogLine line = host.log().line(LogLevel::Warning, "proxy.rejected");
    line.text("listener", arrival.listener().name);
    line.text("peer", arrival.peer.address.toString());
    line.number("peer_port", arrival.peer.port);
    line.text("reason", toString(rejection));
    line.text("detail", explain(rejection));
    if (rejection != Rejection::UntrustedPeer && rejection != Rejection::Unexpected)
        line.number("offset", static_cast<std::int64_t>(offset));
    if (!first_bytes.empty()) line.text("first_bytes", firstBytesHex(first_bytes, rejection));
    if (const std::string hint = hintFor(arrival, rejection); !hint.empty()) line.text("hint", hint);
    if (suppressed > 0) line.number("suppressed", suppressed);
    host.log().write(line);
}

void tlsFailed(SessionHost& host, const SessionRecord& record, TlsFailure failure, bool silent) {
    record.listenerCounters().handshakes.failed(failure);
    std::uint32_t suppressed = 0;
    if (silent || !host.log().enabled(LogLevel::Information)) return;
    if (!host.mayLogTlsFailure(record.client.address, failure, suppressed)) return;
    LogLine line = host.log().line(LogLevel::Information, "session.tls_failed");
    line.text("session", record.id.text());
    line.text("listener", record.listener().name);
    line.text("client", record.client.address.toString());
    line.number("client_port", record.client.port);
    if (record.arrival.header_expected) line.text("balancer", record.arrival.peer.address.toString());
    line.text("reason", toString(failure));
    line.number("duration_ms", host.now() - record.start);
    if (suppressed > 0) line.number("suppressed", suppressed);
    host.log().write(line);
}

}  // namespace mailgate::report
