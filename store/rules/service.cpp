// SPDX-License-Identifier: Apache-2.0
#include "store/rules/service.h"

#include "protocols/values/text.h"
#include "store/rules/hygiene.h"
#include "store/rules/reach.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <functional>
#include <iterator>
#include <set>
#include <tuple>

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

/// Of two with the same verdict: then the set decides.
bool comesFirst(const AccessRule& rule, const AccessRule& other) noexcept {
    if (rule.listener.empty() != other.listener.empty()) return other.listener.empty();
    if (rule.set == store::kManualSet || other.set == store::kManualSet) return rule.set == store::kManualSet;
    return rule.set < other.set;
}

bool doTheSame(const AccessRule& a, const AccessRule& b) noexcept {
    return a.expires_at == b.expires_at && a.limits == b.limits && a.reply == b.reply;
}

bool outlives(const AccessRule& rule, const AccessRule& other) noexcept {
    return rule.verdict == other.verdict && other.expires_at &&
           (!rule.expires_at || *rule.expires_at > *other.expires_at);
}

bool allows(const AccessRule& rule) noexcept {
    return rule.verdict == Verdict::Allow;
}

std::vector<AccessRule> rulesOf(const PutRequest& request) {
    AccessRule rule;
    rule.verdict = request.verdict;
    std::vector<AccessRule> rules;
    rule.set = request.set;
    const auto add = [&] {
        rule.listener.clear();
        if (request.listeners.empty()) rules.push_back(rule);
        for (const std::string& listener : request.listeners) {
            rule.listener = listener;
            rules.push_back(rule);
        }
    };
    for (const Network& network : request.networks) {
        rule.network = network;
        add();
    }
    rule.network = {};
    for (const std::string& name : request.names) {
        rule.name = name;
        add();
    }
    return rules;
}

/// What the set of a new rule gives it.
void addDefaults(AccessRule& rule, const RuleStore::Defaults& sets, UnixSeconds now) {
    const auto set = sets.find(rule.set);
    if (set == sets.end()) return;
    rule.note = set->second.note;
    if (set->second.expires_after) rule.expires_at = now + *set->second.expires_after;
}

/// With their places in the list.
template <typename Visit>
void forEach(const store::RuleList& rules, const Visit& visit) {
    AccessRule rule;
    for (std::size_t at = 0; at < rules.size(); ++at) {
        rules.read(at, rule);
        visit(std::as_const(rule), at);
    }
}

/// What a line says of a rule changes, and the rest of it stays.
void addWhatIsSaid(AccessRule& rule, const AccessRule& said, const store::ImportedRule& line) {
    if (!said.note.empty() || line.no_note) rule.note = said.note;
    if (said.expires_at || line.never_expires) rule.expires_at = said.expires_at;
    if (said.limits.sessions) rule.limits.sessions = said.limits.sessions;
    if (said.limits.per_minute) rule.limits.per_minute = said.limits.per_minute;
    if (!said.owner.empty()) rule.owner = said.owner;
    if (!said.ticket.empty()) rule.ticket = said.ticket;
    if (line.names_reply) rule.reply = said.reply;
}

/// A rule becomes what its line says, and where that is silent what its set says: but one that is there keeps its expiry,
/// which importing again does not put off.
void completeLine(AccessRule& rule, const store::ImportedRule& line, const AccessRule* present,
                  const RuleStore::Defaults& sets, UnixSeconds now) {
    const auto set = sets.find(rule.set);
    if (set == sets.end()) return;
    if (rule.note.empty() && !line.no_note) rule.note = set->second.note;
    if (rule.expires_at || line.never_expires || !set->second.expires_after) return;
    rule.expires_at = present != nullptr ? present->expires_at : now + *set->second.expires_after;
}

/// The store tells somebody how far it has come, for as long as this lives.
class Reporting {
  public:
    Reporting(RuleStore& store, const store::Progress& progress) : store_(store) { store_.report(progress); }
    ~Reporting() { store_.report({}); }
    Reporting(const Reporting&) = delete;
    Reporting& operator=(const Reporting&) = delete;

  private:
    RuleStore& store_;
};

bool noteContains(const AccessRule& rule, const std::optional<std::string>& words) {
    return !words || lowerCase(rule.note).find(lowerCase(*words)) != std::string::npos;
}

template <typename Value>
bool isAmong(const std::vector<Value>& values, const Value& value) {
    return std::find(values.begin(), values.end(), value) != values.end();
}

/// The sets of which a list is to be all there is; none: all sets.
RuleStore::Sets setsToReplace(const store::RuleList& rules, const ImportRequest& request) {
    if (!request.replace) return std::vector<std::string>();
    if (request.all_sets) return std::nullopt;
    std::vector<std::string> sets;
    if (request.options.set) sets.push_back(*request.options.set);
    forEach(rules, [&](const AccessRule& rule, std::size_t) {
        if (!isAmong(sets, rule.set)) sets.push_back(rule.set);
    });
    if (sets.empty()) sets.emplace_back(store::kManualSet);
    return sets;
}

