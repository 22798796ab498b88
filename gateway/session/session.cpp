// SPDX-License-Identifier: Apache-2.0
#include "gateway/session/session.h"

#include "gateway/session/session_report.h"
#include "protocols/mail_protocol.h"
#include "protocols/proxy/decoder.h"
#include "protocols/proxy/encoder.h"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <new>
#include <utility>

namespace mailgate {
namespace {

// How often a held client's servers are tried again.
constexpr Millis kRetryEvery = 1'000;
// How long a refused client may take to say QUIT (RFC 5321 3.1 has the server wait; this bounds it), and a
// balancer to finish its check.
constexpr Millis kDialogueLimit = 60'000;
// How long we read and drop after our last word, so that what the client still sends does not turn into a
// reset.
constexpr Millis kLingerLimit = 2'000;
// How long a server may take to answer what a client sent before the bytes that end the session.
constexpr Millis kViolationLimit = 10'000;
// The reply to a whole message may take ten minutes (RFC 5321 4.5.3.2.6). Who cuts the session before it comes makes the
// client send the message again, though the server has it.
constexpr Millis kFinalReplyLimit = 630'000;
// A socket that has no more than this under way takes another line whole.
constexpr std::size_t kFarewellRoom = 8'192;
// TLS records that open a session: content type 22, handshake (RFC 8446 5.1).
constexpr int kTlsHandshake = 0x16;

bool outOfResources(int error) noexcept {
    return error == EMFILE || error == ENFILE || error == ENOBUFS || error == ENOMEM;
}

Rejection rejectionFor(proxy::Reason reason) noexcept {
    return static_cast<Rejection>(static_cast<int>(Rejection::NotProxy) + static_cast<int>(reason));
}

}  // namespace

Session::Session(SessionHost& host, const Arrival& arrival)
    : host_(host),
      record_(arrival, host.newSessionId(), host.wallClock(), host.now()),
      relay_(host.resources()) {
    listenerCounters().live.fetch_add(1, std::memory_order_relaxed);
}

Session::~Session() {
    listenerCounters().live.fetch_sub(1, std::memory_order_relaxed);
}

void Session::start(std::unique_ptr<Transport> client) {
    client_ = std::move(client);
    relay_.attach(Side::Client, client_.get());
    if (record_.arrival.header_expected) {
        host_.arm(*this, record_.start + config().timeouts.proxy_header.count());
        return;
    }
    record_.client = record_.arrival.peer;
    record_.destination = record_.arrival.local;
    record_.header_done = record_.start;
    guarded([&] { admit(); });
}

void Session::onEvents(unsigned slot, std::uint32_t events) {
    guarded([&] { handle(slot, events); });
}

void Session::onTimer() {
    guarded([&] { handleTimer(); });
}

/// Where memory runs out a session ends, whatever it is at; the others go on.
template <typename Work>
void Session::guarded(Work work) {
    try {
        return work();
    } catch (const std::bad_alloc&) {
        relay_.setTap(nullptr);
        filter_.reset();
    }
    try {
        finish(End::GatewayError);
    } catch (const std::bad_alloc&) {
        admitted_ = false;  // no memory for its line either
        finish(End::GatewayError);
    }
}

void Session::handle(unsigned slot, std::uint32_t events) {
    const bool from_client = slot == kClientSlot;
    // A server that was given up may still have an event in the batch under way.
    if (!from_client && slot != server_slot_) return;
    const Side side = from_client ? Side::Client : Side::Server;
    if (Transport* end = from_client ? client_.get() : server_.get()) end->note(events);
    switch (state_) {
        case State::AwaitingHeader:
            readHeader();
            return;
        case State::Checking:
        case State::Refusing:
            if (events & kWritable) pump(Side::Server);
            if (dialogue_) onClient();
            return;
        case State::Connecting:
            if (!from_client)
                sendProxyHeader();
            else if (events & kFailed)
                finish(End::ClientReset);
            return;
        case State::AwaitingGreeting:
            if (!from_client)
                readGreeting();
            else if (events & kFailed)
                finish(End::ClientReset);
            else
                watchTls();
            return;
        case State::Holding:
            if (events & kFailed) finish(End::ClientReset);
            return;
        case State::Relaying:
            record_.last_activity = host_.now();
            // What is held back hides that its sender is gone: nothing more is read.
            if ((events & kFailed) && relay_.stalled(side)) return onLost(side);
            if (events != kWritable) pump(side);
            if (state_ == State::Relaying && ((events & kWritable) || events == 0)) pump(other(side));
            return;
        case State::Lingering:
            discard();
            return;
        case State::Closed:
            return;
    }
}

void Session::handleTimer() {
    switch (state_) {
        case State::AwaitingHeader:
            rejectHeader(relay_.bytesFrom(Side::Client) == 0 ? Rejection::NoHeader : Rejection::HeaderTimeout,
                         relay_.held(Side::Client), relay_.bytesFrom(Side::Client));
            return;
        case State::Checking:
        case State::Refusing:
            linger(state_ == State::Checking ? End::Check : End::Refused);
            return;
        case State::Connecting:
            serverFailed(ServerFailure::ConnectTimeout);
            return;
        case State::AwaitingGreeting:
            serverFailed(ServerFailure::NoGreeting);
            return;
        case State::Holding:
            tried_ = 0;
            connectNext();
            return;
        case State::Relaying:
            onIdle();
            return;
        case State::Lingering:
            finish(record_.end);
            return;
        case State::Closed:
            return;
    }
}

// ---- the header, and who may enter

void Session::readHeader() {
    bool broken = false;
    while (!broken && relay_.mayHaveInput(Side::Client)) {
        const IoResult got = relay_.readFrom(Side::Client);
        broken = got.status == IoStatus::Error;
        if (got.status != IoStatus::Ok) continue;
        std::string_view input = relay_.scratch(got.bytes);
        const bool in_pieces = !relay_.held(Side::Client).empty();
        if (in_pieces) {
            if (!relay_.hold(Side::Client, input)) return finish(End::GatewayError);
            input = relay_.held(Side::Client);
        }
        proxy::DecodeResult decoded =
            proxy::decode({reinterpret_cast<const std::uint8_t*>(input.data()), input.size()});
        if (const auto* malformed = std::get_if<proxy::Malformed>(&decoded)) {
            return rejectHeader(rejectionFor(malformed->reason), input, malformed->offset);
        }
        if (auto* header = std::get_if<proxy::Header>(&decoded)) {
            if (in_pieces) relay_.consumeHeld(Side::Client, header->size);
            return headerComplete(std::move(*header),
                                  in_pieces ? std::string_view{} : input.substr(header->size));
        }
        if (!in_pieces && !relay_.hold(Side::Client, input)) return finish(End::GatewayError);
    }
    if (!broken && !relay_.sourceEnded(Side::Client)) return;
    // Not even one byte: a probe of the port, not worth a warning.
    if (relay_.bytesFrom(Side::Client) == 0) {
        count(host_.counters().empty);
        return finish(End::ClientClosed);
    }
    rejectHeader(Rejection::Incomplete, relay_.held(Side::Client), relay_.bytesFrom(Side::Client));
}

void Session::headerComplete(proxy::Header&& header, std::string_view rest) {
    record_.header_done = host_.now();
    record_.header_bytes = static_cast<std::uint16_t>(header.size);
    if (!relay_.hold(Side::Client, rest)) return finish(End::GatewayError);
    if (!header.tlvs.all.empty()) record_.tlvs = std::make_unique<proxy::Tlvs>(std::move(header.tlvs));
    // A header that describes its own connection is a balancer speaking for itself (HAProxy's v1 checks).
    if (!header.hasClientAddress() || header.source == record_.arrival.peer) return startCheck();
    record_.client = header.source;
    record_.destination = header.destination;
    admit();
}

void Session::rejectHeader(Rejection rejection, std::string_view first_bytes, std::size_t offset) {
    report::rejected(host_, record_.arrival, rejection, first_bytes, offset);
    // Nothing is said: the protocol must not begin before a valid header (specification 2).
    finish(End::Refused);
}

void Session::admit() {
    client_text_ = record_.client.address.toString();
    host_.sawClient(*record_.arrival.generation, record_.arrival.listener_index, record_.client.address);
    const store::AccessTable& table = host_.accessTable(*record_.arrival.generation);
    const UnixSeconds now = record_.wall_start / 1000;
    record_.admission.match = table.lookup(record_.client.address.bytes, record_.arrival.listener_index, now);
    if (record_.admission.match) {
        record_.admission.allowed = record_.admission.match->verdict == store::Verdict::Allow;
        table.hit(record_.admission.match->rule, now);
    } else {
        record_.admission.allowed = record_.listener().access == AccessDefault::Open;
    }
    if (!record_.admission.allowed) return refuse(Refusal::Rule);
    if (host_.stopping()) return refuse(Refusal::ShuttingDown);
    if (const LimitReached limit = claimPlace(); !limit.name.empty()) return refuse(Refusal::TooMany, limit);
    if (host_.full()) return refuse(Refusal::GatewayFull);
    count(host_.counters().admitted);
    count(listenerCounters().admitted);
    admitted_ = true;
    hold_until_ = host_.now() + config().timeouts.hold.count();
    connectNext();
}

LimitReached Session::claimPlace() {
    const ListenerConfig& listener = record_.listener();
    const store::ClientLimits rule =
        record_.admission.match ? record_.admission.match->limits : store::ClientLimits{};
    const ClientTable::Limits limits{rule.sessions.value_or(listener.client_sessions),
                                     rule.per_minute.value_or(listener.client_rate)};
    if (!limits.any()) return {};
    const IpAddress& client = record_.client.address;
    const unsigned prefix = client.isV4() ? 96U + listener.client_ipv4_prefix : listener.client_ipv6_prefix;
    switch (host_.clients().admit(networkAround(client.bytes, prefix), listener.name, limits, host_.now(),
                                  ticket_)) {
        case ClientTable::Verdict::Admitted:
            break;
        case ClientTable::Verdict::TooManySessions:
            return {"client_sessions", limits.sessions};
        case ClientTable::Verdict::TooFast:
            return {"client_rate", limits.per_minute};
    }
    return {};
}

// ---- what mailgate says itself

void Session::startCheck() {
    client_text_ = record_.arrival.peer.address.toString();
    const bool up = pool().available(host_.now()) && !host_.stopping();
    count(host_.counters().checks);
    report::probed(host_, record_, up);
    // In TLS there is nothing that could be said in the clear: an open connection says "up".
    const Protocol protocol = opaqueFromStart() ? Protocol::Tcp : record_.listener().protocol;
    record_.close(End::Check);
    converse(makeCheckDialogue(protocol, up, refusalText()), State::Checking, kDialogueLimit);
}

void Session::refuse(Refusal refusal, const LimitReached& limit) {
    const Protocol protocol = opaqueFromStart() ? Protocol::Tcp : record_.listener().protocol;
    const bool by_rule = refusal == Refusal::Rule;
    count(by_rule ? host_.counters().refused : host_.counters().turned_away);
    count(host_.counters().refusals[static_cast<std::size_t>(refusal)]);
    if (by_rule) count(listenerCounters().refused);
    report::refused(host_, record_, refusal, limit, refusalLine(protocol, refusal, refusalText()));
    admitted_ = false;
    ticket_ = {};
    record_.close(End::Refused);
    dropServer();
    relay_.resetServer();
    if ((kept_refused_ = host_.keepRefused()))
        return converse(makeRefusalDialogue(protocol, refusal, refusalText()), State::Refusing,
                        kDialogueLimit);
    // Told, but not waited for.
    state_ = State::Lingering;
    say(refusalLine(protocol, refusal, refusalText()));
    if (state_ == State::Lingering) discard();
    finish(record_.end);
}

void Session::converse(std::unique_ptr<Dialogue> dialogue, State state, Millis limit) {
    dialogue_ = std::move(dialogue);
    state_ = state;
    host_.arm(*this, host_.now() + limit);
    take(dialogue_->open());
    if (state_ != state) return;
    // What came behind the header is part of the conversation.
    const std::string early(relay_.held(Side::Client));
    relay_.dropHeld(Side::Client);
    if (!early.empty()) take(dialogue_->hear(early));
    if (state_ == state) onClient();
}

void Session::take(const Dialogue::Step& step) {
    const State state = state_;
    say(step.say);
    if (!step.done || state_ != state) return;
    relay_.endSource(Side::Server);
    pump(Side::Server);
}

// Our own words take the server's place in the stream to the client.
void Session::say(std::string_view bytes) {
    if (bytes.empty()) return;
    if (!relay_.hold(Side::Server, bytes)) return finish(End::GatewayError);
    pump(Side::Server);
}

void Session::onClient() {
    const State state = state_;
    for (int reads = 0; state_ == state && relay_.mayHaveInput(Side::Client); ++reads) {
        if (reads == kReadsPerTurn) return host_.again(*this, kClientSlot);
        const IoResult got = relay_.readFrom(Side::Client);
        if (got.status == IoStatus::WouldBlock) return;
        if (got.status == IoStatus::Error) return finish(record_.end);
        if (got.status == IoStatus::Ok && !relay_.sourceEnded(Side::Server)) {
            take(dialogue_->hear(relay_.scratch(got.bytes)));
        }
    }
    if (state_ == state && relay_.sourceEnded(Side::Client)) finish(record_.end);
}

// ---- the way to a server

bool Session::opaqueFromStart() const noexcept {
    return record_.listener().tls == ListenerTls::Passthrough || record_.listener().protocol == Protocol::Tcp;
}

void Session::connectNext() {
    UpstreamPool& servers = pool();
    while (std::shared_ptr<ServerEndpoint> candidate =
               servers.pick(record_.client.address, host_.now(), tried_)) {
        int error = 0;
        server_slot_ = static_cast<std::uint8_t>(server_slot_ % 3 + 1);
        server_ = host_.connect(candidate->endpoint, *this, server_slot_, error);
        if (!server_) {
            if (outOfResources(error)) return refuse(Refusal::Internal);
            servers.failed(*candidate, host_.now(), connectFailure(error));
            continue;
        }
        record_.endpoint = std::move(candidate);
        record_.endpoint->sessions.fetch_add(1, std::memory_order_relaxed);
        relay_.resetServer();
        relay_.attach(Side::Server, server_.get());
        server_watched_ = false;
        state_ = State::Connecting;
        host_.arm(*this, host_.now() + config().timeouts.connect.count());
        // On loopback the handshake is over when connect() returns, and the header can go out without waiting
        // for an event.
        if (record_.endpoint->endpoint.address.isLoopback()) return sendProxyHeader();
        if (!watchServer(true)) refuse(Refusal::Internal);
        return;
    }
    holdOn();
}

// One send, the whole header, before anything else: all mail servers refuse a header in two segments.
void Session::sendProxyHeader() {
    const std::string header = proxyHeader();
    const IoResult put = server_->write(header);
    switch (put.status) {
        case IoStatus::WouldBlock:
            if (!watchServer(true)) refuse(Refusal::Internal);
            return;
        case IoStatus::Eof:
        case IoStatus::Error:
            return serverFailed(connectFailure(put.error));
        case IoStatus::Ok:
            break;
    }
    if (put.bytes != header.size()) return serverFailed(ServerFailure::HeaderNotTaken);
    if (!watchServer(false)) return refuse(Refusal::Internal);
    record_.connected = host_.now();
    host_.counters().connect.add(record_.connected - record_.header_done);
    awaitGreeting();
}

bool Session::watchServer(bool writable) noexcept {
    return server_watched_ || (server_watched_ = server_->watch(writable));
}

std::string Session::proxyHeader() const {
    const UpstreamConfig& upstream = pool().config();
    const proxy::Connection connection{record_.client, record_.destination};
    switch (upstream.send_proxy) {
        case SendProxy::Off:
            return {};
        case SendProxy::V1:
            return proxy::encodeV1(connection);
        case SendProxy::V2:
            break;
    }
    using proxy::TlvType;
    std::vector<proxy::Tlv> tlvs{
        {static_cast<std::uint8_t>(TlvType::UniqueId), std::string(record_.id.text())}};
    if (record_.tlvs && upstream.pass_tlvs) {
        for (const TlvType type :
             {TlvType::Ssl, TlvType::Authority, TlvType::Aws, TlvType::Azure, TlvType::Gcp}) {
            for (const proxy::Tlv& tlv : record_.tlvs->all) {
                if (tlv.type == static_cast<std::uint8_t>(type)) tlvs.push_back(tlv);
            }
        }
    }
    return proxy::encodeV2(connection, tlvs, false, upstream.max_header_bytes);
}

void Session::awaitGreeting() {
    if (opaqueFromStart()) {
        server_->noDelay();
        pool().worked(*record_.endpoint);
        if (record_.listener().tls == ListenerTls::Passthrough) record_.facts.tls = "implicit";
        return beginRelay();
    }
    state_ = State::AwaitingGreeting;
    host_.arm(*this, host_.now() + config().timeouts.greeting.count());
    watchTls();
}

// A client that opens with a TLS handshake gets no greeting in the clear and must not wait for one. Anybody can send that
// byte: the server's first byte tells the filter whether it is TLS.
void Session::watchTls() {
    const std::string_view early = relay_.held(Side::Client);
    int first = early.empty() ? -1 : static_cast<unsigned char>(early.front());
    if (early.empty() && relay_.mayHaveInput(Side::Client)) first = client_->peek();
    if (first != kTlsHandshake) return;
    server_->noDelay();
    beginRelay();
}

// The server's first words decide whether it serves this client; until then the client hears and is heard by
// nobody.
void Session::readGreeting() {
    while (relay_.mayHaveInput(Side::Server)) {
        const IoResult got = relay_.readFrom(Side::Server);
        if (got.status == IoStatus::WouldBlock) return;
        if (got.status == IoStatus::Eof) return serverFailed(ServerFailure::ClosedWithoutGreeting);
        if (got.status == IoStatus::Error) return serverFailed(ServerFailure::ResetWithoutGreeting);
        if (!relay_.hold(Side::Server, relay_.scratch(got.bytes)))
            return serverFailed(ServerFailure::EndlessGreeting);
        switch (judgeGreeting(record_.listener().protocol, relay_.held(Side::Server))) {
            case Greeting::Incomplete:
                break;
            case Greeting::Refused:
                record_.facts.goodbye = true;  // its words stand; ours would only follow them
                [[fallthrough]];
            case Greeting::Welcome:
                pool().worked(*record_.endpoint);
                return beginRelay();
            case Greeting::Unavailable:
                return serverFailed(ServerFailure::SystemNotAccepting);
            case Greeting::Foreign:
                return serverFailed(ServerFailure::Foreign);
        }
    }
    if (relay_.sourceEnded(Side::Server)) serverFailed(ServerFailure::ClosedInGreeting);
}

// A server that has answered is not waited for, as one is that may be back soon: it is asked once more, and the client
// hears within two seconds.
void Session::serverFailed(ServerFailure failure) {
    if (answered(failure)) hold_until_ = std::min(hold_until_, host_.now() + kRetryEvery);
    pool().failed(*record_.endpoint, host_.now(), failure);
    undrain();  // the next server need not be drained
    dropServer();
    connectNext();
}

void Session::dropServer() {
    if (!server_) return;
    relay_.attach(Side::Server, nullptr);
    server_.reset();
    record_.endpoint->sessions.fetch_sub(1, std::memory_order_relaxed);
}

void Session::holdOn() {
    const Millis next_try = host_.now() + kRetryEvery;
    if (host_.stopping() || next_try > hold_until_) return giveUp();
    state_ = State::Holding;
    host_.arm(*this, next_try);
}

void Session::giveUp() {
    record_.endpoint = nullptr;
    refuse(host_.stopping() ? Refusal::ShuttingDown : Refusal::NoServer);
}

// ---- the relay

void Session::beginRelay() {
    state_ = State::Relaying;
    record_.greeted = record_.last_activity = host_.now();
    host_.counters().greeting.add(record_.greeted - record_.connected);
    armRelay();
    // Behind TLS from the first byte on there is nothing to see. What is to be screened there comes before
    // it.
    const bool before_tls = record_.listener().tls == ListenerTls::Passthrough;
    filter_ = makeFilter(before_tls ? Protocol::Tcp : record_.listener().protocol, record_.facts,
                         {.bare_lf = record_.listener().bareLfFor(record_.client.address),
                          .no_header = pool().config().send_proxy == SendProxy::Off,
                          .gateway = config().name},
                         this);
    if (filter_) {
        relay_.setTap(this);
        relay_.showHeld(Side::Server);
        relay_.showHeld(Side::Client);
    }
    pump(Side::Server);
    if (state_ == State::Relaying) pump(Side::Client);
}

void Session::onMail(const MailTransaction& mail, std::uint32_t number) noexcept {
    report::mail(host_, record_, mail, number);
}

Rest Session::onBytes(Side from, std::string_view bytes, Output& out) noexcept {
    if (from == Side::Client && filter_->violation()) return Rest::Hold;
    const Rest rest = filter_->onBytes(from, bytes, out);
    if (filter_->opaque()) {
        relay_.setTap(nullptr);
        filter_->finish();
        filter_.reset();
    }
    return rest;
}

void Session::pump(Side source) {
    const State state = state_;
    if (!client_ || (state == State::Relaying && !server_)) return;
    // What was held back must not go on because nobody watches any more.
    if (violated_ && !filter_ && source == Side::Client) return;
    switch (relay_.pump(source)) {
        case Relay::Status::Open:
            break;
        case Relay::Status::Unfinished:
            host_.again(*this, source == Side::Client ? kClientSlot : serverSlot());
            break;
        case Relay::Status::Ended:
            onSourceEnded(source);
            break;
        case Relay::Status::SourceLost:
            onLost(source);
            break;
        case Relay::Status::SinkLost:
            onLost(other(source));
            break;
        case Relay::Status::NoMemory:
            finish(End::GatewayError);
            break;
    }
    if (state_ != State::Relaying) return;
    if (filter_ && filter_->violation()) return onViolation();
    // What the server has said may decide about bytes that the client sent ahead of it.
    if (source == Side::Server && relay_.stalled(Side::Client)) return pump(Side::Client);
    if (drain_) maybeDrain();
}

// The bytes stay here. The client hears why once the server has answered all that it sent before them; a server that is
// not understood itself is not waited for.
void Session::onViolation() {
    if (!std::exchange(violated_, true)) host_.arm(*this, host_.now() + kViolationLimit);
    const Violation violation = *filter_->violation();
    if (violation == Violation::UnexpectedReply || violation == Violation::NoMemory || filter_->settled())
        endViolated();
}

void Session::endViolated() {
    struct Outcome {
        Refusal refusal;
        End end;
    };
    const auto outcome = [](Violation violation) -> Outcome {
        switch (violation) {
            case Violation::BareLf:
                return {Refusal::BareLf, End::BareLf};
            case Violation::ForbiddenCommand:
                return {Refusal::ForbiddenCommand, End::ForbiddenCommand};
            case Violation::BadCommand:
            case Violation::TooLong:
                break;
            case Violation::UnexpectedReply:
                return {Refusal::ServerViolation, End::ServerViolation};
            case Violation::NoMemory:
                return {Refusal::Internal, End::GatewayError};
        }
        return {Refusal::BadCommand, End::ProtocolViolation};
    }(*filter_->violation());
    sayInStream(outcome.refusal);
    linger(outcome.end);
}

void Session::onSourceEnded(Side source) {
    if (state_ != State::Relaying) return linger(record_.end);
    if (source == Side::Server) {
        // A server that lets a client go after QUIT is done with it: nothing is left to wait for.
        if (record_.facts.quit) return finish(End::ClientQuit);
        // A client that has said all it had to say is not told that nobody listens any more.
        if (!relay_.sourceEnded(Side::Client)) sayInStream(Refusal::ServerLost);
        if (server_gone_) return linger(End::ServerLost);
        // In the clear a mail server that has closed reads no more: what the client still sends, and what is held of it,
        // has nowhere to go.
        if (filter_) return linger(half_closed_ == End::None ? End::ServerClosed : half_closed_);
    }
    relay_.passEnd(source);
    if (half_closed_ == End::None) {
        const End by_client = record_.facts.quit ? End::ClientQuit : End::ClientClosed;
        half_closed_ = source == Side::Server ? End::ServerClosed : by_client;
    }
    if (relay_.ended()) return finish(half_closed_);
    armRelay();
}

void Session::onLost(Side side) {
    if (side == Side::Client) return finish(record_.facts.quit ? End::ClientQuit : End::ClientReset);
    serverGone();
}

// The server's connection broke: the client still gets what the server had said, and hears why there is no
// more.
void Session::serverGone() {
    if (std::exchange(server_gone_, true)) return;
    record_.close(record_.facts.quit          ? End::ClientQuit
                  : half_closed_ != End::None ? half_closed_
                                              : End::ServerLost);
    server_->note(kReadable);
    const Relay::Status rest = relay_.pump(Side::Server);
    if (rest == Relay::Status::SinkLost) return finish(record_.end);
    relay_.endSource(Side::Server);
    pump(Side::Server);
}

// Text of ours is legal in the server's stream only in the clear, at a boundary, while that stream is open, and when the
// server has not said its own goodbye. Where the client does not read, half of it might be all that ever arrives.
bool Session::maySpeak() const noexcept {
    return filter_ && filter_->serverAtBoundary() && relay_.drained(Side::Server) &&
           client_->unacknowledged() <= kFarewellRoom && !relay_.endPassed(Side::Server) &&
           !record_.facts.quit && !record_.facts.goodbye;
}

bool Session::sayInStream(Refusal refusal) {
    if (!maySpeak()) return false;
    const std::string line = refusalLine(record_.listener().protocol, refusal, refusalText());
    if (!line.empty()) client_->write(line);
    return true;
}

Millis Session::idleLimit() const noexcept {
    const Timeouts& timeouts = config().timeouts;
    const Millis limit = half_closed_ == End::None ? timeouts.idleFor(record_.listener().protocol).count()
                                                   : timeouts.half_close.count();
    return filter_ && filter_->awaitsFinalReply() ? std::max(limit, kFinalReplyLimit) : limit;
}

// The next time that something is due: the limit of inactivity, or a step of a drain.
void Session::armRelay() {
    if (violated_) return;
    Millis next = record_.last_activity + idleLimit();
    if (drain_) next = std::min(next, host_.now() < drain_->from ? drain_->from : drain_->until);
    host_.arm(*this, next);
}

void Session::onIdle() {
    if (violated_) return endViolated();
    const Millis now = host_.now();
    if (drain_ && now >= drain_->until) {
        sayInStream(Refusal::ShuttingDown);
        return linger(drain_->end);
    }
    if (drain_) maybeDrain();
    if (state_ != State::Relaying) return;
    if (now < record_.last_activity + idleLimit()) return armRelay();
    if (half_closed_ != End::None) return finish(End::HalfCloseTimeout);
    sayInStream(Refusal::Idle);
    linger(End::IdleTimeout);
}

// ---- the end

void Session::drain(const Drain& drain) {
    const bool stopping = drain.end == End::Shutdown;
    switch (state_) {
        case State::AwaitingHeader:
            // Hears why not once we know who it is; the header's time limit bounds that.
            return;
        case State::Connecting:
        case State::AwaitingGreeting:
            drain_ = drain;
            if (stopping) refuse(Refusal::ShuttingDown);
            return;
        case State::Holding:
            if (stopping) refuse(Refusal::ShuttingDown);
            return;
        case State::Relaying:
            drain_ = drain;
            maybeDrain();
            if (state_ == State::Relaying) armRelay();
            return;
        case State::Checking:
        case State::Refusing:
            if (stopping) linger(record_.end);
            return;
        case State::Lingering:
        case State::Closed:
            return;
    }
}

void Session::undrain() noexcept {
    if (drain_ && drain_->end == End::Drained) drain_.reset();
}

void Session::maybeDrain() {
    if (host_.now() < drain_->from || !maySpeak() || !filter_->interruptible()) return;
    sayInStream(Refusal::ShuttingDown);
    linger(drain_->end);
}

bool Session::kill() {
    if (state_ == State::Lingering || state_ == State::Closed) return false;
    if (state_ != State::Relaying) {
        abort(End::Killed);
        return true;
    }
    sayInStream(Refusal::ShuttingDown);
    linger(End::Killed);
    return true;
}

void Session::abort(End end) {
    if (state_ == State::Closed) return;
    if (state_ == State::Relaying) sayInStream(Refusal::ShuttingDown);
    finish(end);
}

bool Session::usesServer(std::string_view upstream, std::string_view server) const noexcept {
    return server_ && record_.listener().upstream == upstream && record_.endpoint->server->name == server;
}

void Session::linger(End end) {
    record_.close(end);
    dropServer();
    relay_.setTap(nullptr);
    dialogue_.reset();
    relay_.dropHeld(Side::Client);
    relay_.passEnd(Side::Server);
    state_ = State::Lingering;
    host_.arm(*this, host_.now() + kLingerLimit);
    discard();
}

void Session::discard() {
    for (int reads = 0; relay_.mayHaveInput(Side::Client); ++reads) {
        if (reads == kReadsPerTurn) {
            // A refused client with a megabyte more to say is not one that waits for our last line.
            if (kept_refused_) break;
            return host_.again(*this, kClientSlot);
        }
        const IoResult got = relay_.readFrom(Side::Client);
        if (got.status == IoStatus::WouldBlock) return;
        if (got.status != IoStatus::Ok) break;
    }
    if (relay_.sourceEnded(Side::Client) || relay_.mayHaveInput(Side::Client)) finish(record_.end);
}

void Session::finish(End end) {
    if (state_ == State::Closed) return;
    record_.close(end);
    cancel();
    if (filter_) filter_->finish();
    if (filter_ && violated_) record_.violation = filter_->violation();
    if (admitted_)
        report::ended(host_, record_, relay_.bytesFrom(Side::Client) - record_.header_bytes,
                      relay_.bytesFrom(Side::Server));
    else if (record_.end == End::GatewayError)
        report::failed(host_, record_);
    ticket_ = {};
    if (kept_refused_) host_.refusedGone();
    state_ = State::Closed;
    dropServer();
    relay_.attach(Side::Client, nullptr);
    client_.reset();
    host_.release(*this);
}

LiveSession Session::live() const {
    LiveSession live;
    const SessionFacts& facts = record_.facts;
    live.id = record_.id.text();
    live.listener = record_.listener().name;
    live.protocol = toString(record_.listener().protocol);
    live.state = stateName();
    if (record_.identified()) live.client = record_.client;
    if (record_.arrival.header_expected) live.balancer = record_.arrival.peer.address;
    if (server_) {
        live.upstream = pool().config().name;
        live.server = record_.endpoint->server->name;
    }
    live.helo = facts.helo;
    live.user = facts.user;
    live.tls = facts.tls;
    if (!facts.transactions.empty()) live.from = facts.transactions.back().from;
    if (filter_ && !filter_->sender().empty()) live.from = filter_->sender();
    live.mail_count = facts.transaction_count;
    live.bytes_in = relay_.bytesFrom(Side::Client) - record_.header_bytes;
    live.bytes_out = relay_.bytesFrom(Side::Server);
    live.started_ms = record_.wall_start;
    live.idle_ms = host_.now() - std::max(record_.last_activity, record_.start);
    return live;
}

std::string_view Session::stateName() const noexcept {
    switch (state_) {
        case State::AwaitingHeader:
            return "awaiting_header";
        case State::Checking:
            return "checking";
        case State::Refusing:
            return "refusing";
        case State::Connecting:
            return "connecting";
        case State::AwaitingGreeting:
            return "awaiting_greeting";
        case State::Holding:
            return "holding";
        case State::Relaying:
            return "relaying";
        case State::Lingering:
            return "lingering";
        case State::Closed:
            return "closed";
    }
    return "";
}

}  // namespace mailgate
