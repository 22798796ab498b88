// SPDX-License-Identifier: Apache-2.0
#include "store/rules/table.h"

#include "store/rules/table_part.h"

#include <algorithm>
#include <array>
#include <numeric>
#include <set>
#include <unordered_map>
#include <utility>

namespace mailgate::store {

namespace {

using parts::Decision;
using parts::Family;
using parts::kAllListeners;
using parts::KeyV4;
using parts::KeyV6;
using parts::kNone;
using parts::kNoRule;
using parts::Node;
using parts::Part;
using parts::PendingRule;
using parts::Pile;

/// What is looked up by: the configured listeners, and behind them those that rules name all the same.
struct ListenerNames {
    std::vector<std::string> names;
    std::unordered_map<std::string, ListenerIndex> places;
    std::size_t configured = 0;

    ListenerIndex add(const std::string& name) {
        const auto [place, added] = places.emplace(name, static_cast<ListenerIndex>(names.size()));
        if (added) names.push_back(name);
        return place->second;
    }
    /// Of a rule.
    ListenerIndex placeOf(const std::string& name) {
        constexpr std::size_t kMostUnknown = 1'000;
        if (name.empty()) return kAllListeners;
        const auto known = places.find(name);
        if (known != places.end()) return known->second;
        return add(names.size() < configured + kMostUnknown ? name : "...");
    }
};

std::uint32_t packedExpiry(std::optional<UnixSeconds> expires_at) noexcept {
    if (!expires_at || *expires_at > std::numeric_limits<std::uint32_t>::max()) return parts::kNever;
    return static_cast<std::uint32_t>(std::max<UnixSeconds>(*expires_at, 1));
}

/// A rule within its family. Indexes of the second piece follow those of the first.
struct Found {
    const Node* node = nullptr;
    std::uint32_t rule = 0;
};

/// Both pieces' networks that hold the address, narrowest first, until a rule decides. A network's rules are those of
/// `changes`, if that has the network.
template <typename Key>
Found find(const Family<Key>& base, const Family<Key>& changes, Key address, ListenerIndex listener,
           UnixSeconds now) noexcept {
    std::uint32_t in_base = base.narrowest(address);
    std::uint32_t in_changes = changes.narrowest(address);
    while (in_base != kNone || in_changes != kNone) {
        const Node* const node = in_base == kNone ? nullptr : &base.node(in_base);
        const Node* const changed = in_changes == kNone ? nullptr : &changes.node(in_changes);
        if (changed == nullptr || (node != nullptr && node->prefix_length > changed->prefix_length)) {
            if (node->decides(listener, now)) return {node, in_base};
            in_base = node->around;
            continue;
        }
        if (changed->decides(listener, now))
            return {changed, static_cast<std::uint32_t>(base.size()) + in_changes};
        in_changes = changed->around;
        while (in_base != kNone && base.node(in_base).prefix_length == changed->prefix_length)
            in_base = base.node(in_base).around;
    }
    return {};
}

/// Calls visit(node, index) for the rules of exactly this network.
template <typename Key, typename Visit>
bool forEachOf(const Family<Key>& family, const Network& network, const Visit& visit) {
    const auto length = static_cast<unsigned>(network.prefix_length - Key::kNetworkBits);
    std::uint32_t rule = family.at(Key::of(network.address), length);
    const bool found = rule != kNone;
    for (; rule != kNone && family.node(rule).prefix_length == length; rule = family.node(rule).around)
        if (family.node(rule).listener != kNoRule) visit(family.node(rule), rule);
    return found;
}

}  // namespace

struct AccessTable::Data {
    // A rule's index: first all of `base`, then all of `changes`.
    std::shared_ptr<const Part> base = std::make_shared<Part>();
    /// Networks whose rules in `base` no longer count, with those that do.
    std::shared_ptr<const Part> changes = std::make_shared<Part>();
    std::shared_ptr<const ListenerNames> listeners = std::make_shared<ListenerNames>();
    std::size_t rules = 0;  ///< that can decide
    std::int64_t version = 0;
    std::map<std::string, std::size_t> unknown_listeners;  ///< of their rules, expired or not
    std::size_t unknown_expiring = 0;                      ///< of those, the ones that expire some time
    /// When the last allow rule of each listener expires, and behind them that of those for all; 0: there is none.
    std::vector<UnixSeconds> allowed_until;

