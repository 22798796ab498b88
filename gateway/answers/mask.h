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
/// Wherever the client's address stands in it.
std::string maskedText(std::string_view text, const AddressBytes& client);
/// Neither has it the number of a rule, which may be for the client alone.
store::JournalSession maskedSession(store::JournalSession session);

/// Whether asking for this text (a HELO name, a sender, a user …) could tell a whole address, though what is shown of it is masked: an
/// address literal, something with an IPv6 address's colons, or with four numbers and dots between.
bool tellsAddress(std::string_view text) noexcept;
/// Likewise of a HELO name, of which names that end like it are found: no label may be a number.
bool tellsAddressOfHelo(std::string_view name) noexcept;

}  // namespace mailgate::answers
