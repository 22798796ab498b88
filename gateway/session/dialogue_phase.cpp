// SPDX-License-Identifier: Apache-2.0
#include "gateway/session/dialogue_phase.h"

#include "gateway/session/session_report.h"

#include <string>
#include <utility>

namespace mailgate {
namespace {

// How long a refused client may take to say QUIT (RFC 5321 3.1 has the server wait; this bounds it), and a balancer to
// finish its probe.
constexpr Millis kDialogueLimit = 60'000;

void countRefusal(SessionContext& context, Refusal refusal) {
    Counters& counters = context.host.counters();
    count(refusal == Refusal::Rule ? counters.refused : counters.turned_away);
    count(counters.refusals[static_cast<std::size_t>(refusal)]);
}

/// Our last line, and what of the client's is here already: closing over it would turn the line into a reset.
void replyAndForget(Relay& relay, std::string_view line) noexcept {
    if (!relay.hold(Side::Server, line)) return;
    (void)relay.pump(Side::Server);
    for (int reads = 0; reads < kReadsPerTurn && relay.mayHaveInput(Side::Client); ++reads) {
        if (relay.readFrom(Side::Client).status != IoStatus::Ok) return;
    }
}

}  // namespace

std::unique_ptr<Dialogue> answerProbe(SessionContext& context) {
    const SessionRecord& record = context.record;
    const bool up = record.pool().available(context.host.now()) && !context.host.stopping();
    count(context.host.counters().checks);
    report::probed(context.host, record, up);
    // In TLS there is nothing that could be said in the clear: an open connection says "up".
    return makeCheckDialogue(context.replyProtocol(), up,
                             context.refusalText(record.arrival.peer.address.toString()));
}

std::unique_ptr<Dialogue> refuse(SessionContext& context, const next::Refuse& refused) {
    countRefusal(context, refused.refusal);
    const std::string line = context.refusalFor(refused.refusal);
    report::refused(context.host, context.record, refused.refusal, refused.limit, line);
    context.admitted = false;
    context.ticket = {};
    context.leaveServer();
    if (!(context.kept_refused = context.host.keepRefused())) {
        replyAndForget(context.relay, line);
        return nullptr;
    }
    return context.refusalDialogue(refused.refusal);
}

DialoguePhase::DialoguePhase(SessionContext& context, std::unique_ptr<Dialogue> dialogue,
                             CloseReason reason) noexcept
    : Phase(context), dialogue_(std::move(dialogue)), reason_(reason) {
    context.record.close(reason);
}

Next DialoguePhase::begin() {
    context_.armIn(kDialogueLimit);
    if (Next step = send(dialogue_->open()); !stays(step)) return step;
    // What came behind the header is part of the conversation.
    const std::string early(relay().held(Side::Client));
    relay().dropHeld(Side::Client);
    if (!early.empty()) {
        if (Next step = send(dialogue_->onBytes(early)); !stays(step)) return step;
    }
    return readClient();
}

Next DialoguePhase::onClient(std::uint32_t events) {
    if (events & kWritable) {
        if (Next step = flush(); !stays(step)) return step;
    }
    return readClient();
}

Next DialoguePhase::readClient() {
    for (int reads = 0; relay().mayHaveInput(Side::Client); ++reads) {
        if (reads == kReadsPerTurn) {
            context_.defer(Side::Client);
            return next::Stay{};
        }
        const IoResult got = relay().readFrom(Side::Client);
        if (got.status == IoStatus::WouldBlock) return next::Stay{};
        if (got.status == IoStatus::Error) return next::Close{CloseReason::ClientReset};
        // After our last word nobody is listened to.
        if (got.status != IoStatus::Ok || relay().sourceEnded(Side::Server)) continue;
        if (Next step = send(dialogue_->onBytes(relay().scratch(got.bytes))); !stays(step)) return step;
    }
    if (relay().sourceEnded(Side::Client)) return next::Close{reason_};
    return next::Stay{};
}

// Our own words take the server's place in the stream to the client.
Next DialoguePhase::send(const Dialogue::Step& step) {
    if (!relay().hold(Side::Server, step.reply)) return next::Close{CloseReason::GatewayError};
    if (step.done) relay().endSource(Side::Server);
    return flush();
}

Next DialoguePhase::flush() {
    switch (relay().pump(Side::Server)) {
        case Relay::Status::Open:
        case Relay::Status::Unfinished:
            return next::Stay{};
        case Relay::Status::Ended:
            return next::Linger{reason_};
        case Relay::Status::SourceLost:
        case Relay::Status::SinkLost:
            return next::Close{CloseReason::ClientReset};
        case Relay::Status::NoMemory:
            break;
    }
    return next::Close{CloseReason::GatewayError};
}

Next DialoguePhase::onDrain(const Drain& drain) {
    if (drain.end != CloseReason::Shutdown) return next::Stay{};
    return next::Linger{reason_};
}

}  // namespace mailgate
