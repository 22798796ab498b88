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
      arrival_(arrival),
      id_(host.newSessionId()),
      relay_(host.resources()),
      wall_start_(host.wallClock()),
      start_(host.now()) {
    listenerCounters().live.fetch_add(1, std::memory_order_relaxed);
}

Session::~Session() {
    listenerCounters().live.fetch_sub(1, std::memory_order_relaxed);
}

void Session::start(std::unique_ptr<Transport> client) {
    client_ = std::move(client);
    relay_.attach(Side::Client, client_.get());
    if (arrival_.header_expected) {
        host_.arm(*this, start_ + config().timeouts.proxy_header.count());
        return;
    }
    client_address_ = arrival_.peer;
    destination_ = arrival_.local;
    header_done_ = start_;
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
            last_activity_ = host_.now();
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
            finish(end_);
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
    header_done_ = host_.now();
    header_bytes_ = static_cast<std::uint16_t>(header.size);
    if (!relay_.hold(Side::Client, rest)) return finish(End::GatewayError);
    if (!header.tlvs.all.empty()) tlvs_ = std::make_unique<proxy::Tlvs>(std::move(header.tlvs));
    // A header that describes its own connection is a balancer speaking for itself (HAProxy's v1 checks).
    if (!header.hasClientAddress() || header.source == arrival_.peer) return startCheck();
    client_address_ = header.source;
    destination_ = header.destination;
    admit();
}

void Session::rejectHeader(Rejection rejection, std::string_view first_bytes, std::size_t offset) {
    SessionReport::rejected(host_, arrival_, rejection, first_bytes, offset);
    // Nothing is said: the protocol must not begin before a valid header (specification 2).
    finish(End::Refused);
}

void Session::admit() {
    client_text_ = client_address_.address.toString();
    host_.sawClient(*arrival_.generation, arrival_.listener_index, client_address_.address);
    const store::AccessTable& table = host_.accessTable(*arrival_.generation);
    const UnixSeconds now = wall_start_ / 1000;
    admission_.match = table.lookup(client_address_.address.bytes, arrival_.listener_index, now);
    if (admission_.match) {
        admission_.allowed = admission_.match->verdict == store::Verdict::Allow;
        table.hit(admission_.match->rule, now);
    } else {
        admission_.allowed = arrival_.listener->access == AccessDefault::Open;
    }
    if (!admission_.allowed) return refuse(Refusal::Rule);
    if (host_.stopping()) return refuse(Refusal::ShuttingDown);
    over_limit_ = claimPlace();
    if (over_limit_ != ClientTable::Verdict::Admitted) return refuse(Refusal::TooMany);
    if (host_.full()) return refuse(Refusal::GatewayFull);
    count(host_.counters().admitted);
    count(listenerCounters().admitted);
    admitted_ = true;
    hold_until_ = host_.now() + config().timeouts.hold.count();
    connectNext();
}

ClientTable::Limits Session::clientLimits() const noexcept {
    const store::ClientLimits rule = admission_.match ? admission_.match->limits : store::ClientLimits{};
    return {rule.sessions.value_or(arrival_.listener->client_sessions),
            rule.per_minute.value_or(arrival_.listener->client_rate)};
}

ClientTable::Verdict Session::claimPlace() {
    const ClientTable::Limits limits = clientLimits();
    if (!limits.any()) return ClientTable::Verdict::Admitted;
    const ListenerConfig& listener = *arrival_.listener;
    const unsigned prefix =
        client_address_.address.isV4() ? 96U + listener.client_ipv4_prefix : listener.client_ipv6_prefix;
    return host_.clients().admit(networkAround(client_address_.address.bytes, prefix), listener.name, limits,
                                 host_.now(), ticket_);
}

// ---- what mailgate says itself

void Session::startCheck() {
    client_text_ = arrival_.peer.address.toString();
    const bool up = pool().available(host_.now()) && !host_.stopping();
    count(host_.counters().checks);
    SessionReport::checked(*this, up);
    // In TLS there is nothing that could be said in the clear: an open connection says "up".
    const Protocol protocol = opaqueFromStart() ? Protocol::Tcp : arrival_.listener->protocol;
    noteEnd(End::Check);
    converse(makeCheckDialogue(protocol, up, refusalText()), State::Checking, kDialogueLimit);
}

