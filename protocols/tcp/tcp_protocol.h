// SPDX-License-Identifier: Apache-2.0
/// \file  What the gateway knows of a listener for any other protocol, of which it reads nothing.
#pragma once

#include "protocols/dialogue/protocol_traits.h"

namespace mailgate::tcp {

extern const ProtocolTraits kTcp;

}  // namespace mailgate::tcp
