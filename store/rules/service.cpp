// SPDX-License-Identifier: Apache-2.0
#include "store/rules/service.h"

#include <algorithm>

namespace mailgate::rules {

namespace {

using store::covers;
using store::isLive;
using PutKind = RuleStore::PutKind;

bool overlap(const Network& a, const Network& b) noexcept {
    return a.contains(b) || b.contains(a);
}

bool sharesListener(const AccessRule& a, const AccessRule& b) noexcept {
    return a.listener.empty() || b.listener.empty() || a.listener == b.listener;
}

/// At one network: a rule that names the listener beats one for all, then deny beats allow.
bool beatsAtSameNetwork(const AccessRule& rule, const AccessRule& other) noexcept {
    if (rule.listener.empty() != other.listener.empty()) return other.listener.empty();
    return rule.verdict == Verdict::Deny;
}

bool allows(const AccessRule& rule) noexcept {
    return rule.verdict == Verdict::Allow;
}

std::vector<AccessRule> rulesOf(const PutRequest& request) {
    AccessRule rule;
    rule.verdict = request.verdict;
    std::vector<AccessRule> rules;
    for (const Network& network : request.networks) {
        rule.network = network;
        rule.listener.clear();
        if (request.listeners.empty()) rules.push_back(rule);
        for (const std::string& listener : request.listeners) {
            rule.listener = listener;
            rules.push_back(rule);
        }
    }
    return rules;
}

/// What a line says of a rule changes, and the rest of it stays.
void addWhatIsSaid(AccessRule& rule, const AccessRule& line) {
    if (!line.note.empty()) rule.note = line.note;
    if (line.expires_at) rule.expires_at = line.expires_at;
    if (line.limits.sessions) rule.limits.sessions = line.limits.sessions;
    if (line.limits.per_minute) rule.limits.per_minute = line.limits.per_minute;
}

Decision decide(const Site::Listener& listener, std::span<const AccessRule> matching,
                const AddressBytes& address, UnixSeconds now) {
    const std::vector<std::string> names{listener.name};
    store::AccessTable::Builder builder(names);
    for (const AccessRule& rule : matching)
        builder.add(rule.id, rule.network, rule.verdict, rule.listener, rule.expires_at, rule.limits);
    const auto table = builder.build(0);
    const auto match = table->lookup(address, 0, now);
    Decision decision{listener.name, match ? match->verdict == Verdict::Allow : !listener.allowlist};
    for (const AccessRule& rule : matching) {
        if (match && rule.id == table->ruleId(match->rule))
            decision.by = rule;
        else if (covers(rule, listener.name))
            decision.others.push_back(rule);
    }
    return decision;
}

}  // namespace

std::optional<WholeInternet> wholeInternet(const Network& network) noexcept {
    // All global IPv6 addresses are in 2000::/3, and nearly all that anybody has in its lower half.
    constexpr std::uint8_t kGlobal = 0x20;
    const bool v4 = network.isV4();
    const bool half = network.prefix_length == (v4 ? 97 : 4);
    if (half && !v4 && network.address[0] >> 5 != kGlobal >> 5) return std::nullopt;
    if (half || (v4 ? network.prefix_length == 96 : network.prefix_length <= 3))
        return WholeInternet{v4, half};
    return std::nullopt;
}

std::vector<Hazard> hazardsOf(const AccessRule& rule, const Site& site) {
    std::vector<Hazard> found;
    if (const auto whole = wholeInternet(rule.network)) found.emplace_back(*whole);
    if (allows(rule)) return found;
    for (const Site::Listener& listener : site.listeners) {
        if (!covers(rule, listener.name)) continue;
        for (const Network& balancers : listener.balancers)
            if (overlap(rule.network, balancers)) found.emplace_back(OwnBalancers{balancers, listener.name});
    }
    for (const Site::Server& server : site.servers)
        if (std::any_of(server.endpoints.begin(), server.endpoints.end(),
                        [&](const AddressBytes& address) { return rule.network.contains(address); }))
            found.emplace_back(OwnServer{server.name, server.address});
    return found;
}

std::optional<Standing> standingOf(const AccessRule& rule, const AccessRule& other) noexcept {
    if (rule.verdict == other.verdict || !sharesListener(rule, other) ||
        !overlap(rule.network, other.network))
        return std::nullopt;
    if (rule.network == other.network)
        return beatsAtSameNetwork(rule, other) ? Standing::Wins : Standing::WithoutEffect;
    return rule.network.contains(other.network) ? Standing::OverriddenInside : Standing::MoreSpecific;
}

void Edit::apply(AccessRule& rule) const {
    if (note) rule.note = *note;
    if (expires_at) rule.expires_at = *expires_at;
    if (sessions) rule.limits.sessions = *sessions;
    if (per_minute) rule.limits.per_minute = *per_minute;
}

bool Service::configured(std::string_view name) const noexcept {
    return std::any_of(site_.listeners.begin(), site_.listeners.end(),
                       [&](const Site::Listener& listener) { return listener.name == name; });
}

std::optional<UnknownListener> Service::unknown(std::span<const std::string> names) const {
    const auto found = std::find_if(names.begin(), names.end(),
                                    [this](const std::string& name) { return !configured(name); });
    return found == names.end() ? std::nullopt : std::optional(UnknownListener{*found});
}

std::optional<UnknownListener> Service::unknownToRules(std::span<const std::string> names) {
    if (!unknown(names)) return std::nullopt;
    const auto named = store_().ruleListeners();
    for (const std::string& name : names)
        if (!configured(name) && !named.contains(name)) return UnknownListener{name};
    return std::nullopt;
}

std::optional<Refusal> Service::refusalOf(const PutRequest& request) const {
    const Edit& edit = request.edit;
    if (auto missing = unknown(request.listeners)) return *missing;
    if (edit.note)
        if (std::string why = store::noteError(*edit.note); !why.empty()) return InvalidNote{std::move(why)};
    if (edit.expires_at && *edit.expires_at && **edit.expires_at <= now_)
        return ExpiryPast{**edit.expires_at};
    if (request.verdict == Verdict::Deny &&
        ((edit.sessions && *edit.sessions) || (edit.per_minute && *edit.per_minute)))
        return LimitsOnDeny{};
    return std::nullopt;
}

/// What shuts out the site itself, or lets in everybody, is done for who insists.
std::optional<Hazardous> Service::hazardous(const AccessRule& rule, std::size_t line) const {
    auto hazards = hazardsOf(rule, site_);
    if (hazards.empty()) return std::nullopt;
    return Hazardous{rule, line, std::move(hazards)};
}

std::variant<PutOutcome, Refusal> Service::put(const PutRequest& request) {
    if (auto refusal = refusalOf(request)) return std::move(*refusal);
    const auto wanted = rulesOf(request);
    for (const AccessRule& rule : wanted)
        if (auto refusal = hazardous(rule, 0); refusal && !request.insist)
            return Refusal(std::move(*refusal));
    PutOutcome outcome;
    outcome.rules = store_().edit(
        wanted, [&](AccessRule& rule, const AccessRule&) { request.edit.apply(rule); }, who_);
    for (const RuleStore::EditResult& result : outcome.rules)
        if (!allows(result.rule)) outcome.cuts.push_back({result.rule.network, result.rule.listener});
    return outcome;
}

Notes<Overlap> Service::overlaps(const PutOutcome& outcome) {
    Notes<Overlap> found;
    store_().forEachRule([&](const AccessRule& other) {
        if (!isLive(other, now_)) return;
        for (const RuleStore::EditResult& result : outcome.rules)
            if (const auto standing = standingOf(result.rule, other))
                found.add({result.rule.id, *standing, other});
    });
    return found;
}

/// An allowlist without rules refuses everybody.
std::vector<std::string> Service::closedListeners() {
    std::vector<AccessRule> allowing;
    store_().forEachRule([&](const AccessRule& rule) {
        if (allows(rule) && isLive(rule, now_)) allowing.push_back(rule);
    });
    std::vector<std::string> closed;
    for (const Site::Listener& listener : site_.listeners)
        if (listener.allowlist && std::none_of(allowing.begin(), allowing.end(), [&](const AccessRule& rule) {
                return covers(rule, listener.name);
            }))
            closed.push_back(listener.name);
    return closed;
}

Notes<NearMiss> Service::nearMisses(const Network& network) {
    Notes<NearMiss> near;
    store_().forEachRule([&](const AccessRule& rule) {
        if (!overlap(rule.network, network)) return;
        using Relation = NearMiss::Relation;
        near.add({rule.network == network          ? Relation::Same
                  : rule.network.contains(network) ? Relation::Around
                                                   : Relation::Contains,
                  rule});
    });
    return near;
}

RuleStore::RemoveResult Service::remove(std::span<const Network> networks,
                                        std::span<const std::string> listeners) {
    return store_().remove(networks, listeners, who_);
}

std::vector<std::string> Service::closedBy(const RuleStore::RemoveResult& result) {
    const bool opened = std::any_of(result.removed.begin(), result.removed.end(), allows);
    return opened ? closedListeners() : std::vector<std::string>();
}

std::vector<std::string> Service::closedBy(const ImportOutcome& outcome) {
    return outcome.removed > 0 ? closedListeners() : std::vector<std::string>();
}

std::optional<Refusal> Service::refusalOf(const store::ImportResult& imported,
                                          const ImportRequest& request) const {
    if (!imported.errors.empty()) return UnreadableList{imported.errors};
    if (request.insist) return std::nullopt;
    if (request.replace && imported.rules.empty()) return NothingLeft{};
    for (const store::ImportedRule& one : imported.rules)
        if (auto refusal = hazardous(one.rule, one.line)) return Refusal(std::move(*refusal));
    return std::nullopt;
}

std::variant<ImportOutcome, Refusal> Service::import(const ImportRequest& request) {
    std::vector<std::string> names;
    for (const Site::Listener& listener : site_.listeners)
        names.push_back(listener.name);
    // A listener that is gone may be named where it has rules.
    for (const auto& named : store_().ruleListeners())
        names.push_back(named.first);
    store::ImportOptions options = request.options;
    options.listeners = names;
    auto imported = store::parseRules(request.text, options);
    if (auto refusal = refusalOf(imported, request)) return std::move(*refusal);

    std::vector<AccessRule> rules;
    for (store::ImportedRule& one : imported.rules)
        rules.push_back(std::move(one.rule));
    ImportOutcome outcome{.format = imported.format};
    outcome.allowing = static_cast<std::size_t>(std::count_if(rules.begin(), rules.end(), allows));
    outcome.denying = rules.size() - outcome.allowing;
    const auto count = [&](PutKind kind) {
        ++(kind == PutKind::Added     ? outcome.added
           : kind == PutKind::Changed ? outcome.changed
                                      : outcome.unchanged);
    };
    if (request.replace) {
        const auto result = store_().replaceAll(rules, who_);
        for (const RuleStore::PutResult& one : result.put)
            count(one.kind);
        outcome.removed = result.removed;
    } else {
        for (const RuleStore::EditResult& one : store_().edit(rules, addWhatIsSaid, who_))
            count(one.kind);
    }
    return outcome;
}

std::variant<std::size_t, Refusal> Service::renameListener(const std::string& from, const std::string& to) {
    if (!configured(to)) return Refusal(UnknownListener{to});
    if (configured(from)) return Refusal(StillConfigured{from});
    auto result = store_().renameListener(from, to, who_);
    if (!result.in_the_way.empty()) return Refusal(InTheWay{std::move(result.in_the_way)});
    return result.renamed;
}

std::vector<AccessRule> Service::list(const ListFilter& filter) {
    std::vector<AccessRule> rules;
    store_().forEachRule([&](const AccessRule& rule) {
        if (isLive(rule, now_) == filter.expired) return;
        if (filter.covering && !rule.network.contains(*filter.covering)) return;
        if (filter.listeners.empty() ||
            std::any_of(filter.listeners.begin(), filter.listeners.end(),
                        [&](const std::string& listener) { return covers(rule, listener); }))
            rules.push_back(rule);
    });
    return rules;
}

std::vector<Decision> Service::test(const AddressBytes& address, std::span<const std::string> listeners) {
    std::vector<AccessRule> matching;
    store_().forEachRule([&](const AccessRule& rule) {
        if (rule.network.contains(address)) matching.push_back(rule);
    });
    std::stable_sort(matching.begin(), matching.end(), [](const AccessRule& a, const AccessRule& b) {
        return a.network.prefix_length > b.network.prefix_length;
    });
    std::vector<Decision> decisions;
    for (const Site::Listener& listener : site_.listeners)
        if (listeners.empty() ||
            std::find(listeners.begin(), listeners.end(), listener.name) != listeners.end())
            decisions.push_back(decide(listener, matching, address, now_));
    return decisions;
}

}  // namespace mailgate::rules