    template <typename Key>
    std::optional<Match> lookup(Family<Key> Part::*family, const AddressBytes& address,
                                ListenerIndex listener, UnixSeconds now) const noexcept;
    template <typename Visit>
    void forEachOf(const Network& network, const Visit& visit) const;
    /// Whether the rule at this place of `base` still counts.
    bool counts(std::uint32_t in_base) const noexcept;
    /// A rule that is there now, or is not any more.
    void count(const Decision& says, bool is_there);
    bool isUnknown(ListenerIndex listener) const noexcept {
        return listener != kAllListeners && listener != kNoRule && listener >= listeners->configured;
    }
    /// Of an allow rule its listener's place in `allowed_until`; null: it lets nobody in here.
    UnixSeconds* untilFor(const Decision& says);
    void noteAllowing(const Decision& says);
    /// Whether some address of an allow rule's network is let in, whatever the rules inside that network say.
    template <typename Key>
    bool letsSomebodyIn(Family<Key> Part::*family, Key start, unsigned prefix_length, ListenerIndex listener,
                        UnixSeconds now) const noexcept;
    template <typename Key>
    bool letsSomebodyIn(Family<Key> Part::*family, ListenerIndex listener, UnixSeconds now) const noexcept;
    /// Looks at all rules, until it has found one that allows as long as `longest` says, for each listener.
    void findAllowing(const std::vector<UnixSeconds>& longest);
};

namespace {

/// In its piece, of a rule's index in its family there.
std::uint32_t inPart(const Part& part, const Family<KeyV4> Part::*, std::uint32_t rule) noexcept {
    (void)part;
    return rule;
}

std::uint32_t inPart(const Part& part, const Family<KeyV6> Part::*, std::uint32_t rule) noexcept {
    return static_cast<std::uint32_t>(part.v4.size()) + rule;
}

const Node& nodeIn(const Part& part, std::uint32_t rule) noexcept {
    const auto v4 = static_cast<std::uint32_t>(part.v4.size());
    return rule < v4 ? part.v4.node(rule) : part.v6.node(rule - v4);
}

}  // namespace

template <typename Key>
std::optional<AccessTable::Match> AccessTable::Data::lookup(Family<Key> Part::*family,
                                                            const AddressBytes& address,
                                                            ListenerIndex listener,
                                                            UnixSeconds now) const noexcept {
    const Family<Key>& in_base = *base.*family;
    const Found found = find(in_base, *changes.*family, Key::of(address), listener, now);
    if (found.node == nullptr) return std::nullopt;
    const bool changed = found.rule >= in_base.size();
    const Part& part = changed ? *changes : *base;
    const std::uint32_t rule =
        inPart(part, family, changed ? found.rule - static_cast<std::uint32_t>(in_base.size()) : found.rule);
    Match match{found.node->verdict(), changed ? static_cast<std::uint32_t>(base->size()) + rule : rule,
                networkAround(address, Key::kNetworkBits + found.node->prefix_length)};
    if ((found.node->flags & Decision::kLimited) != 0) match.limits = part.limitsOf(rule);
    match.temporary = (found.node->flags & Decision::kTemporary) != 0;
    return match;
}

template <typename Visit>
void AccessTable::Data::forEachOf(const Network& network, const Visit& visit) const {
    const auto of = [&](const auto family) {
        for (const Part* part : {changes.get(), base.get()})
            if (store::forEachOf(part->*family, network, [&](const Node& node, std::uint32_t rule) {
                    visit(node, part->ids[inPart(*part, family, rule)]);
                }))
                return;
    };
    if (network.isV4())
        of(&Part::v4);
    else
        of(&Part::v6);
}

bool AccessTable::Data::counts(std::uint32_t in_base) const noexcept {
    const auto in = [&](const auto family, std::uint32_t rule) {
        const auto& rules = *base.*family;
        return (*changes.*family).at(rules.start(rule), rules.node(rule).prefix_length) == kNone;
    };
    const auto v4 = static_cast<std::uint32_t>(base->v4.size());
    return in_base < v4 ? in(&Part::v4, in_base) : in(&Part::v6, in_base - v4);
}

void AccessTable::Data::count(const Decision& says, bool is_there) {
    const std::size_t one = is_there ? 1 : std::size_t(-1);
    if (!isUnknown(says.listener)) {
        rules += one;
        return;
    }
    const auto count = unknown_listeners.try_emplace(listeners->names[says.listener], 0).first;
    count->second += one;
    if (count->second == 0) unknown_listeners.erase(count);
    if (says.expires != parts::kNever) unknown_expiring += one;
}

namespace {

UnixSeconds endOf(const Decision& says) noexcept {
    return says.expires == parts::kNever ? std::numeric_limits<UnixSeconds>::max()
                                         : UnixSeconds{says.expires};
}

}  // namespace

UnixSeconds* AccessTable::Data::untilFor(const Decision& says) {
    const bool counts = says.listener == kAllListeners || says.listener < listeners->configured;
    if (!counts || says.verdict() == Verdict::Deny) return nullptr;
    return &allowed_until[std::min<std::size_t>(says.listener, listeners->configured)];
}

void AccessTable::Data::noteAllowing(const Decision& says) {
    if (UnixSeconds* const until = untilFor(says)) *until = std::max(*until, endOf(says));
}

void AccessTable::Data::findAllowing(const std::vector<UnixSeconds>& longest) {
    allowed_until.assign(longest.size(), 0);
    for (std::uint32_t rule = 0; rule < changes->size(); ++rule)
        noteAllowing(nodeIn(*changes, rule));
    for (std::uint32_t rule = 0; rule < base->size() && allowed_until != longest; ++rule) {
        const Node& node = nodeIn(*base, rule);
        const UnixSeconds* const until = untilFor(node);
        if (until != nullptr && endOf(node) > *until && counts(rule)) noteAllowing(node);
    }
}

/// From one denied network inside it to the next.
template <typename Key>
bool AccessTable::Data::letsSomebodyIn(Family<Key> Part::*family, Key start, unsigned prefix_length,
                                       ListenerIndex listener, UnixSeconds now) const noexcept {
    for (Key address = start;;) {
        const Node* const decides = find(*base.*family, *changes.*family, address, listener, now).node;
        if (decides == nullptr) return false;
        if (decides->verdict() == Verdict::Allow) return true;
        // All of it is denied, if not by rules inside it.
        if (decides->prefix_length <= prefix_length) return false;
        const Key next = address.behind(decides->prefix_length);
        if (next <= address || next.sharedBits(start) < prefix_length) return false;
        address = next;
    }
}

template <typename Key>
bool AccessTable::Data::letsSomebodyIn(Family<Key> Part::*family, ListenerIndex listener,
                                       UnixSeconds now) const noexcept {
    for (const Part* part : {changes.get(), base.get()}) {
        const Family<Key>& rules = *part.*family;
        for (std::uint32_t rule = 0; rule < rules.size(); ++rule) {
            const Node& node = rules.node(rule);
            if (node.verdict() == Verdict::Allow && node.decides(listener, now) &&
                letsSomebodyIn(family, rules.start(rule), node.prefix_length, listener, now))
                return true;
        }
    }
    return false;
}

AccessTable::AccessTable() : data_(std::make_unique<Data>()) {}
AccessTable::~AccessTable() = default;

std::optional<AccessTable::Match> AccessTable::lookup(const AddressBytes& address, ListenerIndex listener,
                                                      UnixSeconds now) const noexcept {
    return Network{address, 128}.isV4() ? data_->lookup(&Part::v4, address, listener, now)
                                        : data_->lookup(&Part::v6, address, listener, now);
}

void AccessTable::hit(std::uint32_t rule, UnixSeconds now) const noexcept {
    const std::size_t in_base = data_->base->size();
    if (rule < in_base)
        data_->base->counters.hit(rule, now);
    else
        data_->changes->counters.hit(rule - in_base, now);
}

void AccessTable::takeHits(
    const std::function<void(std::int64_t rule_id, std::uint32_t hits, UnixSeconds last)>& take) const {
    for (const Part* part : {data_->base.get(), data_->changes.get()})
        part->counters.takeAll([&](std::size_t rule, std::uint32_t hits, std::uint32_t last) {
            take(part->ids[rule], hits, last);
        });
}

bool AccessTable::letsSomebodyIn(ListenerIndex listener, UnixSeconds now) const noexcept {
    const std::vector<UnixSeconds>& until = data_->allowed_until;
    if (listener >= until.size() || std::max(until[listener], until.back()) <= now) return false;
    return data_->letsSomebodyIn(&Part::v4, listener, now) || data_->letsSomebodyIn(&Part::v6, listener, now);
}

std::int64_t AccessTable::ruleId(std::uint32_t rule) const noexcept {
    const std::size_t in_base = data_->base->size();
    return rule < in_base ? data_->base->ids[rule] : data_->changes->ids[rule - in_base];
}

std::vector<std::int64_t> AccessTable::rulesOf(const Network& network) const {
    std::vector<std::int64_t> ids;
    data_->forEachOf(network, [&](const Node&, std::int64_t id) { ids.push_back(id); });
    return ids;
}

bool AccessTable::holdsAny(std::span<const std::int64_t> ids) const noexcept {
    const auto asked = [&](std::int64_t id) { return std::binary_search(ids.begin(), ids.end(), id); };
    const Part &base = *data_->base, &changes = *data_->changes;
    for (std::uint32_t rule = 0; rule < base.size(); ++rule)
        if (asked(base.ids[rule]) && data_->counts(rule)) return true;
    for (std::uint32_t rule = 0; rule < changes.size(); ++rule)
        if (asked(changes.ids[rule]) && nodeIn(changes, rule).listener != kNoRule) return true;
    return false;
}

std::size_t AccessTable::size() const noexcept {
    return data_->rules;
}

bool AccessTable::empty() const noexcept {
    return data_->rules == 0 && data_->unknown_listeners.empty();
}

std::map<std::string, std::size_t> AccessTable::unknownListeners(UnixSeconds now) const {
    if (data_->unknown_expiring == 0) return data_->unknown_listeners;
    std::map<std::string, std::size_t> in_force;
    const auto count = [&](const Node& node) {
        if (data_->isUnknown(node.listener) && endOf(node) > now)
            ++in_force[data_->listeners->names[node.listener]];
    };
    for (std::uint32_t rule = 0; rule < data_->changes->size(); ++rule)
        count(nodeIn(*data_->changes, rule));
    for (std::uint32_t rule = 0; rule < data_->base->size(); ++rule)
        if (data_->isUnknown(nodeIn(*data_->base, rule).listener) && data_->counts(rule))
            count(nodeIn(*data_->base, rule));
    return in_force;
}

std::size_t AccessTable::memoryBytes() const noexcept {
    return data_->base->memoryBytes() + data_->changes->memoryBytes();
}

std::int64_t AccessTable::version() const noexcept {
    return data_->version;
}

namespace {

/// The first bits of a key, which are in the order of keys.
constexpr unsigned firstBits(KeyV4) noexcept {
    return 32;
}
constexpr unsigned firstBits(KeyV6) noexcept {
    return 64;
}
std::size_t octetAt(KeyV4 key, unsigned bit) noexcept {
    return key.value >> (24 - bit) & 0xFF;
}
std::size_t octetAt(KeyV6 key, unsigned bit) noexcept {
    return static_cast<std::size_t>(key.high >> (56 - bit) & 0xFF);
}

/// The first one becomes the last. Very many that share the bits before `bit` are put where their next eight bits belong, and
/// only few compared with each other. In place: a second list of them would be most of the memory that a start takes.
template <typename Key>
void sort(std::span<PendingRule<Key>> rules, unsigned bit) {
    constexpr std::size_t kFew = 64, kShares = 256;
    const auto is_later = [](const PendingRule<Key>& a, const PendingRule<Key>& b) { return b < a; };
    if (rules.size() <= kFew || bit == firstBits(Key{}))
        return std::sort(rules.begin(), rules.end(), is_later);
    const auto share_of = [bit](const PendingRule<Key>& rule) {
        return kShares - 1 - octetAt(rule.start, bit);
    };
    std::array<std::size_t, kShares> ends{};  // at first how many
    for (const PendingRule<Key>& rule : rules)
        ++ends[share_of(rule)];
    std::inclusive_scan(ends.begin(), ends.end(), ends.begin());
    std::array<std::size_t, kShares> next{};  // the first place that may not have the right one yet
    std::copy(ends.begin(), ends.end() - 1, next.begin() + 1);
    for (std::size_t share = 0, begin = 0; share < kShares; begin = ends[share++]) {
        for (; next[share] < ends[share]; ++next[share]) {
            PendingRule<Key> rule = rules[next[share]];
            for (std::size_t to = share_of(rule); to != share; to = share_of(rule))
                std::swap(rule, rules[next[to]++]);
            rules[next[share]] = rule;
        }
        sort(rules.subspan(begin, ends[share] - begin), bit + 8);
    }
}

}  // namespace

struct AccessTable::Builder::Pending {
    std::shared_ptr<const AccessTable> before;  ///< null: none, all rules are added
    ListenerNames listeners;
    std::set<Network> replaced;
    Pile<PendingRule<KeyV4>> v4;
    Pile<PendingRule<KeyV6>> v6;
    std::unordered_map<std::int64_t, ClientLimits> limits;  ///< by id
    /// In the order in which they came; kManualSet is the first.
    std::map<std::string, std::uint32_t, std::less<>> sets{{std::string(kManualSet), 0}};

