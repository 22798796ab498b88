// SPDX-License-Identifier: Apache-2.0
/// \file  A piece of the look-up table: the rules of some networks, sorted, immutable but for the hit counters. Internal to the
/// look-up table.
///
/// Networks nest and never overlap otherwise. So when rules are sorted by (start, prefix length), the last one that
/// starts at or before an address either holds it, or lies inside every network that does: one binary search and a
/// walk along the links to the enclosing networks find them all, narrowest first. The rules of one network are
/// neighbours in that order, linked like networks inside each other, the one that beats the others innermost.
///
/// A walk is bounded by the prefix lengths there are times the rules that one network has, whatever the others are.
#pragma once

#include "store/rules/rule.h"

#include <algorithm>
#include <array>
#include <atomic>
#include <bit>
#include <compare>
#include <cstdint>
#include <cstdlib>
#include <functional>
#include <limits>
#include <memory>
#include <new>
#include <tuple>
#include <type_traits>
#include <utility>
#include <vector>

namespace mailgate::store::parts {

constexpr std::uint32_t kNone = std::numeric_limits<std::uint32_t>::max();
constexpr std::uint32_t kNever = 0;  ///< as an expiry

// As a rule's listener.
constexpr ListenerIndex kAllListeners = std::numeric_limits<ListenerIndex>::max();
constexpr ListenerIndex kNoRule = kAllListeners - 1;  ///< only says that its network has no other rule

constexpr std::uint64_t bigEndian(const std::uint8_t* bytes, unsigned count) noexcept {
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
    /// The first address behind the network of that size that this is in; the lowest one behind the last.
    KeyV4 behind(unsigned prefix_length) const noexcept {
        const std::uint64_t size = std::uint64_t(1) << (32 - prefix_length);
        return {static_cast<std::uint32_t>((value & ~(size - 1)) + size)};
    }
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
    KeyV6 behind(unsigned prefix_length) const noexcept {
        if (prefix_length == 0) return {0, 0};
        const auto stepped = [](std::uint64_t part, unsigned bits) {
            const std::uint64_t size = std::uint64_t(1) << (64 - bits);
            return (part & ~(size - 1)) + size;
        };
        if (prefix_length <= 64) return {stepped(high, prefix_length), 0};
        const std::uint64_t next = stepped(low, prefix_length - 64);
        return {next == 0 ? high + 1 : high, next};
    }
    unsigned sharedBits(KeyV6 other) const noexcept {
        if (high != other.high) return static_cast<unsigned>(std::countl_zero(high ^ other.high));
        return 64 + static_cast<unsigned>(std::countl_zero(low ^ other.low));
    }
    friend auto operator<=>(const KeyV6&, const KeyV6&) = default;
};

/// What a rule says.
struct Decision {
    static constexpr std::uint8_t kDenies = 1, kTemporary = 2, kLimited = 4;

    std::uint32_t expires;       ///< kNever, or the second from which on it is dead
    ListenerIndex listener;      ///< kAllListeners, kNoRule, or a place among the names
    std::uint8_t prefix_length;  ///< in the family's own bits
    std::uint8_t flags;

    bool decides(ListenerIndex asked, UnixSeconds now) const noexcept {
        return (listener == asked || listener == kAllListeners) && (expires == kNever || expires > now);
    }
    Verdict verdict() const noexcept { return (flags & kDenies) != 0 ? Verdict::Deny : Verdict::Allow; }
};

/// A rule, as the walk needs it.
struct Node : Decision {
    std::uint32_t around;  ///< the next rule to ask: of the same network or of the enclosing one
};

/// A rule before the piece is built: all of them are in memory beside the piece, so it is kept small. Among the rules of one
/// network the one that wins is sorted last.
template <typename Key>
struct PendingRule {
    std::int64_t id;
    Key start;
    std::uint32_t set;  ///< its place among the sets, the first being the last to decide
    Decision says;

