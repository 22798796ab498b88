// SPDX-License-Identifier: Apache-2.0
/// \file  Questions to the domain name system that getaddrinfo(3) does not answer: texts, and how long an answer is good.
#pragma once

#include "protocols/values/address.h"

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

namespace mailgate::names {

enum class DnsType : std::uint8_t { A, Aaaa, Mx, Txt };
/// "A", "AAAA", "MX", "TXT"
std::string_view toString(DnsType type) noexcept;

struct DnsAnswer {
    enum class Kind : std::uint8_t {
        Found,
        Nothing,  ///< there is no such name, or no such record of it
        Failed,   ///< the name servers do not say: `error`
    };
    Kind kind = Kind::Nothing;
    std::vector<IpAddress> addresses;  ///< of A and AAAA
    std::vector<std::string>
        texts;           ///< of TXT, the strings of a record joined (RFC 7208 section 3.3); of MX the hosts
    bool exists = true;  ///< of Nothing: false where there is no such name at all (NXDOMAIN)
    std::uint32_t ttl = 0;  ///< seconds; the least of the records, aliases among them
    std::string error;
};
/// May block for as long as the name servers make it.
using DnsQuery = std::function<DnsAnswer(const std::string& name, DnsType type)>;

/// As /etc/resolv.conf says, and of nothing else: neither /etc/hosts nor its search list. Any thread; no exception but of
/// memory.
DnsAnswer queryDns(const std::string& name, DnsType type);
/// The same for who waits for it: each name server is asked once, for three seconds.
DnsAnswer queryDnsOnce(const std::string& name, DnsType type);

/// A response of a name server (RFC 1035 section 4.1), which may be hostile, to a question of that type.
DnsAnswer readResponse(const std::vector<std::uint8_t>& message, DnsType type);

/// Why nothing was said, by what has come of a response nevertheless.
std::string whyFailed(const std::vector<std::uint8_t>& message, const std::string& name, DnsType type);

}  // namespace mailgate::names
