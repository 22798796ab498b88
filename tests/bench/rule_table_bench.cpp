// SPDX-License-Identifier: Apache-2.0
// What access rules cost: `rule_table_bench [RULES...]` (default 1000 100000 1000000).
//
// For each number of rules a list of random networks (four of five IPv4) is imported into a store in a temporary folder,
// replaced by another such list, and loaded as the gateway does, at first and after each of nine changes of one rule (the middle
// one is told). Times are processor time. Look-ups are of random addresses, half of them
// inside a rule's network.

#include "protocols/values/address.h"
#include "store/backends/rules.h"
#include "store/rules/import_export.h"
#include "store/rules/service.h"
#include "store/rules/table.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <ctime>
#include <filesystem>
#include <random>
#include <span>
#include <stdexcept>
#include <string>
#include <unordered_set>
#include <variant>
#include <vector>

namespace {

using namespace mailgate;
using namespace mailgate::store;
/// Processor time: what else runs on the machine counts for little.
double seconds() {
    return static_cast<double>(std::clock()) / CLOCKS_PER_SEC;
}

class TemporaryFolder {
  public:
    TemporaryFolder() {
        std::string name = (std::filesystem::temp_directory_path() / "rule_table_bench.XXXXXX").string();
        if (mkdtemp(name.data()) == nullptr) throw std::runtime_error("cannot make a temporary folder");
        path_ = name;
    }
    ~TemporaryFolder() { std::filesystem::remove_all(path_); }
    std::string file(const std::string& name) const { return (path_ / name).string(); }

  private:
    std::filesystem::path path_;
};

class Addresses {
  public:
    AddressBytes random() {
        AddressBytes bytes{};
        const bool v4 = generator_() % 5 != 0;
        if (v4)
            bytes[10] = bytes[11] = 0xFF;
        else
            bytes[0] = 0x20;
        for (std::size_t at = v4 ? 12 : 1; at < bytes.size(); ++at)
            bytes[at] = static_cast<std::uint8_t>(generator_());
        return bytes;
    }
    Network network() {
        Network network{random(), 128};
        const bool v4 = network.isV4();
        network.prefix_length =
            static_cast<std::uint8_t>(v4 ? 112 + generator_() % 17 : 32 + generator_() % 97);
        for (unsigned bit = network.prefix_length; bit < 128; ++bit)
            network.address[bit / 8] &= static_cast<std::uint8_t>(~(0x80u >> bit % 8));
        return network;
    }
    AddressBytes inside(const Network& network) {
        AddressBytes bytes = network.address;
        for (unsigned bit = network.prefix_length; bit < 128; ++bit)
            if (generator_() % 2 != 0) bytes[bit / 8] |= static_cast<std::uint8_t>(0x80u >> bit % 8);
        return bytes;
    }
    std::uint64_t number() { return generator_(); }

  private:
    std::mt19937_64 generator_{1};
};

struct List {
    std::vector<Network> networks;
    std::string text;  ///< as the export has it
};

List listOf(std::size_t count, Addresses& addresses) {
    List list;
    std::unordered_set<std::string> seen;
    while (list.networks.size() < count) {
        const Network network = addresses.network();
        if (!seen.insert(network.toString()).second) continue;
        AccessRule rule;
        rule.network = network;
        rule.verdict = addresses.number() % 2 == 0 ? Verdict::Allow : Verdict::Deny;
        rule.note = "partner";
        list.text += formatRule(rule) + '\n';
        list.networks.push_back(network);
    }
    return list;
}

/// As `mailgate access import` does it; how long it has taken.
double import(const std::string& url, const List& list, bool replace) {
    const rules::Site site{.listeners = {{.name = "smtp", .balancers = {}}}, .servers = {}};
    const auto begin = seconds();
    const auto store = openRules(url);
    rules::Service service([&]() -> RuleStore& { return *store; }, site, "bench", 1'700'000'000);
    const auto answer =
        service.import({.text = list.text, .options = {}, .replace = replace, .insist = true});
    if (!std::holds_alternative<rules::ImportOutcome>(answer))
        throw std::runtime_error("the list was refused");
    service.closedBy(std::get<rules::ImportOutcome>(answer));
    return seconds() - begin;
}

/// What it costs the gateway to have one more rule in force, once it has seen that there is one.
double changeSeconds(const std::string& url, RuleStore& store, std::span<const std::string> listeners) {
    std::vector<double> took;
    for (int times = 0; times < 9; ++times) {
        AccessRule rule;
        rule.network = Network{IpAddress::fromV4({192, 0, 2, static_cast<std::uint8_t>(times)}).bytes, 128};
        openRules(url)->put(std::span(&rule, 1), "bench");
        const auto begin = seconds();
        const auto table = store.load(listeners);
        took.push_back(seconds() - begin);
    }
    std::sort(took.begin(), took.end());
    return took[took.size() / 2];
}

double nanosecondsPerLookup(const AccessTable& table, const std::vector<Network>& networks,
                            Addresses& addresses) {
    std::vector<AddressBytes> asked(1 << 20);
    for (std::size_t at = 0; at < asked.size(); ++at)
        asked[at] = at % 2 == 0 ? addresses.random()
                                : addresses.inside(networks[addresses.number() % networks.size()]);
    std::size_t matched = 0;
    const auto begin = seconds();
    for (const AddressBytes& address : asked)
        matched += table.lookup(address, 0, 1'700'000'000).has_value() ? 1 : 0;
    const double took = seconds() - begin;
    if (matched < asked.size() / 2) throw std::runtime_error("a look-up missed a rule");
    return took * 1e9 / static_cast<double>(asked.size());
}

void measure(std::size_t count) {
    const TemporaryFolder folder;
    Addresses addresses;
    const std::string url = "sqlite:" + folder.file("rules.db");
    const std::vector<std::string> listeners{"smtp"};
    const double import_seconds = import(url, listOf(count, addresses), false);
    const List list = listOf(count, addresses);
    const double replace_seconds = import(url, list, true);
    const auto open_begin = seconds();
    const auto store = openRules(url, {.use = RuleStore::Use::Serve});
    const double open_seconds = seconds() - open_begin;
    const auto load_begin = seconds();
    const auto table = store->load(listeners);
    const double load_seconds = seconds() - load_begin;
    const double change_seconds = changeSeconds(url, *store, listeners);
    fmt::print("{:>10} {:>10.3f} {:>10.3f} {:>13.3f} {:>10.3f} {:>10.4f} {:>11.1f} {:>10.1f}\n", count,
               import_seconds, replace_seconds, open_seconds, load_seconds, change_seconds,
               static_cast<double>(table->memoryBytes()) / static_cast<double>(count),
               nanosecondsPerLookup(*table, list.networks, addresses));
}

}  // namespace

int main(int argc, char** argv) {
    std::vector<std::size_t> counts;
    for (int at = 1; at < argc; ++at)
        counts.push_back(std::strtoull(argv[at], nullptr, 10));
    if (counts.empty()) counts = {1'000, 100'000, 1'000'000};
    fmt::print("{:>10} {:>10} {:>10} {:>13} {:>10} {:>10} {:>11} {:>10}\n", "rules", "import s", "replace s",
               "open+check s", "load s", "one more s", "bytes/rule", "ns/look-up");
    for (const std::size_t count : counts)
        measure(count);
}