    friend bool operator<(const PendingRule& a, const PendingRule& b) noexcept {
        if (a.start != b.start) return a.start < b.start;
        return a.order() < b.order();
    }
    bool isOfNetworkOf(const PendingRule& other) const noexcept {
        return start == other.start && says.prefix_length == other.says.prefix_length;
    }

  private:
    auto order() const noexcept {
        const bool is_rule = says.listener != kNoRule;
        const bool names_listener = says.listener != kAllListeners;
        return std::tuple(says.prefix_length, is_rule, names_listener, says.listener,
                          (says.flags & Decision::kDenies) != 0, set, id);
    }
};

/// Very many rules that are pending: they grow without being copied, as the kernel moves large allocations by their pages, and
/// whoever takes them, from the end, gives the memory back meanwhile.
template <typename Rule>
class Pile {
    static_assert(std::is_trivially_copyable_v<Rule>);

  public:
    Pile() = default;
    Pile(Pile&& other) noexcept
        : rules_(std::move(other.rules_)),
          size_(std::exchange(other.size_, 0)),
          room_(std::exchange(other.room_, 0)) {}
    Pile& operator=(Pile&&) = delete;

    void push_back(const Rule& rule) {
        constexpr std::size_t kFirst = 16;
        if (size_ == room_ && !resize(std::max(kFirst, 2 * room_))) throw std::bad_alloc();
        rules_[size_++] = rule;
    }
    Rule takeLast() noexcept {
        constexpr std::size_t kReturned = std::size_t(1) << 15;
        const Rule last = rules_[--size_];
        if (size_ > 0 && size_ % kReturned == 0) resize(size_);
        return last;
    }
    const Rule& last() const noexcept { return rules_[size_ - 1]; }
    Rule& operator[](std::size_t at) noexcept { return rules_[at]; }
    Rule* begin() noexcept { return rules_.get(); }
    Rule* end() noexcept { return rules_.get() + size_; }
    bool empty() const noexcept { return size_ == 0; }
    std::size_t size() const noexcept { return size_; }

  private:
    struct Free {
        void operator()(Rule* rules) const noexcept { std::free(rules); }
    };

    bool resize(std::size_t room) noexcept {
        auto* const moved = static_cast<Rule*>(std::realloc(rules_.get(), room * sizeof(Rule)));
        if (moved == nullptr) return false;
        static_cast<void>(rules_.release());
        rules_.reset(moved);
        room_ = room;
        return true;
    }

    std::unique_ptr<Rule[], Free> rules_;
    std::size_t size_ = 0;
    std::size_t room_ = 0;
};

/// All rules of one address family.
template <typename Key>
class Family {
  public:
    void reserve(std::size_t rules) {
        const std::size_t blocks = (rules + kBlockKeys - 1) / kBlockKeys;
        blocks_.reserve(blocks);
        firsts_.reserve(blocks);
        nodes_.reserve(rules);
    }
    /// Behind all others in the order that the file's comment tells.
    void append(Key start, const Decision& says);

    /// The rule that wins of the narrowest network that holds the address; kNone: there is none. The next ones are `around` it.
    std::uint32_t narrowest(Key address) const noexcept {
        return enclosing(lastStartingAtOrBefore(address), address);
    }
    /// Likewise, of that network.
    std::uint32_t at(Key start, unsigned prefix_length) const noexcept {
        std::uint32_t rule = narrowest(start);
        while (rule != kNone && nodes_[rule].prefix_length > prefix_length)
            rule = nodes_[rule].around;
        return rule != kNone && nodes_[rule].prefix_length == prefix_length ? rule : kNone;
    }

