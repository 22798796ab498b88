// SPDX-License-Identifier: Apache-2.0
/// \file  Which connections come out of a socket that the gateway has bound.
#pragma once

#include "gateway/config/config.h"
#include "protocols/values/address.h"

namespace mailgate::config {

bool isWildcard(const IpAddress& address);
/// Would a connection to `server` come out of our own listening socket? (IPv6's wildcard takes IPv4 too.)
bool reaches(const Endpoint& server, const Endpoint& listener);
/// Whether a socket on `at` leaves IPv4 alone: [::] takes it too, unless the file binds that family's wildcard itself.
bool isV6Only(const Config& config, const Endpoint& at);
/// Whether a socket on `at` of `config` takes connections to `address`.
bool covers(const Config& config, const Endpoint& at, const IpAddress& address);
/// Whether the kernel keeps one from being bound while somebody listens on the other.
bool collide(const Config& one, const Endpoint& at, const Config& other, const Endpoint& there);

}  // namespace mailgate::config
