// SPDX-License-Identifier: Apache-2.0
#include "store/rules/table_part.h"

#include <new>

namespace mailgate::store::parts {

namespace {

/// Appends rules to a piece, which has to get them in order: IPv4 first.
class Appender {
  public:
    Appender(Part& part, std::size_t v4, std::size_t v6) : part_(part) {
        part_.v4.reserve(v4);
        part_.v6.reserve(v6);
        part_.ids.reserve(v4 + v6);
    }
    template <typename Key>
    void append(Key start, const Decision& says, std::int64_t id, const ClientLimits& limits) {
        if ((says.flags & Decision::kLimited) != 0)
            part_.limits.emplace_back(static_cast<std::uint32_t>(part_.ids.size()), limits);
        family(start).append(start, says);
        part_.ids.push_back(id);
    }
    void finish() {
        part_.limits.shrink_to_fit();
        part_.counters = Counters(part_.ids.size());
    }

  private:
    Family<KeyV4>& family(KeyV4) noexcept { return part_.v4; }
    Family<KeyV6>& family(KeyV6) noexcept { return part_.v6; }

    Part& part_;
};

template <typename Key>
void appendPending(Pile<PendingRule<Key>>& pending, const std::function<ClientLimits(std::int64_t)>& limits,
                   Appender& to) {
    while (!pending.empty()) {
        const PendingRule<Key> rule = pending.takeLast();
        // A network that has rules need not say that it has none.
        if (rule.says.listener == kNoRule && !pending.empty() && pending.last().isOfNetworkOf(rule)) continue;
        const bool limited = (rule.says.flags & Decision::kLimited) != 0;
        to.append(rule.start, rule.says, rule.id, limited ? limits(rule.id) : ClientLimits{});
    }
}

/// One family of a piece, from its beginning to its end.
template <typename Key>
class Cursor {
  public:
    Cursor(const Part& part, const Family<Key>& family, std::size_t first_index)
        : part_(part), family_(family), first_index_(first_index) {}

    bool ended() const noexcept { return at_ == family_.size(); }
    std::pair<Key, std::uint8_t> network() const noexcept {
        return {family_.start(at_), node().prefix_length};
    }
    void skip() noexcept { ++at_; }
    void copy(Appender& to, bool keeps_empty) {
        const auto rule = static_cast<std::uint32_t>(first_index_ + at_);
        if (keeps_empty || node().listener != kNoRule)
            to.append(family_.start(at_), node(), part_.ids[rule], part_.limitsOf(rule));
        ++at_;
    }

  private:
    const Node& node() const noexcept { return family_.node(at_); }

    const Part& part_;
    const Family<Key>& family_;
    const std::size_t first_index_;
    std::uint32_t at_ = 0;
};

template <typename Key>
void merge(Cursor<Key> below, Cursor<Key> above, bool keeps_empty, Appender& to) {
    while (!below.ended() || !above.ended()) {
        if (above.ended() || (!below.ended() && below.network() < above.network())) {
            below.copy(to, keeps_empty);
            continue;
        }
        const auto network = above.network();
        while (!below.ended() && below.network() == network)
            below.skip();
        while (!above.ended() && above.network() == network)
            above.copy(to, keeps_empty);
    }
}

}  // namespace

Counters::Counters(std::size_t rules) : size_(rules) {
    if (rules == 0) return;
    all_.reset(static_cast<Counter*>(std::calloc(rules, sizeof(Counter))));
    if (!all_) throw std::bad_alloc();
}

Counters& Counters::operator=(Counters&& other) noexcept {
    all_ = std::move(other.all_);
    size_ = std::exchange(other.size_, 0);
    some_ = false;
    return *this;
}

void Counters::hit(std::size_t rule, UnixSeconds now) const noexcept {
    std::atomic_ref(all_[rule].last).store(static_cast<std::uint32_t>(now), std::memory_order_relaxed);
    std::atomic_ref(all_[rule].hits).fetch_add(1);
    // Written only when it has to be: all workers share it.
    if (!some_.load()) some_.store(true);
}

ClientLimits Part::limitsOf(std::uint32_t rule) const noexcept {
    const auto found =
        std::lower_bound(limits.begin(), limits.end(), rule,
                         [](const auto& entry, std::uint32_t wanted) { return entry.first < wanted; });
    return found != limits.end() && found->first == rule ? found->second : ClientLimits{};
}

std::size_t Part::memoryBytes() const noexcept {
    return v4.memoryBytes() + v6.memoryBytes() + ids.memoryBytes() + counters.memoryBytes() +
           limits.capacity() * sizeof limits[0];
}

std::unique_ptr<const Part> partOf(Pile<PendingRule<KeyV4>> v4, Pile<PendingRule<KeyV6>> v6,
                                   const std::function<ClientLimits(std::int64_t id)>& limits) {
    auto part = std::make_unique<Part>();
    Appender to(*part, v4.size(), v6.size());
    appendPending(v4, limits, to);
    appendPending(v6, limits, to);
    to.finish();
    return part;
}

std::unique_ptr<const Part> merged(const Part& below, const Part& above, bool keeps_empty) {
    auto part = std::make_unique<Part>();
    Appender to(*part, below.v4.size() + above.v4.size(), below.v6.size() + above.v6.size());
    merge(Cursor(below, below.v4, 0), Cursor(above, above.v4, 0), keeps_empty, to);
    merge(Cursor(below, below.v6, below.v4.size()), Cursor(above, above.v6, above.v4.size()), keeps_empty,
          to);
    to.finish();
    return part;
}

}  // namespace mailgate::store::parts
