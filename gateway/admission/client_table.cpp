// SPDX-License-Identifier: Apache-2.0
#include "gateway/admission/client_table.h"

#include <algorithm>
#include <bit>
#include <cstring>
#include <functional>
#include <new>
#include <random>

namespace mailgate {
namespace {

constexpr std::int64_t kMicrosPerMilli = 1'000;
constexpr std::int64_t kMinute = 60'000'000;

__extension__ using Wide = unsigned __int128;

std::uint64_t mixed(std::uint64_t a, std::uint64_t b) noexcept {
    const Wide product = static_cast<Wide>(a) * b;
    return static_cast<std::uint64_t>(product) ^ static_cast<std::uint64_t>(product >> 64);
}

}  // namespace

ClientTable::ClientTable(std::size_t most_sessions)
    // Four to eight slots a session, which docs/configuration.md gives as bytes.
    : buckets_(std::bit_ceil(most_sessions * 4 / kBucket + 1)),
      slots_(static_cast<Slot*>(std::calloc(buckets_ * kBucket, sizeof(Slot)))) {
    static_assert(8 * sizeof(Slot) <= 256);
    if (!slots_) throw std::bad_alloc();
    std::random_device random;
    for (std::uint64_t& word : secret_)
        word = std::uint64_t(random()) << 32 | random() | 1;
}

std::size_t ClientTable::bucketOf(const AddressBytes& client, std::uint32_t listener) const noexcept {
    std::array<std::uint64_t, 2> words;
    std::memcpy(words.data(), client.data(), sizeof words);
    const std::uint64_t hash = mixed(words[0] ^ secret_[0], words[1] ^ secret_[1]) ^ listener;
    return static_cast<std::size_t>(mixed(hash ^ secret_[1], secret_[0])) & (buckets_ - 1);
}

/// The client's slot, else the one that can best be spared; null when all have sessions.
ClientTable::Slot* ClientTable::find(std::size_t bucket, const AddressBytes& client,
                                     std::uint32_t listener) noexcept {
    Slot* const first = slots_.get() + bucket * kBucket;
    Slot* spare = nullptr;
    for (Slot* slot = first; slot != first + kBucket; ++slot) {
        if (slot->listener == listener && slot->client == client) return slot;
        if (slot->sessions == 0 && (!spare || slot->full_until < spare->full_until)) spare = slot;
    }
    if (spare) *spare = {client, 0, listener, 0};
    return spare;
}

ClientTable::Verdict ClientTable::admit(const Network& client, std::string_view listener,
                                        const Limits& limits, Millis now, Ticket& ticket) {
    const auto scope =
        static_cast<std::uint32_t>(std::hash<std::string_view>{}(listener)) ^ client.prefix_length;
    const std::size_t bucket = bucketOf(client.address, scope);
    const std::lock_guard lock(mutexOf(bucket * kBucket));
    Slot* const slot = find(bucket, client.address, scope);
    if (!slot) return Verdict::Admitted;  // a quarter of the table would have to be full for that
    if (limits.sessions != 0 && slot->sessions >= limits.sessions) return Verdict::TooManySessions;
    if (limits.per_minute != 0) {
        const std::int64_t at = now * kMicrosPerMilli;
        const std::int64_t each = kMinute / limits.per_minute;
        const std::int64_t level = std::max(slot->full_until, at);
        if (level - at > kMinute - each) return Verdict::TooFast;
        slot->full_until = level + each;
    }
    ++slot->sessions;
    ticket = Ticket();
    ticket.table_ = this;
    ticket.slot_ = static_cast<std::uint32_t>(slot - slots_.get());
    return Verdict::Admitted;
}

void ClientTable::leave(std::uint32_t slot) noexcept {
    const std::lock_guard lock(mutexOf(slot));
    --slots_[slot].sessions;
}

}  // namespace mailgate
