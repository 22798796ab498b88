// SPDX-License-Identifier: Apache-2.0
#include "store/rules/table.h"

#include <algorithm>
#include <array>
#include <atomic>
#include <bit>
#include <compare>
#include <functional>
#include <limits>
#include <tuple>
#include <unordered_map>
#include <unordered_set>
#include <vector>

// Networks nest and never overlap otherwise. So when rules are sorted by (start, prefix length), the last one that
// starts at or before an address either holds it, or lies inside every network that does: one binary search and a
// walk along the links to the enclosing networks find them all, narrowest first. The rules of one network are
// neighbours in that order, linked like networks inside each other, the one that beats the others innermost.
//
// A walk is bounded by the prefix lengths there are times the rules that one network has, whatever the others are.

namespace mailgate::store {

namespace {

constexpr std::uint32_t kNone = std::numeric_limits<std::uint32_t>::max();
constexpr ListenerIndex kAllListeners = std::numeric_limits<ListenerIndex>::max();
constexpr std::uint32_t kNever = 0;  ///< as an expiry

std::uint64_t bigEndian(const std::uint8_t* bytes, unsigned count) noexcept {
    std::uint64_t value = 0;
    for (unsigned at = 0; at < count; ++at)
        value = value << 8 | bytes[at];
    return value;
}

struct KeyV4 {
    static constexpr unsigned kNetworkBits = 96;  ///< what Network counts before the first bit of this key
    std::uint32_t value;

    static KeyV4 of(const AddressBytes& address) noexcept {
        return {static_cast<std::uint32_t>(bigEndian(address.data() + 12, 4))};
    }
    static constexpr KeyV4 highest() noexcept { return {~std::uint32_t(0)}; }
    unsigned sharedBits(KeyV4 other) const noexcept {
        return static_cast<unsigned>(std::countl_zero(value ^ other.value));
    }
    friend auto operator<=>(const KeyV4&, const KeyV4&) = default;
};

struct KeyV6 {
    static constexpr unsigned kNetworkBits = 0;
    std::uint64_t high, low;

    static KeyV6 of(const AddressBytes& address) noexcept {
        return {bigEndian(address.data(), 8), bigEndian(address.data() + 8, 8)};
    }
    static constexpr KeyV6 highest() noexcept { return {~std::uint64_t(0), ~std::uint64_t(0)}; }
    unsigned sharedBits(KeyV6 other) const noexcept {
        if (high != other.high) return static_cast<unsigned>(std::countl_zero(high ^ other.high));
        return 64 + static_cast<unsigned>(std::countl_zero(low ^ other.low));
    }
    friend auto operator<=>(const KeyV6&, const KeyV6&) = default;
};

/// A rule, as the walk needs it.
struct Node {
    std::uint32_t around = kNone;  ///< the next rule to ask: of the same network or of the enclosing one
    std::uint32_t expires;         ///< kNever, or the second from which on it is dead
    ListenerIndex listener;
    Verdict verdict;
    std::uint8_t prefix_length;  ///< in the family's own bits

    bool decides(ListenerIndex asked, UnixSeconds now) const noexcept {
        return (listener == asked || listener == kAllListeners) && (expires == kNever || expires > now);
    }
};

struct Counter {
    std::atomic<std::uint32_t> hits{0};
    std::atomic<std::uint32_t> last{0};  ///< seconds since the epoch
};

/// A rule before the table is built. Among the rules of one network the one that wins is sorted last.
template <typename Key>
struct PendingRule {
    Key start;
    std::uint32_t set;  ///< its place among the sets, the first being the last to decide
    std::uint32_t expires;
    ListenerIndex listener;
    Verdict verdict;
    std::uint8_t prefix_length;
    std::int64_t id;

    Node node(std::uint32_t around) const noexcept {
        return {around, expires, listener, verdict, prefix_length};
    }

    friend bool operator<(const PendingRule& a, const PendingRule& b) noexcept {
        if (a.start != b.start) return a.start < b.start;
        return a.order() < b.order();
    }

  private:
    auto order() const noexcept {
        const bool names_listener = listener != kAllListeners;
        return std::tuple(prefix_length, names_listener, listener, verdict == Verdict::Deny, set, id);
    }
};

/// All rules of one address family.
template <typename Key>
class Family {
  public:
    /// `pending` is sorted; their ids go to `ids` in its order.
    void build(const std::vector<PendingRule<Key>>& pending, std::vector<std::int64_t>& ids);

