// SPDX-License-Identifier: Apache-2.0
#include "store/rules/hygiene.h"

#include <algorithm>
#include <tuple>
#include <vector>

// Networks nest and never overlap otherwise: sorted by (start, prefix length), each follows those around it, which are
// kept on a stack. The families are looked at apart, because ::/0 holds no IPv4 address.

namespace mailgate::rules {

namespace {

using store::AccessRule;
using store::Verdict;
using Rules = std::vector<const AccessRule*>;

/// Of the rules of one network the one that decides is the first, as in AccessTable.
auto orderOf(const AccessRule& rule) {
    return std::tuple(rule.network.address, rule.network.prefix_length, rule.listener.empty(), rule.listener,
                      rule.verdict == Verdict::Allow, rule.set != store::kManualSet, rule.set, rule.id);
}

/// Those of one family that `matches` takes, sorted.
template <typename Matches>
Rules sorted(std::span<const AccessRule> rules, bool v4, const Matches& matches) {
    Rules found;
    for (const AccessRule& rule : rules)
        if (rule.network.isV4() == v4 && matches(rule)) found.push_back(&rule);
    std::sort(found.begin(), found.end(),
              [](const AccessRule* a, const AccessRule* b) { return orderOf(*a) < orderOf(*b); });
    return found;
}

/// The first address after the network; all zero after the last one.
AddressBytes after(const Network& network) {
    AddressBytes address = network.address;
    for (unsigned bit = network.prefix_length; bit < 128; ++bit)
        address[bit / 8] = static_cast<std::uint8_t>(address[bit / 8] | 0x80U >> bit % 8);
    for (auto byte = address.rbegin(); byte != address.rend() && ++*byte == 0;)
        ++byte;
    return address;
}

/// A network, and how far those inside have covered it from its start on.
struct Covered {
    const AccessRule* rule;
    AddressBytes until;
    bool begun = false;

    bool whole() const { return begun && until == after(rule->network); }
};

/// What a rule that expires has decided, or one for a name that moves, comes back to the rules around it.
bool isLasting(const AccessRule& rule) {
    return !rule.expires_at && rule.name.empty();
}

/// Those around the network up to the first that lasts, which has itself covered those around it, and those of the same
/// network as that one.
void cover(std::vector<Covered>& around, const Network& network) {
    const AccessRule* lasting = nullptr;
    for (auto one = around.rbegin(); one != around.rend(); ++one) {
        if (lasting != nullptr && one->rule->network != lasting->network) return;
        if (isLasting(*one->rule)) lasting = one->rule;
        // After a gap this one is not where it would have to begin, and neither are those that follow.
        if (one->rule->network == network || one->until != network.address) continue;
        one->until = after(network);
        one->begun = true;
    }
}

/// Adds the rules that decide about some address of those that cover a listener, or will do so when others expire.
void addDeciding(const Rules& rules, std::set<std::int64_t>& deciding) {
    std::vector<Covered> around;
    const auto leave = [&] {
        if (!around.back().whole()) deciding.insert(around.back().rule->id);
        around.pop_back();
    };
    const AccessRule* before = nullptr;
    for (const AccessRule* rule : rules) {
        if (before != nullptr && before->network == rule->network) continue;
        while (!around.empty() && !around.back().rule->network.contains(rule->network))
            leave();
        if (isLasting(*rule)) {
            before = rule;
            cover(around, rule->network);
        }
        around.push_back({rule, rule->network.address});
    }
    while (!around.empty())
        leave();
}

bool meet(const AccessRule& a, const AccessRule& b) {
    return a.listener.empty() || b.listener.empty() || a.listener == b.listener;
}

}  // namespace

std::set<std::int64_t> shadowed(std::span<const AccessRule> rules, std::span<const std::string> listeners) {
    std::set<std::int64_t> deciding;
    for (const std::string& listener : listeners)
        for (const bool v4 : {true, false})
            addDeciding(sorted(rules, v4, [&](const AccessRule& rule) { return covers(rule, listener); }),
                        deciding);
    std::set<std::int64_t> idle;
    for (const AccessRule& rule : rules)
        if (!deciding.contains(rule.id)) idle.insert(rule.id);
    return idle;
}

std::set<std::int64_t> overlapping(std::span<const AccessRule> rules) {
    std::set<std::int64_t> found;
    for (const bool v4 : {true, false}) {
        Rules around;
        for (const AccessRule* rule : sorted(rules, v4, [](const AccessRule&) { return true; })) {
            while (!around.empty() && !around.back()->network.contains(rule->network))
                around.pop_back();
            for (const AccessRule* outer : around)
                if (outer->id != rule->id && meet(*outer, *rule)) found.insert({outer->id, rule->id});
            around.push_back(rule);
        }
    }
    return found;
}

}  // namespace mailgate::rules
