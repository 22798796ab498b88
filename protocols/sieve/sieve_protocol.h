// SPDX-License-Identifier: Apache-2.0
/// \file  What the gateway knows of ManageSieve (RFC 5804).
#pragma once

#include "protocols/dialogue/protocol_traits.h"

namespace mailgate::sieve {

extern const ProtocolTraits kSieve;

}  // namespace mailgate::sieve
