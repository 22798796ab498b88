// SPDX-License-Identifier: Apache-2.0
/// \file  TLS handshakes by how they went: a listener's, or a server's. Any thread.
#pragma once

#include "gateway/tls/failure.h"

#include <array>
#include <atomic>
#include <cstdint>
#include <string_view>
#include <vector>

namespace mailgate {

struct HandshakeCounters {
    using Count = std::atomic<std::uint64_t>;

    std::array<Count, 2> versions{};  ///< done, with TLS 1.2 and 1.3
    std::array<Count, kTlsFailureReasons> failures{};

    void done(std::string_view version) noexcept { add(versions[version == "TLSv1.2" ? 0 : 1]); }
    void failed(TlsFailure failure) noexcept { add(failures[static_cast<std::size_t>(failure.reason)]); }

  private:
    static void add(Count& count) noexcept { count.fetch_add(1, std::memory_order_relaxed); }
};

/// How many went one way.
struct HandshakeCount {
    std::string_view result;   ///< "done", or why it failed
    std::string_view version;  ///< of those that are done
    std::uint64_t count = 0;
};
/// One for each way that there is.
std::vector<HandshakeCount> handshakeCounts(const HandshakeCounters& counters);

}  // namespace mailgate
