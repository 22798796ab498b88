// SPDX-License-Identifier: Apache-2.0
/// \file  Sessions for whom client addresses are not meant: the host part of the client's goes (IPv4 keeps /24, IPv6 /48),
/// wherever it stands, as when the journal forgets it. Pure functions.
#pragma once

#include "protocols/values/network.h"
#include "store/journal/record.h"

#include <string>
#include <string_view>

namespace mailgate::answers {

/// No longer than what is left.
Network maskedNetwork(Network network) noexcept;
std::string maskedHeloName(std::string_view helo, const AddressBytes& client);
store::JournalSession maskedSession(store::JournalSession session);

}  // namespace mailgate::answers