void Session::refuse(Refusal refusal) {
    const Protocol protocol = opaqueFromStart() ? Protocol::Tcp : arrival_.listener->protocol;
    const bool by_rule = refusal == Refusal::Rule;
    count(by_rule ? host_.counters().refused : host_.counters().turned_away);
    count(host_.counters().refusals[static_cast<std::size_t>(refusal)]);
    if (by_rule) count(listenerCounters().refused);
    SessionReport::refused(*this, refusal, refusalLine(protocol, refusal, refusalText()));
    admitted_ = false;
    ticket_ = {};
    noteEnd(End::Refused);
    dropServer();
    relay_.resetServer();
    if ((kept_refused_ = host_.keepRefused()))
        return converse(makeRefusalDialogue(protocol, refusal, refusalText()), State::Refusing,
                        kDialogueLimit);
    // Told, but not waited for.
    state_ = State::Lingering;
    say(refusalLine(protocol, refusal, refusalText()));
    if (state_ == State::Lingering) discard();
    finish(end_);
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
    if (!early.empty()) take(dialogue_->onBytes(early));
    if (state_ == state) onClient();
}

void Session::take(const Dialogue::Step& step) {
    const State state = state_;
    say(step.reply);
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
        if (got.status == IoStatus::Error) return finish(end_);
        if (got.status == IoStatus::Ok && !relay_.sourceEnded(Side::Server)) {
            take(dialogue_->onBytes(relay_.scratch(got.bytes)));
        }
    }
    if (state_ == state && relay_.sourceEnded(Side::Client)) finish(end_);
}

// ---- the way to a server

bool Session::opaqueFromStart() const noexcept {
    return arrival_.listener->tls == ListenerTls::Passthrough || arrival_.listener->protocol == Protocol::Tcp;
}

