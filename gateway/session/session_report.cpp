#include "gateway/session/session_report.h"

#include "gateway/log/session_fields.h"
#include "protocols/proxy/header.h"

#include <fmt/format.h>

#include <algorithm>

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

void writeTlvs(LogLine& line, const proxy::Tlvs& tlvs) {
    if (tlvs.unique_id) line.text("balancer_id", *tlvs.unique_id);
    if (tlvs.authority) line.text("authority", *tlvs.authority);
    if (tlvs.alpn) line.text("alpn", *tlvs.alpn);
    if (tlvs.ssl && tlvs.ssl->tls) line.text("balancer_tls", tlvs.ssl->version);
    if (tlvs.ssl && tlvs.ssl->certificate_verified) line.text("balancer_tls_cn", tlvs.ssl->common_name);
    if (tlvs.aws_vpce_id) line.text("aws_vpce_id", *tlvs.aws_vpce_id);
    if (tlvs.azure_link_id) line.number("azure_link_id", *tlvs.azure_link_id);
    if (tlvs.gcp_psc_connection_id) {
        line.text("gcp_psc_connection_id", std::to_string(*tlvs.gcp_psc_connection_id));
    }
}

void writeClient(LogLine& line, std::string_view session, const Arrival& arrival, const Endpoint& client,
                 std::string_view client_text, const Endpoint& destination) {
    line.text("session", session);
    line.text("listener", arrival.listener->name);
    line.text("protocol", toString(arrival.listener->protocol));
    line.text("client", client_text);
    line.number("client_port", client.port);
    if (arrival.header_expected)
        line.text("balancer", arrival.peer.address.toString());
    else
        line.null("balancer");
    line.text("destination", destination.address.toString());
    line.number("destination_port", destination.port);
}

void writeAdmission(LogLine& line, const Admission& admission) {
    line.text("access", admission.allowed ? "allow" : "deny");
    if (admission.match)
        line.text("rule", admission.match->network.toString());
    else
        line.null("rule");
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
    entry.header_ms = session.header_done_ - session.start_;
    entry.duration_ms = session.host_.now() - session.start_;
    return entry;
}

/// The session is over: what it knew of its mail goes with the entry.
store::JournalSession SessionReport::journalEntry(Session& session, std::uint64_t bytes_in,
                                                  std::uint64_t bytes_out) {
    store::JournalSession entry = journalHead(session);
    SessionFacts& facts = session.facts_;
    entry.upstream = session.pool().config().name;
    if (session.connected_ != 0) entry.server = session.endpoint_->server->name;
    entry.helo = std::move(facts.helo);
    entry.user = std::move(facts.user);
    entry.tls = std::move(facts.tls);
    entry.authenticated = facts.authenticated.value_or(false);
    for (MailTransaction& mail : facts.transactions)
        entry.mail.push_back({std::move(mail.from), std::move(mail.recipients), mail.recipient_count,
                              mail.refused_count, mail.size, std::move(mail.reply), std::move(mail.replies),
                              mail.accepted});
    entry.mail_count = facts.transaction_count;
    entry.bytes_in = bytes_in;
    entry.bytes_out = bytes_out;
    if (session.connected_ != 0) entry.connect_ms = session.connected_ - session.header_done_;
    if (session.greeted_ != 0) entry.greeting_ms = session.greeted_ - session.connected_;
    entry.end = toString(session.end_);
    return entry;
}

admin::LiveSession SessionReport::live(const Session& session) {
    admin::LiveSession live;
    const SessionFacts& facts = session.facts_;
    live.id = session.id_.text();
    live.listener = session.arrival_.listener->name;
    live.protocol = toString(session.arrival_.listener->protocol);
    live.state = stateName(session);
    live.client = session.client_address_;
    if (session.arrival_.header_expected) live.balancer = session.arrival_.peer.address;
    if (session.server_) {
        live.upstream = session.pool().config().name;
        live.server = session.endpoint_->server->name;
    }
    live.helo = facts.helo;
    live.user = facts.user;
    live.tls = facts.tls;
    if (!facts.transactions.empty()) live.from = facts.transactions.back().from;
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
    EventLog& log = host.log();
    const bool logged = log.enabled(LogLevel::Information);
    if (!host.journal() && !logged) return;
    store::JournalSession entry = journalEntry(session, bytes_in, bytes_out);
    if (logged) logEnd(session, entry);
    if (store::Journal* journal = host.journal()) journal->record(std::move(entry));
}

void SessionReport::logEnd(const Session& session, const store::JournalSession& entry) {
    EventLog& log = session.host_.log();
    LogLine line = log.line(LogLevel::Information, "session.end");
    writeClient(line, session.id_.text(), session.arrival_, session.client_address_, session.client_text_,
                session.destination_);
    writeAdmission(line, session.admission_);
    line.text("upstream", entry.upstream);
    line.textOrNull("server", entry.server);
    const Protocol protocol = session.arrival_.listener->protocol;
    const bool mail = protocol == Protocol::Smtp || protocol == Protocol::Lmtp;
    if (mail) line.textOrNull("helo", entry.helo);
    line.textOrNull("user", entry.user);
    if (!entry.user.empty()) line.boolean("authenticated", entry.authenticated);
    line.textOrNull("tls", entry.tls);
    if (mail) writeMail(line, entry, QueueIds::Left);
    if (session.tlvs_) writeTlvs(line, *session.tlvs_);
    writeOutcome(line, entry);
    log.write(line);
}

void SessionReport::refused(Session& session, Refusal refusal, std::string_view reply) {
    if (store::Journal* journal = session.host_.journal()) {
        store::JournalSession entry = journalHead(session);
        entry.refused = true;
        entry.end = reasonFor(refusal);
        journal->record(std::move(entry));
    }
    EventLog& log = session.host_.log();
    if (!log.enabled(LogLevel::Information)) return;
    LogLine line = log.line(LogLevel::Information, "session.refused");
    writeClient(line, session.id_.text(), session.arrival_, session.client_address_, session.client_text_,
                session.destination_);
    writeAdmission(line, session.admission_);
    line.text("reason", reasonFor(refusal));
    if (refusal == Refusal::TooMany) {
        const bool by_number = session.over_limit_ == ClientTable::Verdict::TooManySessions;
        const ClientTable::Limits limits = session.clientLimits();
        line.text("limit", by_number ? "client_sessions" : "client_rate");
        line.number("limit_value", by_number ? limits.sessions : limits.per_minute);
    }
    while (!reply.empty() && (reply.back() == '\r' || reply.back() == '\n'))
        reply.remove_suffix(1);
    line.textOrNull("reply", reply);
    log.write(line);
}

void SessionReport::failed(const Session& session) {
    EventLog& log = session.host_.log();
    if (!log.enabled(LogLevel::Error)) return;
    LogLine line = log.line(LogLevel::Error, "session.failed");
    line.text("session", session.id_.text());
    line.text("listener", session.arrival_.listener->name);
    line.text("peer", session.arrival_.peer.address.toString());
    line.text("detail", "out of memory or descriptors before the client was known");
    log.write(line);
}

void SessionReport::checked(Session& session, bool up) {
    EventLog& log = session.host_.log();
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
