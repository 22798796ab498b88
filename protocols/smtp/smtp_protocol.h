// SPDX-License-Identifier: Apache-2.0
/// \file  What the gateway knows of SMTP (RFC 5321) and LMTP (RFC 2033).
#pragma once

#include "protocols/dialogue/protocol_traits.h"

namespace mailgate::smtp {

extern const ProtocolTraits kSmtp;
extern const ProtocolTraits kLmtp;

}  // namespace mailgate::smtp
