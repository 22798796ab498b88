// SPDX-License-Identifier: Apache-2.0
/// \file  What a session needs to know of a protocol: its filter, and what a server's greeting means.
#pragma once

#include "protocols/stream/stream_filter.h"
#include "protocols/values/protocol.h"

#include <cstdint>
#include <memory>
#include <string_view>

namespace mailgate {

/// The filter for a protocol, writing into `facts` and `sink` (null: further mail is counted only), which must
/// outlive it. Null where there is nothing to see or to screen.
std::unique_ptr<StreamFilter> makeFilter(Protocol protocol, SessionFacts& facts,
                                         const ScreenConfig& screen = {}, MailSink* sink = nullptr);

/// What the first bytes of a server mean to somebody who is about to hand it a client.
enum class Greeting : std::uint8_t {
    Incomplete,   ///< no whole line yet
    Welcome,      ///< 220, * OK, * PREAUTH, +OK, ManageSieve's OK or capability lines
    Unavailable,  ///< about the server itself (RFC 3463 x.3.x, [UNAVAILABLE], [SYS/TEMP]): another may serve
    Refused,  ///< about this client, for now or for good: the client has to hear it, and the server is well
    Foreign,  ///< not this protocol at all
};

/// Judges the first line in `bytes` (Protocol::Tcp: any byte is a Welcome). Bounded: a first line of more
/// than 1,000 bytes is Foreign.
Greeting judgeGreeting(Protocol protocol, std::string_view bytes) noexcept;

}  // namespace mailgate