Decision decide(const Site::Listener& listener, std::span<const AccessRule> matching,
                const AddressBytes& address, UnixSeconds now) {
    const std::vector<std::string> names{listener.name};
    store::AccessTable::Builder builder(names);
    for (const AccessRule& rule : matching)
        builder.add(rule.id, rule.network, rule.verdict, rule.listener, rule.expires_at, rule.limits,
                    rule.set);
    const auto table = builder.build(0);
    const auto match = table->lookup(address, 0, now);
    Decision decision{address, listener.name, match ? match->verdict == Verdict::Allow : !listener.allowlist};
    for (const AccessRule& rule : matching) {
        if (match && rule.id == table->ruleId(match->rule))
            decision.by = rule;
        else if (covers(rule, listener.name))
            decision.others.push_back(rule);
    }
    return decision;
}

}  // namespace

std::vector<std::string> listenerNames(const Site& site) {
    std::vector<std::string> names;
    for (const Site::Listener& listener : site.listeners)
        names.push_back(listener.name);
    return names;
}

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
    if (!rule.name.empty()) return found;  // what it stands for is looked at when that is known
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
    if (!sharesListener(rule, other) || !overlap(rule.network, other.network)) return std::nullopt;
    if (rule.verdict == other.verdict) {
        if (rule.id == other.id || rule.network != other.network || doTheSame(rule, other))
            return std::nullopt;
        return comesFirst(rule, other) ? Standing::ComesFirst : Standing::ComesAfter;
    }
    if (rule.network == other.network)
        return beatsAtSameNetwork(rule, other) ? Standing::Wins : Standing::WithoutEffect;
    return rule.network.contains(other.network) ? Standing::OverriddenInside : Standing::MoreSpecific;
}

void Edit::apply(AccessRule& rule) const {
    if (note) rule.note = *note;
    if (expires_at) rule.expires_at = *expires_at;
    if (sessions) rule.limits.sessions = *sessions;
    if (per_minute) rule.limits.per_minute = *per_minute;
    if (owner) rule.owner = *owner;
    if (ticket) rule.ticket = *ticket;
    if (reply) rule.reply = *reply;
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
    const auto named = store_().ruleListeners(0);
    for (const std::string& name : names)
        if (!configured(name) && !named.contains(name)) return UnknownListener{name};
    return std::nullopt;
}

std::optional<Refusal> Service::refusalOf(const PutRequest& request) const {
    const Edit& edit = request.edit;
    if (auto missing = unknown(request.listeners)) return *missing;
    if (!store::isSetName(request.set)) return InvalidSet{request.set};
    for (const auto& [option, tag] : {std::pair("--owner", &edit.owner), std::pair("--ticket", &edit.ticket)})
        if (*tag)
            if (std::string why = store::tagError(**tag); !why.empty())
                return InvalidTag{option, std::move(why)};
    if (edit.note)
        if (std::string why = store::noteError(*edit.note); !why.empty()) return InvalidNote{std::move(why)};
    if (edit.expires_at && *edit.expires_at && **edit.expires_at <= now_)
        return ExpiryPast{**edit.expires_at};
    if (request.verdict == Verdict::Deny &&
        ((edit.sessions && *edit.sessions) || (edit.per_minute && *edit.per_minute)))
        return LimitsOnDeny{};
    if (request.verdict == Verdict::Allow && edit.reply && edit.reply->any()) return ReplyOnAllow{};
    return std::nullopt;
}

/// What shuts out the site itself, or lets in everybody, is done for who insists.
std::optional<Hazardous> Service::hazardous(const AccessRule& rule, std::size_t line) const {
    auto hazards = hazardsOf(rule, site_);
    if (hazards.empty()) return std::nullopt;
    return Hazardous{rule, line, std::move(hazards)};
}

namespace {

/// Of one verdict and one family what rules are for, by listener; "": all of them.
class Holding {
  public:
    void add(std::string_view listener, const Network& network) {
        auto found = networks_.find(listener);
        if (found == networks_.end()) found = networks_.emplace(listener, std::vector<Network>()).first;
        found->second.push_back(network);
    }
    double shareOn(const std::string& listener, bool v4, const Holding& besides = {}) const {
        std::vector<Network> all;
        for (const Holding* holding : {this, &besides})
            for (const std::string_view name : {std::string_view(), std::string_view(listener)})
                if (const auto found = holding->networks_.find(name); found != holding->networks_.end())
                    all.insert(all.end(), found->second.begin(), found->second.end());
        return shareOf(std::move(all), v4);
    }

  private:
    std::map<std::string, std::vector<Network>, std::less<>> networks_;
};

/// Half of everything, three quarters of it, all of it: who has insisted on one may go on within it. 0: less than half.
int stageOf(double share) noexcept {
    constexpr double kStages = 4;
    return share < kHalfOfAll ? 0 : static_cast<int>(std::floor(share * kStages));
}

/// Sums of shares, by verdict, listener and family: never less than what the networks are together.
using Bounds = std::map<std::tuple<Verdict, std::string, bool>, double>;

void addTo(Bounds& bounds, Verdict verdict, std::string_view listener, const Network& network) {
    const bool v4 = network.isV4();
    bounds[{verdict, std::string(listener), v4}] += shareOf(network, v4);
}

}  // namespace