    /// The index of the rule that decides, or kNone.
    std::uint32_t find(Key address, ListenerIndex listener, UnixSeconds now) const noexcept;

    const Node& node(std::uint32_t index) const noexcept { return nodes_[index]; }
    std::size_t size() const noexcept { return nodes_.size(); }
    std::size_t memoryBytes() const noexcept {
        return blocks_.capacity() * sizeof(Block) + nodes_.capacity() * sizeof(Node) +
               firsts_.capacity() * sizeof(Key);
    }

  private:
    /// The starts by cache line (IPv4) or by four of them (IPv6): a look-up loads one block. A million rules
    /// have 250 KB of `firsts_` per four bytes of key, which stay in the L2 cache.
    static constexpr std::size_t kBlockKeys = 16;
    struct alignas(64) Block {
        std::array<Key, kBlockKeys> keys;
    };

    Key start(std::uint32_t index) const noexcept {
        return blocks_[index / kBlockKeys].keys[index % kBlockKeys];
    }
    void append(Key start);
    std::uint32_t enclosing(std::uint32_t candidate, Key inner) const noexcept;
    std::uint32_t lastStartingAtOrBefore(Key address) const noexcept;

    std::vector<Block> blocks_;
    std::vector<Key> firsts_;  ///< of the blocks
    std::vector<Node> nodes_;
};

/// The candidate, or the nearest rule around it, whose network holds `inner`. Whatever is around the
/// candidate holds the candidate's start, so comparing with that alone tells for all of them.
template <typename Key>
std::uint32_t Family<Key>::enclosing(std::uint32_t candidate, Key inner) const noexcept {
    if (candidate == kNone) return kNone;
    const unsigned shared = start(candidate).sharedBits(inner);
    while (candidate != kNone && nodes_[candidate].prefix_length > shared)
        candidate = nodes_[candidate].around;
    return candidate;
}

template <typename Key>
void Family<Key>::append(Key start) {
    const std::size_t place = nodes_.size() % kBlockKeys;
    if (place == 0) {
        firsts_.push_back(start);
        blocks_.emplace_back().keys.fill(Key::highest());
    }
    blocks_.back().keys[place] = start;
}

template <typename Key>
void Family<Key>::build(const std::vector<PendingRule<Key>>& pending, std::vector<std::int64_t>& ids) {
    const std::size_t blocks = (pending.size() + kBlockKeys - 1) / kBlockKeys;
    blocks_.reserve(blocks);
    firsts_.reserve(blocks);
    nodes_.reserve(pending.size());
    for (const PendingRule<Key>& rule : pending) {
        const std::uint32_t around =
            nodes_.empty() ? kNone : enclosing(static_cast<std::uint32_t>(nodes_.size() - 1), rule.start);
        append(rule.start);
        nodes_.push_back(rule.node(around));
        ids.push_back(rule.id);
    }
}

template <typename Key>
std::uint32_t Family<Key>::lastStartingAtOrBefore(Key address) const noexcept {
    if (firsts_.empty() || address < firsts_.front()) return kNone;
    std::size_t block = 0;
    // Without a branch that depends on the address: it would be mispredicted every other time.
    for (std::size_t left = firsts_.size(); left > 1;) {
        const std::size_t half = left / 2;
        block = firsts_[block + half] <= address ? block + half : block;
        left -= half;
    }
    std::size_t count = 0;
    for (const Key& key : blocks_[block].keys)
        count += key <= address ? 1 : 0;
    // The last block is filled up with the highest key, which the highest address finds.
    return static_cast<std::uint32_t>(std::min(block * kBlockKeys + count, nodes_.size()) - 1);
}

template <typename Key>
std::uint32_t Family<Key>::find(Key address, ListenerIndex listener, UnixSeconds now) const noexcept {
    std::uint32_t rule = enclosing(lastStartingAtOrBefore(address), address);
    while (rule != kNone && !nodes_[rule].decides(listener, now))
        rule = nodes_[rule].around;
    return rule;
}

std::uint32_t packedExpiry(std::optional<UnixSeconds> expires_at) noexcept {
    if (!expires_at || *expires_at > std::numeric_limits<std::uint32_t>::max()) return kNever;
    return static_cast<std::uint32_t>(std::max<UnixSeconds>(*expires_at, 1));
}

}  // namespace

struct AccessTable::Data {
    // A rule's index: first all of IPv4, then all of IPv6.
    Family<KeyV4> v4;
    Family<KeyV6> v6;
    std::vector<std::int64_t> ids;
    std::unique_ptr<Counter[]> counters;
    /// Of the few rules that have any, by the rule's index.
    std::vector<std::pair<std::uint32_t, ClientLimits>> limits;
    std::vector<std::uint32_t> temporary;  ///< likewise those whose denial is not permanent
    std::int64_t version = 0;
    std::map<std::string, std::size_t> unknown_listeners;
    /// When the last allow rule of each listener expires, and behind them that of those for all; 0: there is none.
    std::vector<UnixSeconds> allowed_until;

