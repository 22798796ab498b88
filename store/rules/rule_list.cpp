// SPDX-License-Identifier: Apache-2.0
#include "store/rules/rule_list.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <string>
#include <string_view>
#include <utility>

namespace mailgate::store {

namespace {

/// What of a rule is not as in one that has just been made: the rest takes no room.
enum TextPart : std::uint16_t {
    kDenies = 1 << 0,
    kName = 1 << 1,
    kListener = 1 << 2,
    kSet = 1 << 3,
    kNote = 1 << 4,
    kOwner = 1 << 5,
    kTicket = 1 << 6,
    kAuthor = 1 << 7,
    kId = 1 << 8,
    kMade = 1 << 9,
    kExpires = 1 << 10,
    kSessions = 1 << 11,
    kRate = 1 << 12,
    kTemporary = 1 << 13,
    kShowsNote = 1 << 14,
    kUsed = 1 << 15,
};

// At the beginning of each.
constexpr std::size_t kTagAt = sizeof(std::uint16_t), kNetworkAt = kTagAt + sizeof(std::uint64_t),
                      kPrefixAt = kNetworkAt + sizeof(AddressBytes),
                      kHead = kPrefixAt + sizeof(Network::prefix_length);

/// Each text with what says that it is there.
constexpr std::array<std::pair<TextPart, std::string AccessRule::*>, 7> kTexts{
    {{kName, &AccessRule::name},
     {kListener, &AccessRule::listener},
     {kSet, &AccessRule::set},
     {kNote, &AccessRule::note},
     {kOwner, &AccessRule::owner},
     {kTicket, &AccessRule::ticket},
     {kAuthor, &AccessRule::created_by}}};

template <typename Value>
void write(char*& to, const Value& value) noexcept {
    std::memcpy(to, &value, sizeof value);
    to += sizeof value;
}

template <typename Value>
Value take(const char*& from) noexcept {
    Value value;
    std::memcpy(&value, from, sizeof value);
    from += sizeof value;
    return value;
}

std::uint16_t partsOf(const AccessRule& rule) noexcept {
    unsigned parts = 0;
    const auto has = [&](bool there, TextPart part) {
        if (there) parts |= part;
    };
    for (const auto& [part, text] : kTexts)
        has(part == kSet ? rule.set != kManualSet : !(rule.*text).empty(), part);
    has(rule.verdict == Verdict::Deny, kDenies);
    has(rule.id != 0, kId);
    has(rule.created_at != 0, kMade);
    has(rule.expires_at.has_value(), kExpires);
    has(rule.limits.sessions.has_value(), kSessions);
    has(rule.limits.per_minute.has_value(), kRate);
    has(rule.reply.temporary, kTemporary);
    has(rule.reply.shows_note, kShowsNote);
    has(rule.hits != 0 || rule.last_hit_at, kUsed);
    return static_cast<std::uint16_t>(parts);
}

}  // namespace

RuleList::RuleList(std::span<const AccessRule> rules) {
    rules_.reserve(rules.size());
    for (const AccessRule& rule : rules)
        add(rule);
}

/// Blocks grow, so that a list of one rule is small, too.
char* RuleList::room(std::size_t bytes) {
    constexpr std::size_t kFirst = 256, kLargest = 1 << 20;
    if (blocks_.empty() || block_size_ - used_ < bytes) {
        const std::size_t size = std::max(std::clamp(2 * block_size_, kFirst, kLargest), bytes);
        blocks_.emplace_back(new char[size]);
        block_size_ = size;
        used_ = 0;
    }
    return blocks_.back().get() + std::exchange(used_, used_ + bytes);
}

void RuleList::add(const AccessRule& rule, std::uint64_t tag) {
    const std::uint16_t parts = partsOf(rule);
    std::size_t bytes = kHead;
    for (const auto& [part, text] : kTexts)
        if ((parts & part) != 0) bytes += sizeof(std::uint32_t) + (rule.*text).size();
    for (const TextPart part : {kId, kMade, kExpires})
        if ((parts & part) != 0) bytes += sizeof(std::int64_t);
    for (const TextPart part : {kSessions, kRate})
        if ((parts & part) != 0) bytes += sizeof(std::uint32_t);
    if ((parts & kUsed) != 0) bytes += sizeof(std::int64_t) + 1 + sizeof(UnixSeconds);
    char* to = room(bytes);
    rules_.push_back(to);
    write(to, parts);
    write(to, tag);
    write(to, rule.network.address);
    write(to, rule.network.prefix_length);
    for (const auto& [part, text] : kTexts) {
        if ((parts & part) == 0) continue;
        const std::string& value = rule.*text;
        write(to, static_cast<std::uint32_t>(value.size()));
        to = std::copy(value.begin(), value.end(), to);
    }
    if ((parts & kId) != 0) write(to, rule.id);
    if ((parts & kMade) != 0) write(to, rule.created_at);
    if ((parts & kExpires) != 0) write(to, *rule.expires_at);
    if ((parts & kSessions) != 0) write(to, *rule.limits.sessions);
    if ((parts & kRate) != 0) write(to, *rule.limits.per_minute);
    if ((parts & kUsed) == 0) return;
    write(to, rule.hits);
    write(to, rule.last_hit_at.has_value());
    write(to, rule.last_hit_at.value_or(0));
}

void RuleList::read(std::size_t at, AccessRule& rule) const {
    const char* from = rules_[at];
    const auto parts = take<std::uint16_t>(from);
    const auto has = [&](TextPart part) { return (parts & part) != 0; };
    take<std::uint64_t>(from);
    rule.network.address = take<AddressBytes>(from);
    rule.network.prefix_length = take<decltype(Network::prefix_length)>(from);
    for (const auto& [part, text] : kTexts) {
        std::string& value = rule.*text;
        if (!has(part)) {
            // Of most rules it is so already, and very many are read one after another.
            if (part != kSet)
                value.clear();
            else if (value != kManualSet)
                value = kManualSet;
            continue;
        }
        const auto size = take<std::uint32_t>(from);
        value.assign(from, size);
        from += size;
    }
    rule.verdict = has(kDenies) ? Verdict::Deny : Verdict::Allow;
    rule.id = has(kId) ? take<std::int64_t>(from) : 0;
    rule.created_at = has(kMade) ? take<UnixSeconds>(from) : 0;
    rule.expires_at = has(kExpires) ? std::optional(take<UnixSeconds>(from)) : std::nullopt;
    rule.limits.sessions = has(kSessions) ? std::optional(take<std::uint32_t>(from)) : std::nullopt;
    rule.limits.per_minute = has(kRate) ? std::optional(take<std::uint32_t>(from)) : std::nullopt;
    rule.reply = {has(kTemporary), has(kShowsNote)};
    rule.hits = has(kUsed) ? take<std::int64_t>(from) : 0;
    const bool was_hit = has(kUsed) && take<bool>(from);
    rule.last_hit_at = was_hit ? std::optional(take<UnixSeconds>(from)) : std::nullopt;
}

AccessRule RuleList::operator[](std::size_t at) const {
    AccessRule rule;
    read(at, rule);
    return rule;
}

std::uint64_t RuleList::tag(std::size_t at) const noexcept {
    const char* from = rules_[at] + kTagAt;
    return take<std::uint64_t>(from);
}

Network RuleList::network(std::size_t at) const noexcept {
    const char* from = rules_[at] + kNetworkAt;
    Network network;
    network.address = take<AddressBytes>(from);
    network.prefix_length = take<decltype(Network::prefix_length)>(from);
    return network;
}

}  // namespace mailgate::store