/// `replaced`: the sets whose rules go; none: all. Whom rules already let in, or keep out, is measured only where the sum
/// of everything gives a reason to.
std::optional<TooMuchTogether> Service::tooMuch(const EachRule& added, const RuleStore::Sets& replaced) {
    const auto goes = [&](const RuleStore::Held& held) {
        return !replaced || std::find(replaced->begin(), replaced->end(), held.set) != replaced->end();
    };
    const auto counts = [&](const AccessRule& rule) { return rule.name.empty() && isLive(rule, now_); };
    Bounds bounds;
    added([&](const AccessRule& rule) {
        if (counts(rule)) addTo(bounds, rule.verdict, rule.listener, rule.network);
    });
    if (bounds.empty()) return std::nullopt;
    store_().forEachHeld(now_, [&](const RuleStore::Held& held) {
        if (!goes(held)) addTo(bounds, held.verdict, held.listener, held.network);
    });
    for (const Site::Listener& listener : site_.listeners)
        for (const Verdict verdict : {Verdict::Allow, Verdict::Deny})
            for (const bool v4 : {true, false}) {
                if (bounds[{verdict, "", v4}] + bounds[{verdict, listener.name, v4}] < kHalfOfAll) continue;
                Holding change, kept, before;
                added([&](const AccessRule& rule) {
                    if (counts(rule) && rule.verdict == verdict) change.add(rule.listener, rule.network);
                });
                store_().forEachHeld(now_, [&](const RuleStore::Held& held) {
                    if (held.verdict != verdict) return;
                    before.add(held.listener, held.network);
                    if (!goes(held)) kept.add(held.listener, held.network);
                });
                if (const double own = change.shareOn(listener.name, v4); own >= kHalfOfAll)
                    return TooMuchTogether{verdict, listener.name, v4, own, false};
                const double after = change.shareOn(listener.name, v4, kept);
                if (stageOf(after) > stageOf(before.shareOn(listener.name, v4)))
                    return TooMuchTogether{verdict, listener.name, v4, after, true};
            }
    return std::nullopt;
}

std::optional<Refusal> Service::hazardOf(std::span<const AccessRule> added) {
    for (const AccessRule& rule : added)
        if (auto refusal = hazardous(rule, 0)) return std::move(*refusal);
    const auto each = [&](const auto& visit) { std::for_each(added.begin(), added.end(), visit); };
    if (auto refusal = tooMuch(each, std::vector<std::string>())) return std::move(*refusal);
    return std::nullopt;
}

std::optional<Refusal> Service::judge(const PutRequest& request) {
    if (auto refusal = refusalOf(request)) return refusal;
    return request.insist ? std::nullopt : hazardOf(rulesOf(request));
}

PutOutcome Service::putJudged(const PutRequest& request) {
    PutOutcome outcome;
    const auto sets = store_().setDefaults();
    outcome.rules = store_().edit(
        rulesOf(request),
        [&](AccessRule& rule, const AccessRule&, bool is_new) {
            if (is_new) addDefaults(rule, sets, now_);
            request.edit.apply(rule);
        },
        who_);
    for (const RuleStore::EditResult& result : outcome.rules)
        if (!allows(result.rule) && result.rule.name.empty())
            outcome.cuts.push_back({result.rule.network, result.rule.listener});
    return outcome;
}

namespace {

/// A rule for a name once for each network that it stands for; of a name that stands for a great many, none.
std::vector<AccessRule> eachNetworkOf(const AccessRule& rule, const NameStates& states) {
    constexpr std::size_t kMany = 100;
    if (rule.name.empty()) return {rule};
    std::vector<AccessRule> rules;
    const auto state = states.find(rule.id);
    if (state == states.end() || state->second.networks.size() > kMany) return rules;
    for (const Network& network : state->second.networks) {
        rules.push_back(rule);
        rules.back().network = network;
    }
    return rules;
}

}  // namespace

Notes<Overlap> Service::overlaps(const PutOutcome& outcome) {
    Notes<Overlap> found;
    const NameStates states = names();
    std::vector<AccessRule> ours;
    std::set<std::int64_t> gone;  // but where the change was rehearsed
    for (const RuleStore::EditResult& result : outcome.rules) {
        for (AccessRule& one : eachNetworkOf(result.rule, states))
            ours.push_back(std::move(one));
        if (result.taken_over) gone.insert(result.taken_over->id);
    }
    store_().forEachRule(
        [&](const AccessRule& other) {
            if (!isLive(other, now_) || gone.contains(other.id)) return;
            const auto meet = [&](const AccessRule& theirs) {
                for (const AccessRule& one : ours)
                    if (const auto standing = standingOf(one, theirs))
                        found.add({one.id, *standing, theirs, outlives(one, theirs)});
            };
            if (other.name.empty()) return meet(other);
            for (const AccessRule& theirs : eachNetworkOf(other, states))
                meet(theirs);
        },
        bad_);
    return found;
}

