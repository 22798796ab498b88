// SPDX-License-Identifier: Apache-2.0
#include "gateway/names/spf.h"

#include "protocols/values/text.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <chrono>
#include <limits>
#include <optional>
#include <utility>

namespace mailgate::names {

namespace {

constexpr std::string_view kVersion = "v=spf1";
constexpr unsigned kMaxLookups = 10;     ///< RFC 7208 section 4.6.4
constexpr unsigned kMaxVoidLookups = 2;  ///< likewise
constexpr std::size_t kMaxMxHosts = 10;  ///< likewise
constexpr std::size_t kMaxIgnored = 20;
constexpr std::chrono::seconds kPatience{20};  ///< likewise

/// Why a name has no answer.
struct NoAnswer {
    std::string why;
};

struct Prefixes {
    unsigned v4 = 32, v6 = 128;
};

/// Collects what one name stands for.
class Collector {
  public:
    explicit Collector(const DnsQuery& query) : query_(query) {}

    /// Name servers that know one kind of address only are not rare.
    void addHost(const std::string& host) {
        std::optional<NoAnswer> failure;
        for (const DnsType type : {DnsType::A, DnsType::Aaaa})
            try {
                for (const IpAddress& address : ask(host, type).addresses)
                    add(networkAround(address.bytes, 128));
            } catch (const NoAnswer& no_answer) {
                if (failure || answer_.networks.size() > kMaxNetworks) throw;
                failure = no_answer;
                answer_.missing = type;
            }
        if (failure && answer_.networks.empty()) throw NoAnswer(*failure);
        if (answer_.networks.empty())
            throw NoAnswer{exists_ ? fmt::format("{} has no address", host) : noSuchName(host)};
    }
    void addSpf(const std::string& domain) {
        readRecord(domain, recordOf(domain));
        if (answer_.networks.empty())
            throw NoAnswer{fmt::format("the SPF record of {} lets nobody pass", domain)};
    }

    NameAnswer finish() {
        std::sort(answer_.networks.begin(), answer_.networks.end());
        answer_.networks.erase(std::unique(answer_.networks.begin(), answer_.networks.end()),
                               answer_.networks.end());
        answer_.ttl = ttl_;
        return std::move(answer_);
    }

  private:
    static std::string noSuchName(const std::string& name) {
        return fmt::format("{} does not exist (NXDOMAIN)", name);
    }
    DnsAnswer ask(const std::string& name, DnsType type) {
        if (Clock::now() > until_) throw NoAnswer{fmt::format("no answer within {} s", kPatience.count())};
        DnsAnswer answer = query_(name, type);
        if (answer.kind == DnsAnswer::Kind::Failed) throw NoAnswer{std::move(answer.error)};
        exists_ = answer.kind != DnsAnswer::Kind::Nothing || answer.exists;
        if (answer.kind == DnsAnswer::Kind::Found) ttl_ = std::min(ttl_, answer.ttl);
        return answer;
    }
    void add(const Network& network) {
        answer_.networks.push_back(network);
        if (answer_.networks.size() > kMaxNetworks)
            throw NoAnswer{fmt::format("it stands for more than {} networks", kMaxNetworks)};
    }

    /// False: it has none.
    bool addAddresses(const std::string& host, const Prefixes& prefixes, bool counted) {
        bool found = false;
        for (const DnsType type : {DnsType::A, DnsType::Aaaa}) {
            const unsigned length = type == DnsType::A ? prefixes.v4 + 96 : prefixes.v6;
            for (const IpAddress& address : ask(host, type).addresses) {
                add(networkAround(address.bytes, length));
                found = true;
            }
        }
        if (!found && counted) countVoid();
        return found;
    }
    void count() {
        if (++lookups_ > kMaxLookups)
            throw NoAnswer{fmt::format("its SPF records need more than {} look-ups (RFC 7208 section 4.6.4)",
                                       kMaxLookups)};
    }
    void countVoid() {
        if (++void_lookups_ > kMaxVoidLookups)
            throw NoAnswer{
                fmt::format("its SPF records have more than {} names without an answer (RFC 7208 section "
                            "4.6.4)",
                            kMaxVoidLookups)};
    }

