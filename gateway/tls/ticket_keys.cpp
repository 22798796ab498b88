// SPDX-License-Identifier: Apache-2.0
#include "gateway/tls/ticket_keys.h"

#include "gateway/tls/error.h"

#include <openssl/crypto.h>
#include <openssl/rand.h>

#include <algorithm>
#include <utility>

namespace mailgate {

TicketKey::TicketKey() noexcept : name{}, cipher{}, mac{} {}

TicketKey::~TicketKey() {
    OPENSSL_cleanse(cipher.data(), cipher.size());
    OPENSSL_cleanse(mac.data(), mac.size());
}

std::optional<TicketKey> TicketKey::random() noexcept {
    const auto fill = [](auto& bytes) {
        return RAND_priv_bytes(bytes.data(), static_cast<int>(bytes.size())) == 1;
    };
    TicketKey key;
    if (!fill(key.name) || !fill(key.cipher) || !fill(key.mac)) return std::nullopt;
    return key;
}

TicketKeys::TicketKeys(std::function<UnixSeconds()> clock) : clock_(std::move(clock)), made_(clock_()) {
    const auto key = TicketKey::random();
    if (!key) throw TlsError("the system gives no random bytes for session tickets");
    current_ = *key;
}

std::optional<TicketKey> TicketKeys::current() noexcept {
    const std::lock_guard lock(mutex_);
    if (const TicketKey* shared = sharedAt(clock_())) return *shared;
    if (!rotate()) return std::nullopt;
    return current_;
}

std::optional<TicketKeys::Found> TicketKeys::find(std::span<const unsigned char, 16> name) noexcept {
    const std::lock_guard lock(mutex_);
    const auto named = [&](const TicketKey& key) {
        return std::equal(name.begin(), name.end(), key.name.begin());
    };
    const UnixSeconds now = clock_();
    const TicketKey* const sealing = sharedAt(now);
    for (const SharedTicketKey& shared : shared_)
        if (named(shared.key) && now >= shared.from - kLifetime && now < shared.from + 3 * kLifetime)
            return Found{shared.key, &shared.key != sealing};
    if (!rotate()) return std::nullopt;
    if (named(current_)) return Found{current_, sealing != nullptr};
    if (has_previous_ && named(previous_)) return Found{previous_, true};
    return std::nullopt;
}

void TicketKeys::share(std::vector<SharedTicketKey> keys) noexcept {
    const std::lock_guard lock(mutex_);
    shared_ = std::move(keys);
}

std::optional<UnixSeconds> TicketKeys::sharedUntil() const noexcept {
    const std::lock_guard lock(mutex_);
    UnixSeconds until = clock_();
    if (!sharedAt(until)) return std::nullopt;
    for (bool longer = true; longer;) {
        longer = false;
        for (const SharedTicketKey& shared : shared_) {
            if (shared.from > until || shared.from + kLifetime <= until) continue;
            until = shared.from + kLifetime;
            longer = true;
        }
    }
    return until;
}

const TicketKey* TicketKeys::sharedAt(UnixSeconds time) const noexcept {
    const auto found = std::find_if(shared_.begin(), shared_.end(), [&](const SharedTicketKey& shared) {
        return time >= shared.from && time < shared.from + kLifetime;
    });
    return found == shared_.end() ? nullptr : &found->key;
}

// A clock that was set back makes new keys too: how old these are is no longer known.
bool TicketKeys::rotate() noexcept {
    const UnixSeconds now = clock_();
    const UnixSeconds age = now - made_;
    if (age >= 0 && age < kLifetime) return true;
    const auto next = TicketKey::random();
    if (!next) return false;
    has_previous_ = age >= 0 && age < 2 * kLifetime;
    previous_ = has_previous_ ? current_ : TicketKey();
    current_ = *next;
    made_ = now;
    return true;
}

}  // namespace mailgate