Notes<Idle> Service::withoutEffect(const ImportOutcome& outcome) {
    struct One {
        Network network;
        std::uint32_t at;
        bool told = false;
    };
    const auto sorted = [&] {
        std::vector<One> ours;
        ours.reserve(outcome.rules.size());
        forEach(outcome.rules, [&](const AccessRule& rule, std::size_t at) {
            if (rule.name.empty() && isLive(rule, now_))
                ours.push_back({rule.network, static_cast<std::uint32_t>(at)});
        });
        std::ranges::sort(ours, {}, [](const One& one) { return std::tie(one.network, one.at); });
        return ours;
    };
    std::optional<std::vector<One>> ours;  // not before one of them is asked for: mostly none is
    Notes<Idle> found;
    store_().forEachDisputed(
        [&](const AccessRule& other) {
            if (!other.name.empty() || !isLive(other, now_)) return;
            if (!ours) ours = sorted();
            const auto [first, last] =
                std::equal_range(ours->begin(), ours->end(), One{other.network, 0},
                                 [](const One& a, const One& b) { return a.network < b.network; });
            for (auto one = first; one != last; ++one) {
                if (one->told) continue;
                AccessRule rule = outcome.rules[one->at];
                if (standingOf(rule, other) != Standing::WithoutEffect) continue;
                one->told = true;
                found.add({std::move(rule), other});
            }
        },
        bad_);
    return found;
}

/// An allowlist whose rules let in nobody, if there are any.
std::vector<std::string> Service::closedListeners() {
    const auto allowing = store_().allowing(now_);
    std::vector<std::string> closed;
    if (allowing.contains("")) return closed;
    for (const Site::Listener& listener : site_.listeners)
        if (listener.allowlist && !allowing.contains(listener.name)) closed.push_back(listener.name);
    return closed;
}

/// The allowlists of which no allow rule decides anything any more, because denials take all of it. Looked at only where
/// one of these takes a good part of an allow rule: a single address is not what closes a listener, and all rules are to be
/// compared.
std::vector<std::string> Service::overriddenListeners(std::span<const AccessRule> denying) {
    constexpr int kSmallPart = 8;  // a 256th
    bool takes = false;
    store_().forEachRule(
        [&](const AccessRule& rule) {
            if (takes || !allows(rule) || !rule.name.empty() || !isLive(rule, now_)) return;
            takes = std::any_of(denying.begin(), denying.end(), [&](const AccessRule& denial) {
                return sharesListener(rule, denial) && rule.network.contains(denial.network) &&
                       denial.network.prefix_length - rule.network.prefix_length <= kSmallPart;
            });
        },
        bad_);
    std::vector<std::string> closed;
    if (!takes) return closed;
    std::vector<AccessRule> rules;
    store_().forEachRule(
        [&](const AccessRule& rule) {
            if (isLive(rule, now_)) rules.push_back(rule);
        },
        bad_);
    for (const Site::Listener& listener : site_.listeners) {
        if (!listener.allowlist) continue;
        const auto on_it = [&](const AccessRule& rule) {
            return allows(rule) && covers(rule, listener.name);
        };
        const auto idle = shadowed(rules, std::vector{listener.name});
        if (std::none_of(rules.begin(), rules.end(),
                         [&](const AccessRule& rule) { return on_it(rule) && !idle.contains(rule.id); }))
            closed.push_back(listener.name);
    }
    return closed;
}

Notes<NearMiss> Service::nearMisses(const Network& network) {
    Notes<NearMiss> near;
    const NameStates states = names();
    store_().forEachRule(
        [&](const AccessRule& rule) {
            for (AccessRule& one : eachNetworkOf(rule, states)) {
                if (!overlap(one.network, network)) continue;
                using Relation = NearMiss::Relation;
                const auto relation = one.network == network          ? Relation::Same
                                      : one.network.contains(network) ? Relation::Around
                                                                      : Relation::Contains;
                return near.add({relation, std::move(one)});
            }
        },
        bad_);
    return near;
}

namespace {

/// As RuleStore::forEachRule(), of these alone.
void forEachOf(RuleStore& store, std::vector<std::int64_t> ids,
               const std::function<void(const AccessRule&)>& visit,
               const std::function<void(const RuleStore::BadRow&)>& bad) {
    std::ranges::sort(ids);
    ids.erase(std::unique(ids.begin(), ids.end()), ids.end());
    for (const std::int64_t id : ids)
        try {
            if (const auto rule = store.rule(id)) visit(*rule);
        } catch (const store::StoreError& error) {
            if (error.kind() != store::StoreError::Kind::BadRow) throw;
            bad({id, error.what()});
        }
}

}  // namespace