    std::uint32_t indexOf(std::string_view set);
    std::vector<std::uint32_t> setOrder() const;
    void put(const Network& network, std::uint32_t set, Decision says, std::int64_t id);
    std::shared_ptr<const Part> part();
};

std::uint32_t AccessTable::Builder::Pending::indexOf(std::string_view set) {
    if (set == kManualSet) return 0;
    const auto found = sets.find(set);
    if (found != sets.end()) return found->second;
    return sets.emplace(set, static_cast<std::uint32_t>(sets.size())).first->second;
}

/// A set's place by its index: the last name in the alphabet is the first, kManualSet the last.
std::vector<std::uint32_t> AccessTable::Builder::Pending::setOrder() const {
    std::vector<std::uint32_t> places(sets.size());
    auto place = static_cast<std::uint32_t>(sets.size() - 1);
    places[0] = place;
    for (const auto& [name, index] : sets)
        if (index != 0) places[index] = --place;
    return places;
}

void AccessTable::Builder::Pending::put(const Network& network, std::uint32_t set, Decision says,
                                        std::int64_t id) {
    const auto pending = [&]<typename Key>(Key start) {
        says.prefix_length = static_cast<std::uint8_t>(network.prefix_length - Key::kNetworkBits);
        return PendingRule<Key>{id, start, set, says};
    };
    if (network.isV4())
        v4.push_back(pending(KeyV4::of(network.address)));
    else
        v6.push_back(pending(KeyV6::of(network.address)));
}

std::shared_ptr<const Part> AccessTable::Builder::Pending::part() {
    const auto places = setOrder();
    const auto inOrder = [&](auto& rules) {
        for (auto& rule : rules)
            rule.set = places[rule.set];
        sort(std::span(rules.begin(), rules.size()), 0);
        return std::move(rules);
    };
    return parts::partOf(inOrder(v4), inOrder(v6), [&](std::int64_t id) { return limits.at(id); });
}

AccessTable::Builder::Builder(std::span<const std::string> listeners)
    : pending_(std::make_unique<Pending>()) {
    for (const std::string& name : listeners)
        pending_->listeners.add(name);
    pending_->listeners.configured = pending_->listeners.names.size();
}

AccessTable::Builder::Builder(std::shared_ptr<const AccessTable> before)
    : pending_(std::make_unique<Pending>()) {
    pending_->listeners = *before->data_->listeners;
    pending_->before = std::move(before);
}

AccessTable::Builder::~Builder() = default;

void AccessTable::Builder::replace(const Network& network) {
    if (pending_->before && pending_->replaced.insert(network).second)
        pending_->put(network, 0,
                      {.expires = parts::kNever, .listener = kNoRule, .prefix_length = 0, .flags = 0}, 0);
}

void AccessTable::Builder::add(std::int64_t id, const Network& network, Verdict verdict,
                               std::string_view listener, std::optional<UnixSeconds> expires_at,
                               const ClientLimits& limits, std::string_view set, bool temporary) {
    replace(network);
    const ListenerIndex index =
        listener.empty() ? kAllListeners : pending_->listeners.placeOf(std::string(listener));
    unsigned flags = verdict == Verdict::Deny ? Decision::kDenies : 0;
    if (verdict == Verdict::Deny && temporary) flags |= Decision::kTemporary;
    if (verdict == Verdict::Allow && limits.any()) {
        flags |= Decision::kLimited;
        pending_->limits.emplace(id, limits);
    }
    pending_->put(network, pending_->indexOf(set),
                  {.expires = packedExpiry(expires_at),
                   .listener = index,
                   .prefix_length = 0,
                   .flags = static_cast<std::uint8_t>(flags)},
                  id);
}

std::shared_ptr<const AccessTable> AccessTable::Builder::build(std::int64_t version) {
    constexpr std::size_t kMostChanges = 256, kShareOfChanges = 64;
    auto table = std::make_shared<AccessTable>();
    Data& data = *table->data_;
    data.version = version;
    data.listeners = std::make_shared<const ListenerNames>(std::move(pending_->listeners));
    data.allowed_until.resize(data.listeners->configured + 1);
    const auto count = [&](auto& rules) {
        for (const auto& rule : rules) {
            if (rule.says.listener == kNoRule) continue;
            data.count(rule.says, true);
            data.noteAllowing(rule.says);
        }
    };
    if (pending_->before) {
        const Data& before = *pending_->before->data_;
        data.rules = before.rules;
        data.unknown_listeners = before.unknown_listeners;
        data.unknown_expiring = before.unknown_expiring;
        data.allowed_until = before.allowed_until;
        bool may_end_sooner = false;
        for (const Network& network : pending_->replaced)
            before.forEachOf(network, [&](const Node& node, std::int64_t) {
                data.count(node, false);
                const UnixSeconds* const until = data.untilFor(node);
                may_end_sooner = may_end_sooner || (until != nullptr && *until == endOf(node));
            });
        count(pending_->v4);
        count(pending_->v6);
        data.base = before.base;
        data.changes = parts::merged(*before.changes, *pending_->part(), true);
        if (data.changes->size() > kMostChanges + data.base->size() / kShareOfChanges) {
            data.base = parts::merged(*data.base, *data.changes, false);
            data.changes = std::make_shared<Part>();
        }
        if (may_end_sooner) data.findAllowing(std::vector(data.allowed_until));
    } else {
        count(pending_->v4);
        count(pending_->v6);
        data.base = pending_->part();
    }
    pending_.reset();
    return table;
}

}  // namespace mailgate::store
