// SPDX-License-Identifier: Apache-2.0
// Whatever name servers say: a response is read or refused, and an SPF record gives networks or a reason, both bounded.

#include "gateway/names/dns.h"
#include "gateway/names/spf.h"

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string>
#include <vector>

using namespace mailgate::names;

/// The first byte chooses between a response and an SPF record; every line of that is the record of whoever is asked next.
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    if (size == 0) return 0;
    const std::vector<std::uint8_t> bytes(data + 1, data + size);
    if (data[0] % 2 == 0) {
        for (const DnsType type : {DnsType::A, DnsType::Aaaa, DnsType::Mx, DnsType::Txt}) {
            const DnsAnswer answer = readResponse(bytes, type);
            const bool found = answer.kind == DnsAnswer::Kind::Found;
            if (found == (answer.addresses.empty() && answer.texts.empty())) std::abort();
        }
        return 0;
    }
    std::string left(bytes.begin(), bytes.end());
    std::size_t asked = 0;
    const auto answer = resolveName("spf:example.org", [&](const std::string&, DnsType type) {
        ++asked;
        DnsAnswer one;
        if (type == DnsType::A) one.addresses.resize(1);
        if (type == DnsType::Txt || type == DnsType::Mx) {
            const std::size_t end = left.find('\n');
            one.texts.push_back(left.substr(0, end));
            left.erase(0, end == std::string::npos ? end : end + 1);
        }
        one.kind = type == DnsType::Aaaa ? DnsAnswer::Kind::Nothing : DnsAnswer::Kind::Found;
        return one;
    });
    if (answer.error.empty() == answer.networks.empty() || answer.networks.size() > kMaxNetworks)
        std::abort();
    if (asked > 250 || answer.error.size() > 2'000) std::abort();
    return 0;
}
