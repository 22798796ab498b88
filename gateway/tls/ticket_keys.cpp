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

TicketKeys::TicketKeys(std::function<UnixSeconds()> clock) : clock_(std::move(clock)) {
    if (!rotate(clock_())) throw TlsError("the system gives no random bytes for session tickets");
}

std::optional<TicketKey> TicketKeys::current() noexcept {
    const std::lock_guard lock(mutex_);
    const UnixSeconds now = clock_();
    forgetOld(now);
    if (const TicketKey* shared = sharedAt(now)) return *shared;
    if (!rotate(now)) return std::nullopt;
    return current_;
}

std::optional<TicketKeys::Found> TicketKeys::find(std::span<const unsigned char, 16> name) noexcept {
    const std::lock_guard lock(mutex_);
    const auto named = [&](const TicketKey& key) {
        return std::equal(name.begin(), name.end(), key.name.begin());
    };
    const UnixSeconds now = clock_();
    forgetOld(now);
    const TicketKey* const sealing = sharedAt(now);
    for (const SharedTicketKey& shared : shared_)
        if (named(shared.key) && now >= shared.from - kLifetime)
            return Found{shared.key, &shared.key != sealing};
    // While a shared one seals none is made.
    if (sealing == nullptr && !rotate(now)) return std::nullopt;
    if (current_ && named(*current_)) return Found{*current_, sealing != nullptr};
    if (previous_ && named(*previous_)) return Found{*previous_, true};
    return std::nullopt;
}

void TicketKeys::share(std::vector<SharedTicketKey> keys) noexcept {
    const std::lock_guard lock(mutex_);
    shared_ = std::move(keys);
    forgetOld(clock_());
}

std::size_t TicketKeys::size() const noexcept {
    const std::lock_guard lock(mutex_);
    return shared_.size() + (current_ ? 1 : 0) + (previous_ ? 1 : 0);
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
void TicketKeys::forgetOld(UnixSeconds now) noexcept {
    const UnixSeconds age = now - made_;
    if (age < 0 || age >= kLifetime) previous_.reset();
    if (age < 0 || age >= 2 * kLifetime) current_.reset();
    std::erase_if(shared_, [&](const SharedTicketKey& shared) { return now >= shared.from + 3 * kLifetime; });
}

/// In that order: forgetOld(), and this.
bool TicketKeys::rotate(UnixSeconds now) noexcept {
    if (current_ && now - made_ < kLifetime) return true;
    auto next = TicketKey::random();
    if (!next) return false;
    previous_ = std::exchange(current_, std::move(next));
    made_ = now;
    return true;
}

}  // namespace mailgate