Selected Service::select(const RuleSelection& selection) {
    Selected selected;
    const bool named = !selection.networks.empty() || !selection.names.empty() || !selection.ids.empty();
    const auto unreadable = [&](const RuleStore::BadRow& row) {
        if (isAmong(selection.ids, row.id))
            selected.unreadable.push_back(row.id);
        else if (bad_)
            bad_(row);
        else
            throw store::StoreError(store::StoreError::Kind::BadRow, row.what);
    };
    const auto look = [&](const AccessRule& rule) {
        const bool subject = rule.name.empty() ? isAmong(selection.networks, rule.network)
                                               : isAmong(selection.names, rule.name);
        if (named && !subject && !isAmong(selection.ids, rule.id)) return;
        if (store::isProgram(who_) && rule.created_by != who_) return;
        if (!selection.listeners.empty() && !isAmong(selection.listeners, rule.listener)) return;
        if (selection.set && rule.set != *selection.set) return;
        if (selection.expired_for && (!rule.expires_at || *rule.expires_at > now_ - *selection.expired_for))
            return;
        if (noteContains(rule, selection.note_contains)) selected.rules.push_back(rule);
    };
    if (named && selection.networks.empty() && selection.names.empty())
        forEachOf(store_(), selection.ids, look, unreadable);
    else
        // By value and not by text: the sqlite3 shell may have written 192.0.2.1/32 or 2001:DB8::/32.
        store_().forEachRule(look, unreadable);
    const auto found = [&](const auto& matches) {
        return std::any_of(selected.rules.begin(), selected.rules.end(), matches);
    };
    for (const Network& network : selection.networks)
        if (!found([&](const AccessRule& rule) { return rule.name.empty() && rule.network == network; }))
            selected.missing.push_back(network);
    for (const std::string& name : selection.names)
        if (!found([&](const AccessRule& rule) { return rule.name == name; }))
            selected.missing_names.push_back(name);
    for (const std::int64_t id : selection.ids)
        if (!found([&](const AccessRule& rule) { return rule.id == id; }) &&
            !isAmong(selected.unreadable, id))
            selected.missing_ids.push_back(id);
    return selected;
}

RuleStore::RemoveResult Service::remove(const Selected& selected, const std::optional<std::string>& set) {
    std::vector<std::int64_t> ids = selected.unreadable;
    for (const AccessRule& rule : selected.rules)
        ids.push_back(rule.id);
    return store_().remove(ids, who_, set);
}

std::variant<store::SetDefaults, Refusal> Service::defineSet(
    const std::string& name, const std::optional<std::string>& note,
    const std::optional<std::optional<std::int64_t>>& expires_after) {
    if (!store::isSetName(name)) return Refusal(InvalidSet{name});
    if (note)
        if (std::string why = store::noteError(*note); !why.empty())
            return Refusal(InvalidNote{std::move(why)});
    const auto sets = store_().setDefaults();
    const auto set = sets.find(name);
    store::SetDefaults defaults = set == sets.end() ? store::SetDefaults{} : set->second;
    if (note) defaults.note = *note;
    if (expires_after) defaults.expires_after = *expires_after;
    if (set == sets.end() || defaults != set->second) store_().defineSet(name, defaults, who_);
    return defaults;
}

std::int64_t Service::lastChange() {
    return store_().lastChangeBy(who_);
}

std::optional<Refusal> Service::judgeUndo(std::int64_t number, bool insist) {
    if (insist) return std::nullopt;
    std::vector<AccessRule> restored;
    store_().forEachEntry(number - 1, [&](const RuleStore::AuditEntry& entry) {
        if (entry.change != number) return;
        if (auto rule = store::parseTrailRule(entry.before)) restored.push_back(std::move(*rule));
    });
    return hazardOf(restored);
}

RuleStore::UndoResult Service::undoJudged(std::int64_t number) {
    return store_().undo(number, who_);
}

std::vector<SetSummary> Service::sets() {
    std::map<std::string, SetSummary> found;
    found[std::string(store::kManualSet)];
    for (const auto& [name, defaults] : store_().setDefaults())
        found[name].defaults = defaults;
    store_().forEachRule(
        [&](const AccessRule& rule) {
            SetSummary& set = found[rule.set];
            ++(!isLive(rule, now_) ? set.expired : allows(rule) ? set.allowing : set.denying);
            set.hits += rule.hits;
            set.last_hit_at = std::max(set.last_hit_at, rule.last_hit_at);
        },
        bad_);
    std::vector<SetSummary> sets;
    for (auto& [name, set] : found) {
        set.name = name;
        sets.push_back(std::move(set));
    }
    return sets;
}

std::optional<UnknownSet> Service::unknownSet(const std::optional<std::string>& name) {
    if (!name || *name == store::kManualSet || store_().ruleSets().contains(*name) ||
        store_().setDefaults().contains(*name))
        return std::nullopt;
    return UnknownSet{*name};
}

std::vector<std::string> Service::closedBy(const RuleStore::RemoveResult& result) {
    const bool opened = std::any_of(result.removed.begin(), result.removed.end(), allows);
    return opened ? closedListeners() : std::vector<std::string>();
}

std::vector<std::string> Service::closedBy(const PutOutcome& outcome) {
    const bool opens = std::any_of(
        outcome.rules.begin(), outcome.rules.end(),
        [](const RuleStore::EditResult& result) { return allows(result.rule) && !result.rule.name.empty(); });
    if (opens) return closedListeners();
    std::vector<AccessRule> denying;
    for (const RuleStore::EditResult& result : outcome.rules)
        if (!allows(result.rule) && result.rule.name.empty()) denying.push_back(result.rule);
    return denying.empty() ? std::vector<std::string>() : overriddenListeners(denying);
}