    Key start(std::uint32_t index) const noexcept {
        return blocks_[index / kBlockKeys].keys[index % kBlockKeys];
    }
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
void Family<Key>::append(Key start, const Decision& says) {
    const std::uint32_t around =
        nodes_.empty() ? kNone : enclosing(static_cast<std::uint32_t>(nodes_.size() - 1), start);
    const std::size_t place = nodes_.size() % kBlockKeys;
    if (place == 0) {
        firsts_.push_back(start);
        blocks_.emplace_back().keys.fill(Key::highest());
    }
    blocks_.back().keys[place] = start;
    nodes_.push_back({says, around});
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

/// Numbers of rules, of which nearly all are small.
class Ids {
  public:
    void reserve(std::size_t rules) { narrow_.reserve(rules); }
    void push_back(std::int64_t id) {
        if (wide_.empty() && id >= 0 && id <= std::numeric_limits<std::uint32_t>::max())
            return narrow_.push_back(static_cast<std::uint32_t>(id));
        if (wide_.empty()) wide_.assign(narrow_.begin(), narrow_.end());
        narrow_ = {};
        wide_.push_back(id);
    }
    std::int64_t operator[](std::size_t at) const noexcept { return wide_.empty() ? narrow_[at] : wide_[at]; }
    std::size_t size() const noexcept { return wide_.empty() ? narrow_.size() : wide_.size(); }
    std::size_t memoryBytes() const noexcept {
        return narrow_.capacity() * sizeof narrow_[0] + wide_.capacity() * sizeof wide_[0];
    }

  private:
    std::vector<std::uint32_t> narrow_;
    std::vector<std::int64_t> wide_;  ///< all of them, where one does not fit
};

/// Counters of rules. What has not been counted in yet is memory that the kernel has only promised.
class Counters {
  public:
    Counters() = default;
    explicit Counters(std::size_t rules);
    Counters& operator=(Counters&& other) noexcept;

    void hit(std::size_t rule, UnixSeconds now) const noexcept;
    /// Calls take(rule, hits, last) for each that was hit, and resets it. One thread.
    template <typename Take>
    void takeAll(const Take& take) const {
        // Sequentially consistent, as hit(): either that sees it lowered and raises it again, or its hit is seen here.
        if (!some_.exchange(false)) return;
        for (std::size_t rule = 0; rule < size_; ++rule) {
            std::atomic_ref<std::uint32_t> hits(all_[rule].hits);
            if (hits.load() == 0) continue;
            take(rule, hits.exchange(0, std::memory_order_relaxed),
                 std::atomic_ref(all_[rule].last).load(std::memory_order_relaxed));
        }
    }
    std::size_t memoryBytes() const noexcept { return size_ * sizeof(Counter); }

  private:
    struct Counter {
        std::uint32_t hits, last;  ///< seconds since the epoch
    };
    struct Free {
        void operator()(Counter* counters) const noexcept { std::free(counters); }
    };

    std::unique_ptr<Counter[], Free> all_;
    std::size_t size_ = 0;
    mutable std::atomic<bool> some_{false};
};

/// Rules of both families. A rule's index: first all of IPv4, then all of IPv6.
struct Part {
    Family<KeyV4> v4;
    Family<KeyV6> v6;
    Ids ids;
    Counters counters;
    /// Of the few rules that have any, by the rule's index.
    std::vector<std::pair<std::uint32_t, ClientLimits>> limits;

    std::size_t size() const noexcept { return ids.size(); }
    ClientLimits limitsOf(std::uint32_t rule) const noexcept;
    std::size_t memoryBytes() const noexcept;
};

/// Both are sorted, the first rule being the last one of its pile. `limits`: of those whose flags say so.
std::unique_ptr<const Part> partOf(Pile<PendingRule<KeyV4>> v4, Pile<PendingRule<KeyV6>> v6,
                                   const std::function<ClientLimits(std::int64_t id)>& limits);

/// The rules of `above`, and of `below` those of other networks. With `keeps_empty`, networks without a rule too.
std::unique_ptr<const Part> merged(const Part& below, const Part& above, bool keeps_empty);

}  // namespace mailgate::store::parts
