// SPDX-License-Identifier: Apache-2.0
/// \file  The load tool's clients: many sessions of one script against a gateway, each behind a PROXY header
/// of its own.
#pragma once

#include "tests/bench/load/event_loop.h"
#include "tests/bench/load/proxy_header.h"
#include "tests/bench/load/script.h"
#include "tests/bench/load/stream.h"

#include <chrono>
#include <cstdint>
#include <optional>

namespace mailgate::load {

struct RunOptions {
    Workload workload{};
    Endpoint target;
    ClientAddresses clients;
    std::uint64_t count = 1;                         ///< sessions in all
    std::optional<std::chrono::seconds> duration{};  ///< begin no further session after that
    unsigned concurrency = 1;  ///< sessions under way at once; those that hold do not count
    unsigned sources = 16;     ///< loopback addresses to connect from, each with all of its ports
    std::uint64_t octets = 2048;
    TlsUse tls = TlsUse::None;  ///< behind the PROXY header
};

/// Prints one JSON object of results; with imap-idle first {"idle": N} when all of them idle, and then waits
/// for a line or the end of standard input. True: no session had an error.
bool run(const RunOptions& options);

}  // namespace mailgate::load