std::vector<std::string> Service::closedBy(const ImportOutcome& outcome) {
    return !outcome.removed.empty() ? closedListeners() : std::vector<std::string>();
}

std::vector<std::string> Service::closedBy(const RuleStore::UndoResult& result) {
    const bool opened =
        std::any_of(result.entries.begin(), result.entries.end(), [](const RuleStore::AuditEntry& entry) {
            const auto rule = store::parseTrailRule(entry.before);
            return rule && allows(*rule);
        });
    return result.kind == RuleStore::UndoResult::Kind::Done && opened ? closedListeners()
                                                                      : std::vector<std::string>();
}

void Service::meetAll() {
    store_().forEachRule([](const AccessRule&) {}, bad_);
}

/// Of a list that is to be all there is.
std::optional<MostRemoved> Service::mostRemoved(const store::ImportResult& imported) {
    constexpr std::size_t kFew = 10;  // of so few, anybody sees what becomes of them
    const auto same = [](const AccessRule& a, const AccessRule& b) {
        return a.network == b.network && a.name == b.name && a.verdict == b.verdict &&
               a.listener == b.listener && a.set == b.set;
    };
    const store::RuleList& list = imported.rules.list();
    // All rules for names have one network.
    const auto hash_of = [](const AccessRule& rule) {
        const AddressBytes& address = rule.network.address;
        const std::hash<std::string_view> hash;
        return hash({reinterpret_cast<const char*>(address.data()), address.size()}) * 31 + hash(rule.name);
    };
    std::vector<std::pair<std::size_t, std::uint32_t>> listed;  // by their hash the places in the list
    listed.reserve(list.size());
    forEach(list, [&](const AccessRule& rule, std::size_t at) {
        listed.emplace_back(hash_of(rule), static_cast<std::uint32_t>(at));
    });
    std::sort(listed.begin(), listed.end());
    const auto is_listed = [&](const AccessRule& rule) {
        const auto [first, last] =
            std::equal_range(listed.begin(), listed.end(), std::pair(hash_of(rule), std::uint32_t(0)),
                             [](const auto& a, const auto& b) { return a.first < b.first; });
        return std::any_of(first, last, [&](const auto& one) { return same(list[one.second], rule); });
    };
    MostRemoved result{0, 0, imported.format == store::ImportFormat::Mailgate && !imported.has_end_mark};
    store_().forEachRule(
        [&](const AccessRule& rule) {
            ++result.present;
            if (!is_listed(rule)) ++result.removed;
        },
        bad_);
    const bool most = result.present >= kFew && result.removed > result.present / 2;
    const bool cut = result.without_end_mark && result.removed > 0;
    return most || cut ? std::optional(result) : std::nullopt;
}

std::optional<Refusal> Service::hazardOf(const store::ImportResult& imported, const ImportRequest& request) {
    // What comes from a program that failed is empty, and with it a job that denies nobody is green for ever.
    const bool may_have_failed = request.options.may_be_cut && !imported.has_end_mark;
    const bool is_blank = request.text.find_first_not_of(" \t\r\n") == std::string_view::npos;
    if ((request.replace || may_have_failed || is_blank) && imported.rules.empty()) return NothingLeft{};
    if (request.all_sets)
        if (auto refusal = mostRemoved(imported)) return *refusal;
    const store::RuleList& rules = imported.rules.list();
    std::optional<Refusal> hazard;
    forEach(rules, [&](const AccessRule& rule, std::size_t at) {
        if (hazard) return;
        auto found = hazardous(rule, 0);
        if (!found) return;
        store::ImportedRule one{};
        one.readTag(rules.tag(at));
        found->line = one.line;
        hazard = std::move(*found);
    });
    if (hazard) return hazard;
    const auto each = [&](const auto& visit) {
        forEach(rules, [&](const AccessRule& rule, std::size_t) { visit(rule); });
    };
    if (auto refusal = tooMuch(each, setsToReplace(rules, request))) return std::move(*refusal);
    return std::nullopt;
}

namespace {

/// A line that names no listener gives a rule for each of these.
void nameListeners(store::ImportedRules& rules, std::span<const std::string> listeners) {
    if (listeners.empty()) return;
    store::ImportedRules named;
    for (store::ImportedRule one : rules) {
        if (one.rule.listener.empty()) one.rule.listener = listeners.front();
        named.push_back(one);
    }
    for (store::ImportedRule one : rules) {
        if (!one.rule.listener.empty()) continue;
        for (const std::string& listener : listeners.subspan(1)) {
            one.rule.listener = listener;
            named.push_back(one);
        }
    }
    rules = std::move(named);
}

}  // namespace

std::variant<ImportOutcome, Refusal> Service::import(const ImportRequest& request) {
    auto judged = judge(request);
    if (auto* refusal = std::get_if<Refusal>(&judged)) return std::move(*refusal);
    return importJudged(request, std::get<JudgedImport>(std::move(judged)));
}

