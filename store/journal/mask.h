// SPDX-License-Identifier: Apache-2.0
/// \file  What is left of a client's address in the tables that are kept for long. Internal to store/.
///
/// IPv4 keeps /24, IPv6 /48. A text that is replaced here is a whole address: 192.0.2.1 is not found in 192.0.2.11.
#pragma once

#include "protocols/values/network.h"

#include <string>
#include <string_view>

namespace mailgate::store::journal {

constexpr std::uint8_t kMaskV4 = 96 + 24;  ///< in the 128-bit space
constexpr std::uint8_t kMaskV6 = 48;

/// No longer than the mask; a shorter network stays what it is.
Network masked(Network network) noexcept;
inline bool isMasked(const Network& network) noexcept {
    return network.prefix_length <= (network.isV4() ? kMaskV4 : kMaskV6);
}

/// The network in a column; text that is not a network, because some other program wrote it, reads as ::.
Network networkOf(std::string_view text) noexcept;

/// Whether the mask leaves the rule's network as it is, in text as Network::toString() has it.
bool isMaskedRule(std::string_view rule) noexcept;
/// The rule's network, masked; empty: the listener's default.
std::string maskedRule(std::string_view rule);

/// A HELO name. Of an address literal ([192.0.2.1], [IPv6:2001:db8::1]) the mask is left, whosever address it
/// is: behind NAT it is not the one the client has here.
std::string maskedHelo(std::string_view helo, std::string_view client, std::string_view masked_client);

/// A mail address; of an address literal in its place of the domain the mask is left.
std::string maskedMailAddress(std::string_view address);

/// "Client host [192.0.2.1] blocked", masked and back.
std::string withReplaced(std::string_view text, std::string_view address, std::string_view by);

}  // namespace mailgate::store::journal
