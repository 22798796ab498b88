// SPDX-License-Identifier: Apache-2.0
#include "gateway/upstream/connector.h"

#include <array>
#include <cerrno>
#include <cstring>
#include <utility>

namespace mailgate {
namespace {

bool outOfResources(int error) noexcept {
    return error == EMFILE || error == ENFILE || error == ENOBUFS || error == ENOMEM;
}

}  // namespace

Connector::Progress Connector::begin(std::unique_ptr<Transport> transport, int error, std::string header,
                                     bool at_once, std::unique_ptr<ServerTls> tls) {
    if (!transport) {
        if (outOfResources(error)) return NoResources{error};
        return Failed{connectFailure(error), error};
    }
    transport_ = std::move(transport);
    kept_ = std::move(header);
    tls_ = std::move(tls);
    stage_ = Stage::Connecting;
    watched_ = encrypted_ = greeted_before_ = false;
    if (at_once) return sendHeader();
    if (!watch(true)) return NoResources{errno};
    return Waiting{};
}

Connector::Progress Connector::onEvents(std::uint32_t events, std::span<char> scratch) {
    transport_->note(events);
    switch (stage_) {
        case Stage::Connecting:
            return sendHeader();
        case Stage::StartingTls:
            return talk();
        case Stage::ShakingHands:
            return shakeHands();
        case Stage::Connected:
            break;
    }
    return readGreeting(scratch);
}

// One send, the whole header, before anything else: all mail servers refuse a header in two segments.
Connector::Progress Connector::sendHeader() {
    const IoResult put = transport_->write(kept_);
    switch (put.status) {
        case IoStatus::WouldBlock:
            if (!watch(true)) return NoResources{errno};
            return Waiting{};
        case IoStatus::Eof:
        case IoStatus::Error:
            return Failed{connectFailure(put.error), put.error};
        case IoStatus::Ok:
            break;
    }
    if (put.bytes != kept_.size()) return Failed{ServerFailure::HeaderNotTaken};
    if (!watch(false)) return NoResources{errno};
    kept_ = {};
    if (tls_ && tls_->starttls) {
        stage_ = Stage::StartingTls;
        return talk();
    }
    if (tls_) return beginTls();
    stage_ = Stage::Connected;
    return Connected{};
}

Connector::Progress Connector::talk() {
    std::array<char, 2048> buffer;
    while (transport_->readable()) {
        const IoResult got = transport_->read(buffer);
        if (got.status == IoStatus::WouldBlock) break;
        if (got.status == IoStatus::Error) return Failed{ServerFailure::NoStartTls, got.error};
        if (auto end = hear({buffer.data(), got.bytes}, got.last || got.status == IoStatus::Eof)) return *end;
    }
    // All that was said in the clear has been read: nothing of it is left for TLS to find.
    if (tls_->starttls->state() == StartTlsDialogue::State::Ready) return beginTls();
    return Waiting{};
}

/// A value: the dialogue is over, and TLS will not follow.
std::optional<Connector::Progress> Connector::hear(std::string_view bytes, bool ended) {
    StartTlsDialogue& dialogue = *tls_->starttls;
    const std::string answer = dialogue.onBytes(bytes);
    if (ended) dialogue.onEnd();
    if (dialogue.state() == StartTlsDialogue::State::NotWelcome) return notWelcome(dialogue);
    if (dialogue.state() == StartTlsDialogue::State::Failed)
        return Failed{ServerFailure::NoStartTls, 0, {}, dialogue.reason()};
    if (answer.empty()) return std::nullopt;
    const IoResult put = transport_->write(answer);
    if (put.status == IoStatus::Ok && put.bytes == answer.size()) return std::nullopt;
    return Failed{ServerFailure::NoStartTls, put.error, {}, "took only part of a command"};
}

// What the client would answer must not go out in the clear: for it the server has ended.
Connector::Progress Connector::notWelcome(const StartTlsDialogue& dialogue) {
    kept_ = dialogue.greeting();
    switch (dialogue.verdict()) {
        case Greeting::Refused:
            return Greeted{Greeting::Refused, kept_, true};
        case Greeting::Unavailable:
            return Failed{ServerFailure::SystemNotAccepting};
        default:
            return Failed{ServerFailure::Foreign};
    }
}

Connector::Progress Connector::beginTls() {
    // The handshake would wait for the header to be acknowledged (Nagle's algorithm).
    transport_->noDelay();
    auto encrypted = TlsTransport::connect(transport_, tls_->context, tls_->name, tls_->peer);
    if (!encrypted) return NoResources{ENOMEM};
    transport_ = std::move(encrypted);
    encrypted_ = true;
    stage_ = Stage::ShakingHands;
    if (tls_->starttls) kept_ = tls_->starttls->greeting();
    tls_.reset();
    return shakeHands();
}

Connector::Progress Connector::shakeHands() {
    const TlsTransport::Handshake step = tls()->advance(0);
    switch (step.state) {
        case TlsTransport::Handshake::State::Done:
            stage_ = Stage::Connected;
            greeted_before_ = !kept_.empty();
            return Connected{};
        case TlsTransport::Handshake::State::Wants:
            return Waiting{step.again};
        case TlsTransport::Handshake::State::Failed:
            break;
    }
    transport_ = tls()->release();
    encrypted_ = false;
    if (step.failure.reason == TlsFailure::Reason::NoMemory) return NoResources{ENOMEM};
    return Failed{handshakeFailure(step.failure), 0, step.failure};
}

// The server's first words decide whether it serves. A greeting that comes whole, as nearly all do, is judged where
// it was read; judgeGreeting() bounds what has to be kept of another.
Connector::Progress Connector::readGreeting(std::span<char> scratch) {
    if (std::exchange(greeted_before_, false)) return Greeted{Greeting::Welcome, kept_};
    while (transport_->readable()) {
        std::memcpy(scratch.data(), kept_.data(), kept_.size());
        const IoResult got = transport_->read(scratch.subspan(kept_.size()));
        switch (got.status) {
            case IoStatus::WouldBlock:
                return Waiting{};
            case IoStatus::Eof:
                return Failed{kept_.empty() ? ServerFailure::ClosedWithoutGreeting
                                            : ServerFailure::ClosedInGreeting};
            case IoStatus::Error:
                // In TLS 1.3 a server has looked at our certificate only once the handshake is over here.
                if (tls() && tls()->broken())
                    return Failed{handshakeFailure(tls()->failure()), 0, tls()->failure()};
                return Failed{ServerFailure::ResetWithoutGreeting, got.error};
            case IoStatus::Ok:
                break;
        }
        const std::string_view bytes(scratch.data(), kept_.size() + got.bytes);
        const Greeting verdict = judgeGreeting(protocol_, bytes);
        switch (verdict) {
            case Greeting::Incomplete:
                if (got.last) return Failed{ServerFailure::ClosedInGreeting};
                kept_ = bytes;
                break;
            case Greeting::Welcome:
            case Greeting::Refused:
                return Greeted{verdict, bytes, got.last};
            case Greeting::Unavailable:
                return Failed{ServerFailure::SystemNotAccepting};
            case Greeting::Foreign:
                return Failed{ServerFailure::Foreign};
        }
    }
    return Waiting{};
}

bool Connector::watch(bool writable) noexcept {
    return watched_ || (watched_ = transport_->watch(writable));
}

std::string describe(const Connector::Failed& failed) {
    std::string text(toString(failed.failure));
    if (failed.failure == ServerFailure::HandshakeFailed) text.append(": ").append(toString(failed.tls));
    if (!failed.detail.empty()) text.append(": ").append(failed.detail);
    return text;
}

}  // namespace mailgate
