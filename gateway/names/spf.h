// SPDX-License-Identifier: Apache-2.0
/// \file  What a name that an access rule is for stands for: the addresses of a host, or the networks from which a domain says
/// that its mail comes (SPF, RFC 7208).
///
/// A record is read for the networks that it lets pass, and for nothing else. A list of networks cannot say all that
/// SPF can:
///   - `all` with "-", "~" or "?" ends the record; "+all" is everybody: an error
///   - other mechanisms with "-", "~" or "?" take something away from what follows: an error
///   - `exists`, `ptr` and macros depend on the client or the sender: ignored, and told of, as nobody gets in by that
/// Everything that a checker would call "permerror" is an error, among it more than ten look-ups (section 4.6.4), more
/// than two of them without an answer, a record that is missing where it is included, and two records of one domain.
#pragma once

#include "gateway/names/dns.h"
#include "protocols/values/network.h"

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace mailgate::names {

/// More networks than anybody has who is to be named in a rule.
inline constexpr std::size_t kMaxNetworks = 1'000;

struct NameAnswer {
    std::vector<Network> networks;     ///< sorted, each once; empty only with an error
    std::uint32_t ttl = 0;             ///< seconds that it is good for; of an error 0
    std::string error;                 ///< why there is none; empty: there is
    std::vector<std::string> ignored;  ///< terms of SPF records that say nothing here
    /// The name servers have not said this about a host; of the other family they have.
    std::optional<DnsType> missing{};
};

/// `name`: "host:NAME" or "spf:NAME".
NameAnswer resolveName(std::string_view name, const DnsQuery& query);

}  // namespace mailgate::names