void Session::connectNext() {
    UpstreamPool& servers = pool();
    while (std::shared_ptr<ServerEndpoint> candidate =
               servers.pick(client_address_.address, host_.now(), tried_)) {
        int error = 0;
        server_slot_ = static_cast<std::uint8_t>(server_slot_ % 3 + 1);
        server_ = host_.connect(candidate->endpoint, *this, server_slot_, error);
        if (!server_) {
            if (outOfResources(error)) return refuse(Refusal::Internal);
            servers.failed(*candidate, host_.now(), connectFailure(error));
            continue;
        }
        endpoint_ = std::move(candidate);
        endpoint_->sessions.fetch_add(1, std::memory_order_relaxed);
        relay_.resetServer();
        relay_.attach(Side::Server, server_.get());
        server_watched_ = false;
        state_ = State::Connecting;
        host_.arm(*this, host_.now() + config().timeouts.connect.count());
        // On loopback the handshake is over when connect() returns, and the header can go out without waiting
        // for an event.
        if (endpoint_->endpoint.address.isLoopback()) return sendProxyHeader();
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
    connected_ = host_.now();
    host_.counters().connect.add(connected_ - header_done_);
    awaitGreeting();
}

bool Session::watchServer(bool writable) noexcept {
    return server_watched_ || (server_watched_ = server_->watch(writable));
}

std::string Session::proxyHeader() const {
    const UpstreamConfig& upstream = pool().config();
    const proxy::Connection connection{client_address_, destination_};
    switch (upstream.send_proxy) {
        case SendProxy::Off:
            return {};
        case SendProxy::V1:
            return proxy::encodeV1(connection);
        case SendProxy::V2:
            break;
    }
    using proxy::TlvType;
    std::vector<proxy::Tlv> tlvs{{static_cast<std::uint8_t>(TlvType::UniqueId), std::string(id_.text())}};
    if (tlvs_ && upstream.pass_tlvs) {
        for (const TlvType type :
             {TlvType::Ssl, TlvType::Authority, TlvType::Aws, TlvType::Azure, TlvType::Gcp}) {
            for (const proxy::Tlv& tlv : tlvs_->all) {
                if (tlv.type == static_cast<std::uint8_t>(type)) tlvs.push_back(tlv);
            }
        }
    }
    return proxy::encodeV2(connection, tlvs, false, upstream.max_header_bytes);
}

void Session::awaitGreeting() {
    if (opaqueFromStart()) {
        server_->noDelay();
        pool().worked(*endpoint_);
        if (arrival_.listener->tls == ListenerTls::Passthrough) facts_.tls = "implicit";
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
        switch (judgeGreeting(arrival_.listener->protocol, relay_.held(Side::Server))) {
            case Greeting::Incomplete:
                break;
            case Greeting::Refused:
                facts_.goodbye = true;  // its words stand; ours would only follow them
                [[fallthrough]];
            case Greeting::Welcome:
                pool().worked(*endpoint_);
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
    pool().failed(*endpoint_, host_.now(), failure);
    undrain();  // the next server need not be drained
    dropServer();
    connectNext();
}

void Session::dropServer() {
    if (!server_) return;
    relay_.attach(Side::Server, nullptr);
    server_.reset();
    endpoint_->sessions.fetch_sub(1, std::memory_order_relaxed);
}

void Session::holdOn() {
    const Millis next_try = host_.now() + kRetryEvery;
    if (host_.stopping() || next_try > hold_until_) return giveUp();
    state_ = State::Holding;
    host_.arm(*this, next_try);
}

void Session::giveUp() {
    endpoint_ = nullptr;
    refuse(host_.stopping() ? Refusal::ShuttingDown : Refusal::NoServer);
}

// ---- the relay

void Session::beginRelay() {
    state_ = State::Relaying;
    greeted_ = last_activity_ = host_.now();
    host_.counters().greeting.add(greeted_ - connected_);
    armRelay();
    // Behind TLS from the first byte on there is nothing to see. What is to be screened there comes before
    // it.
    const bool before_tls = arrival_.listener->tls == ListenerTls::Passthrough;
    filter_ = makeFilter(before_tls ? Protocol::Tcp : arrival_.listener->protocol, facts_,
                         {.bare_lf = arrival_.listener->bareLfFor(client_address_.address),
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
    SessionReport::mail(*this, mail, number);
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
    if (violation == Violation::UnexpectedReply || violation == Violation::NoMemory ||
        filter_->noReplyPending())
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
    if (state_ != State::Relaying) return linger(end_);
    if (source == Side::Server) {
        // A server that lets a client go after QUIT is done with it: nothing is left to wait for.
        if (facts_.quit) return finish(End::ClientQuit);
        // A client that has said all it had to say is not told that nobody listens any more.
        if (!relay_.sourceEnded(Side::Client)) sayInStream(Refusal::ServerLost);
        if (server_gone_) return linger(End::ServerLost);
        // In the clear a mail server that has closed reads no more: what the client still sends, and what is held of it,
        // has nowhere to go.
        if (filter_) return linger(half_closed_ == End::None ? End::ServerClosed : half_closed_);
    }
    relay_.passEnd(source);
    if (half_closed_ == End::None) {
        const End by_client = facts_.quit ? End::ClientQuit : End::ClientClosed;
        half_closed_ = source == Side::Server ? End::ServerClosed : by_client;
    }
    if (relay_.ended()) return finish(half_closed_);
    armRelay();
}

void Session::onLost(Side side) {
    if (side == Side::Client) return finish(facts_.quit ? End::ClientQuit : End::ClientReset);
    serverGone();
}

// The server's connection broke: the client still gets what the server had said, and hears why there is no
// more.
void Session::serverGone() {
    if (std::exchange(server_gone_, true)) return;
    noteEnd(facts_.quit ? End::ClientQuit : half_closed_ != End::None ? half_closed_ : End::ServerLost);
    server_->note(kReadable);
    const Relay::Status rest = relay_.pump(Side::Server);
    if (rest == Relay::Status::SinkLost) return finish(end_);
    relay_.endSource(Side::Server);
    pump(Side::Server);
}

// Text of ours is legal in the server's stream only in the clear, at a boundary, while that stream is open, and when the
// server has not said its own goodbye. Where the client does not read, half of it might be all that ever arrives.
bool Session::maySpeak() const noexcept {
    return filter_ && filter_->serverAtBoundary() && relay_.drained(Side::Server) &&
           client_->unacknowledged() <= kFarewellRoom && !relay_.endPassed(Side::Server) && !facts_.quit &&
           !facts_.goodbye;
}

bool Session::sayInStream(Refusal refusal) {
    if (!maySpeak()) return false;
    const std::string line = refusalLine(arrival_.listener->protocol, refusal, refusalText());
    if (!line.empty()) client_->write(line);
    return true;
}

Millis Session::idleLimit() const noexcept {
    const Timeouts& timeouts = config().timeouts;
    const Millis limit = half_closed_ == End::None ? timeouts.idleFor(arrival_.listener->protocol).count()
                                                   : timeouts.half_close.count();
    return filter_ && filter_->awaitsFinalReply() ? std::max(limit, kFinalReplyLimit) : limit;
}

// The next time that something is due: the limit of inactivity, or a step of a drain.
void Session::armRelay() {
    if (violated_) return;
    Millis next = last_activity_ + idleLimit();
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
    if (now < last_activity_ + idleLimit()) return armRelay();
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
            if (stopping) linger(end_);
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
    return server_ && arrival_.listener->upstream == upstream && endpoint_->server->name == server;
}

void Session::linger(End end) {
    noteEnd(end);
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
    if (relay_.sourceEnded(Side::Client) || relay_.mayHaveInput(Side::Client)) finish(end_);
}

void Session::finish(End end) {
    if (state_ == State::Closed) return;
    noteEnd(end);
    cancel();
    if (filter_) filter_->finish();
    if (admitted_)
        SessionReport::ended(*this);
    else if (end_ == End::GatewayError)
        SessionReport::failed(*this);
    ticket_ = {};
    if (kept_refused_) host_.refusedGone();
    state_ = State::Closed;
    dropServer();
    relay_.attach(Side::Client, nullptr);
    client_.reset();
    host_.release(*this);
}

}  // namespace mailgate
