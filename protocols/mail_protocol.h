// SPDX-License-Identifier: Apache-2.0
/// \file  The registry of protocols, and what a session asks of one: its filter, and what a server's greeting means.
///
/// A new protocol is a folder that defines its ProtocolTraits, a word in values/protocol.h, and a row in
/// mail_protocol.cpp.
#pragma once

#include "protocols/dialogue/protocol_traits.h"
#include "protocols/stream/stream_filter.h"
#include "protocols/values/protocol.h"

#include <memory>
#include <string_view>

namespace mailgate {

const ProtocolTraits& traitsOf(Protocol protocol) noexcept;

/// The filter for a protocol, writing into `facts` and `sink` (null: further mail is counted only), which must
/// outlive it. Null where there is nothing to see or to screen.
std::unique_ptr<StreamFilter> makeFilter(Protocol protocol, SessionFacts& facts,
                                         const ScreenConfig& screen = {}, MailSink* sink = nullptr);

/// Judges the first line in `bytes` (Protocol::Tcp: any byte is a Welcome). Bounded: a first line of more
/// than 1,000 bytes is Foreign.
Greeting judgeGreeting(Protocol protocol, std::string_view bytes) noexcept;

}  // namespace mailgate
