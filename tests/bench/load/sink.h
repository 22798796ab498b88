// SPDX-License-Identifier: Apache-2.0
/// \file  The load tool's mail server: accepts, reads a PROXY header, says what a client of the protocol
/// needs to hear, and keeps nothing. It answers lock-step clients; it is no conforming server.
#pragma once

#include "tests/bench/load/event_loop.h"

namespace mailgate::load {

enum class SinkProtocol { Smtp, Imap };

/// Prints {"listening": "ADDRESS:PORT"}, serves until SIGTERM or SIGINT, then prints what it counted.
void runSink(SinkProtocol protocol, const Endpoint& listen);

}  // namespace mailgate::load
