// SPDX-License-Identifier: Apache-2.0
/// \file  What the clients of a listener use it for, as far as its ports, its protocol and its name tell.
#pragma once

#include "gateway/config/config.h"

#include <cstdint>

namespace mailgate::config {

/// Clients speak TLS from the first byte.
bool beginsWithTls(const ListenerConfig& listener) noexcept;

/// The port that clients use, behind a balancer: the listener's own when it is one that clients know, or ends like one
/// (10587, 2587); else what its name and protocol say. The listener has an address, and so for what follows.
std::uint16_t publicPortOf(const ListenerConfig& listener);

/// Where clients hand in mail of their own, with a password, and not where other sites deliver.
bool isSubmission(const ListenerConfig& listener);

}  // namespace mailgate::config
