// SPDX-License-Identifier: Apache-2.0
#include "gateway/names/dns.h"

#include "protocols/values/text.h"

#include <fmt/format.h>

#include <arpa/nameser.h>
#include <netdb.h>
#include <netinet/in.h>
#include <resolv.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <limits>
#include <optional>

namespace mailgate::names {

namespace {

constexpr std::size_t kLongestMessage = 65'535;

int typeNumber(DnsType type) noexcept {
    switch (type) {
        case DnsType::A:
            return ns_t_a;
        case DnsType::Aaaa:
            return ns_t_aaaa;
        case DnsType::Mx:
            return ns_t_mx;
        case DnsType::Txt:
            return ns_t_txt;
    }
    return ns_t_invalid;
}

DnsAnswer failed(std::string error) {
    DnsAnswer answer;
    answer.kind = DnsAnswer::Kind::Failed;
    answer.error = std::move(error);
    return answer;
}

std::string joinedStrings(const std::uint8_t* data, std::size_t length) {
    std::string text;
    for (std::size_t at = 0; at < length;) {
        const std::size_t size = std::min<std::size_t>(data[at], length - at - 1);
        text.append(reinterpret_cast<const char*>(data) + at + 1, size);
        at += 1 + size;
    }
    return text;
}

/// The name in a record's data from that octet on; none: it is not one.
std::optional<std::string> nameIn(const ns_msg& message, const ns_rr& record, std::size_t from) {
    std::array<char, NS_MAXDNAME> name{};
    if (ns_rr_rdlen(record) <= from ||
        ns_name_uncompress(ns_msg_base(message), ns_msg_end(message), ns_rr_rdata(record) + from, name.data(),
                           name.size()) < 0)
        return std::nullopt;
    return std::string(name.data());
}

void addRecord(const ns_msg& message, const ns_rr& record, DnsType type, DnsAnswer& answer) {
    const std::uint8_t* const data = ns_rr_rdata(record);
    const std::size_t length = ns_rr_rdlen(record);
    IpAddress address;
    switch (type) {
        case DnsType::A: {
            std::array<std::uint8_t, 4> octets{};
            if (length != octets.size()) return;
            std::memcpy(octets.data(), data, length);
            answer.addresses.push_back(IpAddress::fromV4(octets));
            return;
        }
        case DnsType::Aaaa:
            if (length != address.bytes.size()) return;
            std::memcpy(address.bytes.data(), data, length);
            answer.addresses.push_back(address);
            return;
        case DnsType::Txt:
            answer.texts.push_back(joinedStrings(data, length));
            return;
        case DnsType::Mx:
            if (auto host = nameIn(message, record, 2)) answer.texts.push_back(std::move(*host));
            return;
    }
}

/// For as long as one question takes.
class Resolver {
  public:
    Resolver() noexcept : ready_(res_ninit(&state_) == 0) {}
    ~Resolver() {
        if (ready_) res_nclose(&state_);
    }
    Resolver(const Resolver&) = delete;
    Resolver& operator=(const Resolver&) = delete;

    bool ready() const noexcept { return ready_; }
    void askOnce() noexcept {
        constexpr int kSeconds = 3;
        state_.retrans = kSeconds;
        state_.retry = 1;
    }
    int ask(const std::string& name, DnsType type, std::vector<std::uint8_t>& message) noexcept {
        return res_nquery(&state_, name.c_str(), ns_c_in, typeNumber(type), message.data(),
                          static_cast<int>(message.size()));
    }
    int error() const noexcept { return state_.res_h_errno; }

  private:
    struct __res_state state_ {};
    const bool ready_;
};

}  // namespace

std::string_view toString(DnsType type) noexcept {
    switch (type) {
        case DnsType::A:
            return "A";
        case DnsType::Aaaa:
            return "AAAA";
        case DnsType::Mx:
            return "MX";
        case DnsType::Txt:
            return "TXT";
    }
    return "";
}

DnsAnswer readResponse(const std::vector<std::uint8_t>& message, DnsType type) {
    ns_msg parsed;
    if (message.size() > kLongestMessage ||
        ns_initparse(message.data(), static_cast<int>(message.size()), &parsed) < 0)
        return failed("the answer cannot be read");
    ns_rr asked;
    if (ns_parserr(&parsed, ns_s_qd, 0, &asked) < 0) return failed("the answer cannot be read");
    // What is said of another name is no answer. A name comes after the one that leads to it (RFC 1034 section 4.3.2).
    std::string name = lowerCase(ns_rr_name(asked));
    DnsAnswer answer;
    answer.ttl = std::numeric_limits<std::uint32_t>::max();
    for (int at = 0; at < ns_msg_count(parsed, ns_s_an); ++at) {
        ns_rr record;
        if (ns_parserr(&parsed, ns_s_an, at, &record) < 0) return failed("the answer cannot be read");
        const auto found = static_cast<int>(ns_rr_type(record));
        if ((found != typeNumber(type) && found != ns_t_cname) || lowerCase(ns_rr_name(record)) != name)
            continue;
        answer.ttl = std::min<std::uint32_t>(answer.ttl, ns_rr_ttl(record));
        if (found == ns_t_cname) {
            const auto next = nameIn(parsed, record, 0);
            if (!next) return failed("the answer cannot be read");
            name = lowerCase(*next);
        }
        if (found == typeNumber(type)) addRecord(parsed, record, type, answer);
    }
    if (answer.addresses.empty() && answer.texts.empty()) {
        answer.ttl = 0;
        return answer;
    }
    answer.kind = DnsAnswer::Kind::Found;
    return answer;
}

std::string whyFailed(const std::vector<std::uint8_t>& message, const std::string& name, DnsType type) {
    constexpr std::array<std::string_view, 6> kCodes{"nothing",  "FORMERR", "SERVFAIL",
                                                     "NXDOMAIN", "NOTIMP",  "REFUSED"};
    constexpr std::size_t kHeader = 12;  // RFC 1035 section 4.1.1
    constexpr unsigned kIsResponse = 0x80, kCode = 0x0F;
    if (message.size() < kHeader || (message[2] & kIsResponse) == 0)
        return fmt::format("the name servers do not answer for {} {}", toString(type), name);
    const unsigned code = message[3] & kCode;
    return fmt::format("the name servers answer {} for {} {}",
                       code < kCodes.size() ? std::string(kCodes[code]) : fmt::format("with code {}", code),
                       toString(type), name);
}

namespace {

DnsAnswer query(Resolver& resolver, const std::string& name, DnsType type) {
    if (!resolver.ready()) return failed("/etc/resolv.conf cannot be read");
    std::vector<std::uint8_t> message(kLongestMessage);
    const int length = resolver.ask(name, type, message);
    if (length < 0) {
        if (resolver.error() == HOST_NOT_FOUND || resolver.error() == NO_DATA) {
            DnsAnswer nothing;
            nothing.exists = resolver.error() == NO_DATA;
            return nothing;
        }
        return failed(whyFailed(message, name, type));
    }
    message.resize(std::min<std::size_t>(static_cast<std::size_t>(length), message.size()));
    return readResponse(message, type);
}

}  // namespace

DnsAnswer queryDns(const std::string& name, DnsType type) {
    Resolver resolver;
    return query(resolver, name, type);
}

DnsAnswer queryDnsOnce(const std::string& name, DnsType type) {
    Resolver resolver;
    resolver.askOnce();
    return query(resolver, name, type);
}

}  // namespace mailgate::names
