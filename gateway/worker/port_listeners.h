// SPDX-License-Identifier: Apache-2.0
/// \file  Who listens on a port of this machine, as the kernel tells everybody.
#pragma once

#include "protocols/values/address.h"

#include <cstdint>
#include <optional>
#include <vector>

namespace mailgate {

/// The addresses on which sockets of any process listen, in this process's network; none: it cannot be known.
std::optional<std::vector<IpAddress>> addressesListening(std::uint16_t port);

}  // namespace mailgate
