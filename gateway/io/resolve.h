// SPDX-License-Identifier: Apache-2.0
/// \file  Host names to addresses.
#pragma once

#include "protocols/values/address.h"

#include <chrono>
#include <functional>
#include <stop_token>
#include <string>
#include <vector>

namespace mailgate {

/// The addresses of a host name; `error` says why when there are none.
struct Resolution {
    std::vector<IpAddress> addresses;
    std::string error;
};
using Resolver = std::function<Resolution(const std::string& host)>;

/// getaddrinfo(3): every address of the name, in its order of preference. Blocks for as long as the name
/// servers make it, which may be minutes; no exception.
Resolution resolveHost(const std::string& host);

/// How long loading a configuration waits for the names in it: a working name server answers in a fraction of this.
/// Names without an answer by then are left to the NameWatcher.
inline constexpr std::chrono::milliseconds kNamePatience{3'000};

/// All of the hosts, looked up side by side on threads of their own, which may go on when this has returned.
/// Waits for `patience` at the longest, and no longer once `stop` is requested; hosts without an answer by
/// then have the error "no answer in time". `resolve` is copied.
std::vector<Resolution> resolveAll(const std::vector<std::string>& hosts, const Resolver& resolve,
                                   std::chrono::milliseconds patience = kNamePatience,
                                   const std::stop_token& stop = {});

}  // namespace mailgate