std::variant<Service::JudgedImport, Refusal> Service::judge(const ImportRequest& request) {
    std::vector<std::string> names = listenerNames(site_);
    // A listener that is gone may be named where it has rules.
    for (const auto& named : store_().ruleListeners(0))
        names.push_back(named.first);
    store::ImportOptions options = request.options;
    options.listeners = names;
    options.now = now_;
    options.progress = &request.progress;
    if (options.set && !store::isSetName(*options.set)) return Refusal(InvalidSet{*options.set});
    if (auto missing = unknown(request.listeners)) return Refusal(*missing);
    auto imported = store::parseRules(request.text, options);
    if (!imported.errors.empty()) return Refusal(UnreadableList{imported.errors});
    nameListeners(imported.rules, request.listeners);
    request.progress.tell(store::Progress::Step::Judge, 0, 0);
    auto hazard = hazardOf(imported, request);
    if (hazard && !request.insist) return std::move(*hazard);
    return JudgedImport{std::move(imported), std::move(hazard)};
}

ImportOutcome Service::importJudged(const ImportRequest& request, JudgedImport judged) {
    store::ImportResult& imported = judged.list;
    const auto replaced = setsToReplace(imported.rules.list(), request);
    ImportOutcome outcome{.format = imported.format,
                          .contradictions = std::move(imported.contradictions),
                          .not_utf8 = std::move(imported.not_utf8),
                          .undecided = std::move(imported.undecided),
                          .doubted_names = std::move(imported.doubted_names),
                          .rules = std::move(imported.rules).list(),
                          .insisted = std::move(judged.insisted)};
    forEach(outcome.rules, [&](const AccessRule& rule, std::size_t) {
        ++(allows(rule) ? outcome.allowing : outcome.denying);
        if (!isLive(rule, now_)) ++outcome.expired;
    });
    const auto count = [&](const RuleStore::ListResult& result) {
        outcome.added = result.added;
        outcome.changed = result.changed;
        outcome.unchanged = result.unchanged;
        outcome.taken_over = result.taken_over;
    };
    store::ImportedRule line{};  // what was said besides the rule
    const auto line_of = [&line](std::uint64_t tag) -> const store::ImportedRule& {
        line.readTag(tag);
        return line;
    };
    const auto sets = store_().setDefaults();
    const Reporting reporting(store_(), request.progress);
    if (request.replace) {
        const auto complete = [&](AccessRule& rule, std::uint64_t tag, const AccessRule* present) {
            completeLine(rule, line_of(tag), present, sets, now_);
        };
        auto result =
            store_().replaceAll(outcome.rules, replaced,
                                sets.empty() ? RuleStore::Complete() : RuleStore::Complete(complete), who_);
        count(result);
        outcome.removals = result.removals;
        outcome.removed = std::move(result.removed);
        if (replaced)
            for (const auto& [set, size] : store_().ruleSets())
                if (!isAmong(*replaced, set)) outcome.left_alone.emplace(set, size);
        return outcome;
    }
    count(store_().editList(
        outcome.rules,
        [&](AccessRule& rule, const AccessRule& wanted, std::uint64_t tag, bool is_new) {
            if (is_new) addDefaults(rule, sets, now_);
            addWhatIsSaid(rule, wanted, line_of(tag));
        },
        who_));
    return outcome;
}

std::variant<std::size_t, Refusal> Service::renameListener(const std::string& from, const std::string& to,
                                                           bool insist) {
    if (!configured(to)) return Refusal(UnknownListener{to});
    if (configured(from)) return Refusal(StillConfigured{from});
    std::vector<AccessRule> moved;
    if (!insist)
        store_().forEachRule(
            [&](const AccessRule& rule) {
                if (rule.listener != from || !isLive(rule, now_)) return;
                moved.push_back(rule);
                moved.back().listener = to;
            },
            bad_);
    if (auto refusal = hazardOf(moved)) return std::move(*refusal);
    auto result = store_().renameListener(from, to, who_);
    if (!result.in_the_way.empty()) return Refusal(InTheWay{std::move(result.in_the_way)});
    return result.renamed;
}

namespace {

/// Of what the name of a rule stands for; of another rule its network.
template <typename Matches>
const Network* matchingNetwork(const AccessRule& rule, const NameStates& names, const Matches& matches) {
    if (rule.name.empty()) return matches(rule.network) ? &rule.network : nullptr;
    const auto state = names.find(rule.id);
    if (state == names.end()) return nullptr;
    const Network* found = nullptr;
    for (const Network& network : state->second.networks)
        if (matches(network) && (found == nullptr || network.prefix_length > found->prefix_length))
            found = &network;
    return found;
}

bool passes(const AccessRule& rule, const ListFilter& filter, const NameStates& names, UnixSeconds now) {
    if (isLive(rule, now) == filter.expired) return false;
    if (filter.set && rule.set != *filter.set) return false;
    if (!noteContains(rule, filter.note_contains)) return false;
    if (!filter.names.empty() && !isAmong(filter.names, rule.name)) return false;
    const auto covers_it = [&](const Network& network) { return network.contains(*filter.covering); };
    if (filter.covering && matchingNetwork(rule, names, covers_it) == nullptr) return false;
    if (filter.unused_for &&
        std::max(rule.created_at, rule.last_hit_at.value_or(0)) > now - *filter.unused_for)
        return false;
    if (filter.expiring_within && (!rule.expires_at || *rule.expires_at > now + *filter.expiring_within))
        return false;
    return filter.listeners.empty() ||
           std::any_of(filter.listeners.begin(), filter.listeners.end(),
                       [&](const std::string& listener) { return covers(rule, listener); });
}

}  // namespace