    std::string recordOf(const std::string& domain, std::string_view but = "") {
        std::vector<std::string> records;
        for (std::string& text : ask(domain, DnsType::Txt).texts)
            if (startsWithIgnoreCase(text, kVersion) &&
                (text.size() == kVersion.size() || text[kVersion.size()] == ' '))
                records.push_back(std::move(text));
        if (records.empty())
            throw NoAnswer{(exists_ ? domain + " has no SPF record" : noSuchName(domain)).append(but)};
        if (records.size() > 1) throw NoAnswer{fmt::format("{} has {} SPF records", domain, records.size())};
        return std::move(records.front());
    }

    void readRecord(const std::string& domain, std::string_view record) {
        record.remove_prefix(kVersion.size());
        std::string redirect;
        for (record = trimmed(record); !record.empty();) {
            const std::string_view term = takeField(record);
            if (isModifier(term)) {
                if (startsWithIgnoreCase(term, "redirect=")) {
                    if (!redirect.empty()) throw NoAnswer{fmt::format("{} redirects twice", domain)};
                    redirect = target(term.substr(term.find('=') + 1), domain);
                    if (redirect.empty()) ignore(term);
                }
                continue;
            }
            if (readMechanism(domain, term)) return;
        }
        if (redirect.empty()) return;
        count();
        readRecord(redirect, recordOf(redirect, ", but another one leads there"));
    }

    /// "name=value" (RFC 7208 section 12), the name being no mechanism's.
    static bool isModifier(std::string_view term) noexcept {
        const std::size_t end = term.find_first_of("=:/");
        return end != std::string_view::npos && term[end] == '=';
    }

    /// True: the record ends there.
    bool readMechanism(const std::string& domain, std::string_view term) {
        const std::string_view whole = term;
        const char qualifier =
            std::string_view("+-~?").find(term.front()) == std::string_view::npos ? '+' : term.front();
        if (term.front() == qualifier) term.remove_prefix(1);
        const std::size_t end = std::min(term.find_first_of(":/"), term.size());
        const std::string name = lowerCase(term.substr(0, end));
        std::string_view rest = term.substr(end);
        if (name == "all" && rest.empty()) {
            if (qualifier == '+')
                throw NoAnswer{fmt::format("the SPF record of {} lets everybody pass (\"{}\")", domain,
                                           printable(whole))};
            return true;
        }
        const bool known = name == "ip4" || name == "ip6" || name == "a" || name == "mx" ||
                           name == "include" || name == "exists" || name == "ptr";
        if (!known)
            throw NoAnswer{
                fmt::format("the SPF record of {} has an unknown term \"{}\"", domain, printable(whole))};
        if (qualifier != '+')
            throw NoAnswer{
                fmt::format("the SPF record of {} excludes \"{}\", which a list of networks cannot express",
                            domain, printable(whole))};
        if (name == "exists" || name == "ptr") {
            count();
            ignore(whole);
        } else if (name == "ip4" || name == "ip6") {
            addLiteral(domain, whole, rest, name == "ip4");
        } else {
            addNamed(domain, whole, name, rest);
        }
        return false;
    }

    void addLiteral(const std::string& domain, std::string_view term, std::string_view rest, bool v4) {
        if (!rest.empty()) rest.remove_prefix(1);
        const std::size_t slash = rest.find('/');
        // The bits of hosts may be set here.
        const auto address = parseNetwork(rest.substr(0, slash));
        const auto* const found = std::get_if<Network>(&address);
        unsigned length = v4 ? 32 : 128;
        const bool ok = found != nullptr && found->isV4() == v4 &&
                        (slash == std::string_view::npos || readLength(rest.substr(slash + 1), length));
        if (!ok)
            throw NoAnswer{
                fmt::format("the SPF record of {} has an invalid term \"{}\"", domain, printable(term))};
        add(networkAround(found->address, length + (v4 ? 96 : 0)));
    }