    ClientLimits limitsOf(std::uint32_t rule) const noexcept {
        const auto found =
            std::lower_bound(limits.begin(), limits.end(), rule,
                             [](const auto& entry, std::uint32_t wanted) { return entry.first < wanted; });
        return found != limits.end() && found->first == rule ? found->second : ClientLimits{};
    }

    template <typename Key>
    static std::optional<Match> lookup(const Family<Key>& family, std::size_t first_index,
                                       const AddressBytes& address, ListenerIndex listener,
                                       UnixSeconds now) noexcept {
        const std::uint32_t rule = family.find(Key::of(address), listener, now);
        if (rule == kNone) return std::nullopt;
        const Node& node = family.node(rule);
        return Match{node.verdict, static_cast<std::uint32_t>(first_index + rule),
                     networkAround(address, Key::kNetworkBits + node.prefix_length)};
    }
};

AccessTable::AccessTable() : data_(std::make_unique<Data>()) {}
AccessTable::~AccessTable() = default;

std::optional<AccessTable::Match> AccessTable::lookup(const AddressBytes& address, ListenerIndex listener,
                                                      UnixSeconds now) const noexcept {
    auto match = Network{address, 128}.isV4()
                     ? Data::lookup(data_->v4, 0, address, listener, now)
                     : Data::lookup(data_->v6, data_->v4.size(), address, listener, now);
    if (match && match->verdict == Verdict::Allow) match->limits = data_->limitsOf(match->rule);
    if (match && match->verdict == Verdict::Deny)
        match->temporary = std::binary_search(data_->temporary.begin(), data_->temporary.end(), match->rule);
    return match;
}

void AccessTable::hit(std::uint32_t rule, UnixSeconds now) const noexcept {
    Counter& counter = data_->counters[rule];
    counter.last.store(static_cast<std::uint32_t>(now), std::memory_order_relaxed);
    counter.hits.fetch_add(1, std::memory_order_relaxed);
}

void AccessTable::takeHits(
    const std::function<void(std::int64_t rule_id, std::uint32_t hits, UnixSeconds last)>& take) const {
    for (std::size_t rule = 0; rule < data_->ids.size(); ++rule) {
        Counter& counter = data_->counters[rule];
        if (counter.hits.load(std::memory_order_relaxed) == 0) continue;
        const std::uint32_t hits = counter.hits.exchange(0, std::memory_order_relaxed);
        take(data_->ids[rule], hits, counter.last.load(std::memory_order_relaxed));
    }
}

bool AccessTable::letsSomebodyIn(ListenerIndex listener, UnixSeconds now) const noexcept {
    const std::vector<UnixSeconds>& until = data_->allowed_until;
    return listener < until.size() && std::max(until[listener], until.back()) > now;
}

std::int64_t AccessTable::ruleId(std::uint32_t rule) const noexcept {
    return data_->ids[rule];
}

std::size_t AccessTable::size() const noexcept {
    return data_->ids.size();
}

const std::map<std::string, std::size_t>& AccessTable::unknownListeners() const noexcept {
    return data_->unknown_listeners;
}

std::size_t AccessTable::memoryBytes() const noexcept {
    return data_->v4.memoryBytes() + data_->v6.memoryBytes() + data_->ids.capacity() * sizeof(std::int64_t) +
           data_->ids.size() * sizeof(Counter) + data_->limits.capacity() * sizeof data_->limits[0] +
           data_->temporary.capacity() * sizeof data_->temporary[0];
}

std::int64_t AccessTable::version() const noexcept {
    return data_->version;
}

struct AccessTable::Builder::Pending {
    std::unordered_map<std::string, ListenerIndex> listeners;
    std::vector<PendingRule<KeyV4>> v4;
    std::vector<PendingRule<KeyV6>> v6;
    std::unordered_map<std::int64_t, ClientLimits> limits;  ///< by id
    std::unordered_set<std::int64_t> temporary;             ///< ids
    std::map<std::string, std::size_t> unknown_listeners;
    std::vector<UnixSeconds> allowed_until;
    /// In the order in which they came; kManualSet is the first.
    std::map<std::string, std::uint32_t, std::less<>> sets{{std::string(kManualSet), 0}};

