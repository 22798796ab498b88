// SPDX-License-Identifier: Apache-2.0
#include "gateway/session/linger_phase.h"

namespace mailgate {
namespace {

// How long we read and drop after our last word, so that what the client still sends does not turn into a reset.
constexpr Millis kLingerLimit = 2'000;

}  // namespace

Next LingerPhase::begin() {
    context_.leaveServer();
    relay().dropHeld(Side::Client);
    relay().dropUnseen(Side::Server);
    relay().endSource(Side::Server);
    context_.armIn(kLingerLimit);
    return onClient(0);
}

Next LingerPhase::onClient(std::uint32_t /*events*/) {
    if (Next step = finishWriting(); !stays(step)) return step;
    return discard();
}

Next LingerPhase::finishWriting() {
    if (relay().endPassed(Side::Server)) return next::Stay{};
    switch (relay().pump(Side::Server)) {
        case Relay::Status::Open:
        case Relay::Status::Unfinished:
            return next::Stay{};
        case Relay::Status::Ended:
            relay().passEnd(Side::Server);
            return next::Stay{};
        case Relay::Status::SourceLost:
        case Relay::Status::SinkLost:
        case Relay::Status::NoMemory:
            break;
    }
    return close();
}

Next LingerPhase::discard() {
    for (int reads = 0; relay().mayHaveInput(Side::Client); ++reads) {
        if (reads == kReadsPerTurn) {
            // A refused client with a megabyte more to say is not one that waits for our last line.
            if (context_.kept_refused) return close();
            context_.defer(Side::Client);
            return next::Stay{};
        }
        const IoResult got = relay().readFrom(Side::Client);
        if (got.status == IoStatus::WouldBlock) return next::Stay{};
        if (got.status == IoStatus::Error) return close();
    }
    // One that has ended may still be reading.
    if (relay().sourceEnded(Side::Client) && relay().endPassed(Side::Server)) return close();
    return next::Stay{};
}

}  // namespace mailgate
