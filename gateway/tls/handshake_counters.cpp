// SPDX-License-Identifier: Apache-2.0
#include "gateway/tls/handshake_counters.h"

namespace mailgate {

std::vector<HandshakeCount> handshakeCounts(const HandshakeCounters& counters) {
    const auto value = [](const HandshakeCounters::Count& count) {
        return count.load(std::memory_order_relaxed);
    };
    std::vector<HandshakeCount> counts{{"done", "TLSv1.2", value(counters.versions[0])},
                                       {"done", "TLSv1.3", value(counters.versions[1])}};
    for (std::size_t reason = 1; reason < kTlsFailureReasons; ++reason) {
        counts.push_back(
            {toString(static_cast<TlsFailure::Reason>(reason)), "", value(counters.failures[reason])});
    }
    return counts;
}

}  // namespace mailgate
