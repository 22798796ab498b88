// SPDX-License-Identifier: Apache-2.0
/// \file  What the gateway knows of IMAP (RFC 9051, RFC 3501; response codes RFC 5530).
#pragma once

#include "protocols/dialogue/protocol_traits.h"

namespace mailgate::imap {

extern const ProtocolTraits kImap;

}  // namespace mailgate::imap
