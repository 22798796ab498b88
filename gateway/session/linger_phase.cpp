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
    relay().passEnd(Side::Server);
    context_.armIn(kLingerLimit);
    return onClient(0);
}

Next LingerPhase::onClient(std::uint32_t /*events*/) {
    for (int reads = 0; relay().mayHaveInput(Side::Client); ++reads) {
        if (reads == kReadsPerTurn) {
            // A refused client with a megabyte more to say is not one that waits for our last line.
            if (context_.kept_refused) return close();
            context_.again(Side::Client);
            return next::Stay{};
        }
        const IoResult got = relay().readFrom(Side::Client);
        if (got.status == IoStatus::WouldBlock) return next::Stay{};
        if (got.status != IoStatus::Ok) return close();
    }
    if (relay().sourceEnded(Side::Client)) return close();
    return next::Stay{};
}

}  // namespace mailgate