    std::uint32_t indexOf(std::string_view set);
    std::vector<std::uint32_t> setOrder() const;
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

AccessTable::Builder::Builder(std::span<const std::string> listeners)
    : pending_(std::make_unique<Pending>()) {
    for (const std::string& name : listeners)
        pending_->listeners.emplace(name, static_cast<ListenerIndex>(pending_->listeners.size()));
    pending_->allowed_until.resize(listeners.size() + 1);
}

AccessTable::Builder::~Builder() = default;

void AccessTable::Builder::add(std::int64_t id, const Network& network, Verdict verdict,
                               std::string_view listener, std::optional<UnixSeconds> expires_at,
                               const ClientLimits& limits, std::string_view set, bool temporary) {
    ListenerIndex index = kAllListeners;
    if (!listener.empty()) {
        const auto known = pending_->listeners.find(std::string(listener));
        if (known == pending_->listeners.end()) {
            ++pending_->unknown_listeners[std::string(listener)];
            return;
        }
        index = known->second;
    }
    if (verdict == Verdict::Allow) {
        UnixSeconds& until =
            pending_->allowed_until[std::min<std::size_t>(index, pending_->allowed_until.size() - 1)];
        until = std::max(until, expires_at.value_or(std::numeric_limits<UnixSeconds>::max()));
    }
    if (limits.any()) pending_->limits.emplace(id, limits);
    if (temporary) pending_->temporary.insert(id);
    const std::uint32_t set_index = pending_->indexOf(set);
    const auto pending = [&]<typename Key>(Key start) {
        const auto bits = static_cast<std::uint8_t>(network.prefix_length - Key::kNetworkBits);
        return PendingRule<Key>{start, set_index, packedExpiry(expires_at), index, verdict, bits, id};
    };
    if (network.isV4())
        pending_->v4.push_back(pending(KeyV4::of(network.address)));
    else
        pending_->v6.push_back(pending(KeyV6::of(network.address)));
}

std::shared_ptr<const AccessTable> AccessTable::Builder::build(std::int64_t version) {
    auto table = std::make_shared<AccessTable>();
    Data& data = *table->data_;
    const auto places = pending_->setOrder();
    for (auto& rule : pending_->v4)
        rule.set = places[rule.set];
    for (auto& rule : pending_->v6)
        rule.set = places[rule.set];
    std::sort(pending_->v4.begin(), pending_->v4.end());
    std::sort(pending_->v6.begin(), pending_->v6.end());
    const std::size_t rules = pending_->v4.size() + pending_->v6.size();
    data.ids.reserve(rules);
    data.v4.build(pending_->v4, data.ids);
    data.v6.build(pending_->v6, data.ids);
    data.counters = std::make_unique<Counter[]>(rules);
    for (std::uint32_t rule = 0; !pending_->limits.empty() && rule < rules; ++rule) {
        const auto found = pending_->limits.find(data.ids[rule]);
        if (found != pending_->limits.end()) data.limits.emplace_back(rule, found->second);
    }
    for (std::uint32_t rule = 0; !pending_->temporary.empty() && rule < rules; ++rule)
        if (pending_->temporary.contains(data.ids[rule])) data.temporary.push_back(rule);
    data.version = version;
    data.unknown_listeners = std::move(pending_->unknown_listeners);
    data.allowed_until = std::move(pending_->allowed_until);
    pending_.reset();
    return table;
}

}  // namespace mailgate::store
