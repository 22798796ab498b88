// SPDX-License-Identifier: Apache-2.0
/// \file  The traits of a listener for any other protocol, of which the gateway reads nothing.
#pragma once

#include "protocols/dialogue/protocol_traits.h"

namespace mailgate::tcp {

extern const ProtocolTraits kTcp;

}  // namespace mailgate::tcp
