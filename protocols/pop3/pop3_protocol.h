// SPDX-License-Identifier: Apache-2.0
/// \file  What the gateway knows of POP3 (RFC 1939, RFC 2449; response codes RFC 3206).
#pragma once

#include "protocols/dialogue/protocol_traits.h"

namespace mailgate::pop3 {

extern const ProtocolTraits kPop3;

}  // namespace mailgate::pop3