NameStates Service::names() {
    NameStates states;
    for (store::NamedRule& named : store_().namedRules())
        states.emplace(named.rule.id, std::move(named.state));
    return states;
}

std::vector<AccessRule> Service::list(const ListFilter& filter) {
    const bool compares = filter.overlapping || filter.shadowed;
    const NameStates states = filter.covering || compares ? names() : NameStates();
    std::vector<AccessRule> rules;
    store_().forEachRule(
        [&](const AccessRule& rule) {
            if (compares ? isLive(rule, now_) : passes(rule, filter, states, now_)) rules.push_back(rule);
        },
        bad_);
    if (!compares) return rules;
    // A name that stands for nothing meets nobody.
    std::vector<AccessRule> named;
    for (const AccessRule& rule : rules) {
        const auto state = rule.name.empty() ? states.end() : states.find(rule.id);
        if (state == states.end()) continue;
        for (const Network& network : state->second.networks) {
            named.push_back(rule);
            named.back().network = network;
        }
    }
    const bool has_names =
        std::any_of(rules.begin(), rules.end(), [](const AccessRule& rule) { return !rule.name.empty(); });
    std::vector<AccessRule> compared;
    if (has_names) {
        std::copy_if(rules.begin(), rules.end(), std::back_inserter(compared),
                     [](const AccessRule& rule) { return rule.name.empty(); });
        compared.insert(compared.end(), named.begin(), named.end());
    }
    const std::vector<AccessRule>& by_network = has_names ? compared : rules;
    const auto idle = filter.shadowed ? shadowed(by_network, listenerNames(site_)) : std::set<std::int64_t>();
    const auto meeting = filter.overlapping ? overlapping(by_network) : std::set<std::int64_t>();
    std::erase_if(rules, [&](const AccessRule& rule) {
        return !passes(rule, filter, states, now_) || (filter.shadowed && !idle.contains(rule.id)) ||
               (filter.overlapping && !meeting.contains(rule.id));
    });
    return rules;
}

Service::Listed Service::list(const ListFilter& filter, const ListPage& page) {
    const bool compares = filter.overlapping || filter.shadowed;
    RuleStore::Wanted wanted{.now = now_};
    if (compares)
        if (const auto in_force = store_().find(wanted).found; in_force > page.most_compared)
            return {.too_many = in_force};
    if (compares || filter.covering || !filter.names.empty()) {
        Listed listed{list(filter)};
        listed.found = listed.rules.size();
        std::erase_if(listed.rules, [&](const AccessRule& rule) { return rule.id <= page.after; });
        if (listed.rules.size() > page.limit) listed.rules.resize(page.limit);
        return listed;
    }
    wanted.expired = filter.expired;
    wanted.listeners = filter.listeners;
    wanted.set = filter.set;
    wanted.note_contains = filter.note_contains;
    if (filter.unused_for) wanted.unused_since = now_ - *filter.unused_for;
    if (filter.expiring_within) wanted.expires_until = now_ + *filter.expiring_within;
    wanted.after = page.after;
    wanted.limit = page.limit;
    auto some = store_().find(wanted);
    return {std::move(some.rules), some.found};
}

std::vector<Decision> Service::test(std::span<const AddressBytes> clients,
                                    std::span<const std::string> listeners) {
    std::vector<std::vector<AccessRule>> matching(clients.size());
    const NameStates states = names();
    store_().forEachRule(
        [&](const AccessRule& rule) {
            for (std::size_t at = 0; at < clients.size(); ++at) {
                const auto contains = [&](const Network& network) { return network.contains(clients[at]); };
                const Network* const network = matchingNetwork(rule, states, contains);
                if (network == nullptr) continue;
                matching[at].push_back(rule);
                matching[at].back().network = *network;
            }
        },
        bad_);
    std::vector<Decision> decisions;
    for (std::size_t at = 0; at < clients.size(); ++at) {
        std::stable_sort(matching[at].begin(), matching[at].end(),
                         [](const AccessRule& a, const AccessRule& b) {
                             return a.network.prefix_length > b.network.prefix_length;
                         });
        for (const Site::Listener& listener : site_.listeners)
            if (listeners.empty() ||
                std::find(listeners.begin(), listeners.end(), listener.name) != listeners.end())
                decisions.push_back(decide(listener, matching[at], clients[at], now_));
    }
    return decisions;
}

}  // namespace mailgate::rules