    /// Up to `length`, which it becomes.
    static bool readLength(std::string_view text, unsigned& length) noexcept {
        unsigned value = 0;
        const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
        if (error != std::errc() || end != text.data() + text.size() || value > length) return false;
        length = value;
        return true;
    }

    void addNamed(const std::string& domain, std::string_view term, const std::string& mechanism,
                  std::string_view rest) {
        count();
        std::string host = domain;
        if (rest.starts_with(':')) {
            const std::size_t slash = std::min(rest.find('/'), rest.size());
            host = target(rest.substr(1, slash - 1), domain);
            if (host.empty()) return ignore(term);
            rest.remove_prefix(slash);
        }
        if (mechanism == "include") {
            if (!rest.empty() || host == domain)
                throw NoAnswer{
                    fmt::format("the SPF record of {} has an invalid term \"{}\"", domain, printable(term))};
            return readRecord(host, recordOf(host, ", but is included"));
        }
        const auto prefixes = prefixesOf(rest);
        if (!prefixes)
            throw NoAnswer{
                fmt::format("the SPF record of {} has an invalid term \"{}\"", domain, printable(term))};
        if (mechanism == "a") {
            addAddresses(host, *prefixes, true);
            return;
        }
        const auto hosts = ask(host, DnsType::Mx).texts;
        if (hosts.empty()) countVoid();
        if (hosts.size() > kMaxMxHosts)
            throw NoAnswer{
                fmt::format("{} has more than {} MX records (RFC 7208 section 4.6.4)", host, kMaxMxHosts)};
        for (const std::string& mx : hosts)
            addAddresses(mx, *prefixes, false);
    }

    /// "/24", "//64", "/24//64"
    static std::optional<Prefixes> prefixesOf(std::string_view rest) {
        Prefixes prefixes;
        if (rest.empty()) return prefixes;
        const std::size_t both = rest.find("//");
        if (both != std::string_view::npos && !readLength(rest.substr(both + 2), prefixes.v6))
            return std::nullopt;
        const std::string_view v4 = rest.substr(0, both);
        if (!v4.empty() && (v4.front() != '/' || !readLength(v4.substr(1), prefixes.v4))) return std::nullopt;
        return prefixes;
    }

    /// The name that a term leads to; empty: it has macros, and depends on the client.
    static std::string target(std::string_view text, const std::string& domain) {
        if (text.find('%') != std::string_view::npos) return {};
        if (text.ends_with('.')) text.remove_suffix(1);
        constexpr std::size_t kLongest = 253;
        if (text.empty() || text.size() > kLongest || hasControls(text) || !isAscii(text))
            throw NoAnswer{
                fmt::format("the SPF record of {} names an invalid domain \"{}\"", domain, printable(text))};
        return lowerCase(text);
    }

    void ignore(std::string_view term) {
        if (answer_.ignored.size() < kMaxIgnored) answer_.ignored.push_back(printable(term));
    }

    using Clock = std::chrono::steady_clock;

    const DnsQuery& query_;
    const Clock::time_point until_ = Clock::now() + kPatience;
    NameAnswer answer_;
    std::uint32_t ttl_ = std::numeric_limits<std::uint32_t>::max();
    unsigned lookups_ = 0, void_lookups_ = 0;
    bool exists_ = true;  ///< the name that was asked for last
};

}  // namespace

NameAnswer resolveName(std::string_view name, const DnsQuery& query) {
    const std::size_t colon = name.find(':');
    const std::string target(name.substr(colon + 1));
    Collector collector(query);
    try {
        if (name.substr(0, colon) == "spf")
            collector.addSpf(target);
        else
            collector.addHost(target);
        return collector.finish();
    } catch (const NoAnswer& no_answer) {
        NameAnswer answer;
        answer.error = no_answer.why;
        return answer;
    }
}

}  // namespace mailgate::names
