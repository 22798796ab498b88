// SPDX-License-Identifier: Apache-2.0
/// \file  What those see for whom client addresses are not meant: the host part of the client's goes (IPv4 keeps /24, IPv6 /48),
/// wherever it stands, as when the journal forgets it. Pure functions.
#pragma once

#include "protocols/values/network.h"
#include "store/journal/record.h"

#include <string>
#include <string_view>

namespace mailgate::answers {

/// No longer than what is left.
Network maskedNetwork(Network network) noexcept;
/// A HELO name, an envelope address, a reply …: of addresses in it what maskedNetwork() leaves; of anybody's, since behind NAT the client's
/// is another than the one it has here. They may be written as IPv4 with four numbers, with zeroes in front or not, as IPv6 in any of RFC
/// 4291's forms, as an address literal or not, and as names of DNS have them the other way round (in-addr.arpa, ip6.arpa); with
/// characters that are percent-encoded, or full-width ones and other dots (UTS #46), in place of plain ones. What may be one, such as four
/// numbers with dots between, is taken for one. `client`: likewise where its own stands the other way round, or as one number, decimal or
/// hexadecimal. Masked once more it is the same.
std::string maskedText(std::string_view text, const AddressBytes& client);
/// Neither has it the number of a rule, which may be for the client alone.
store::JournalSession maskedSession(store::JournalSession session);

/// Whether asking for this text (a HELO name, a sender, a user …) could tell a whole address, though what is shown of it is masked:
/// whatever maskedText() changes, an address literal, and anything with an IPv6 address's colons.
bool tellsAddress(std::string_view text);
/// Likewise of a HELO name, of which names that end like it are found: it may not be the end of an address, and no label a number.
bool tellsAddressOfHelo(std::string_view name);

}  // namespace mailgate::answers
