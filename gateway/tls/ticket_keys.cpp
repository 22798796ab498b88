// SPDX-License-Identifier: Apache-2.0
#include "gateway/tls/ticket_keys.h"

#include "gateway/tls/error.h"

#include <openssl/crypto.h>
#include <openssl/rand.h>

#include <algorithm>
#include <utility>

namespace mailgate {
namespace {

bool fill(TicketKey& key) noexcept {
    const auto random = [](auto& bytes) {
        return RAND_priv_bytes(bytes.data(), static_cast<int>(bytes.size())) == 1;
    };
    return random(key.name) && random(key.cipher) && random(key.mac);
}

}  // namespace

TicketKey::TicketKey() noexcept : name{}, cipher{}, mac{} {}

TicketKey::~TicketKey() {
    OPENSSL_cleanse(cipher.data(), cipher.size());
    OPENSSL_cleanse(mac.data(), mac.size());
}

TicketKeys::TicketKeys(std::function<UnixSeconds()> clock) : clock_(std::move(clock)), made_(clock_()) {
    if (!fill(current_)) throw TlsError("the system gives no random bytes for session tickets");
}

std::optional<TicketKey> TicketKeys::current() noexcept {
    const std::lock_guard lock(mutex_);
    if (!rotate()) return std::nullopt;
    return current_;
}

std::optional<TicketKeys::Found> TicketKeys::find(std::span<const unsigned char, 16> name) noexcept {
    const std::lock_guard lock(mutex_);
    if (!rotate()) return std::nullopt;
    const auto named = [&](const TicketKey& key) {
        return std::equal(name.begin(), name.end(), key.name.begin());
    };
    if (named(current_)) return Found{current_, false};
    if (has_previous_ && named(previous_)) return Found{previous_, true};
    return std::nullopt;
}

// A clock that was set back makes new keys too: how old these are is no longer known.
bool TicketKeys::rotate() noexcept {
    const UnixSeconds now = clock_();
    const UnixSeconds age = now - made_;
    if (age >= 0 && age < kLifetime) return true;
    TicketKey next;
    if (!fill(next)) return false;
    has_previous_ = age >= 0 && age < 2 * kLifetime;
    previous_ = has_previous_ ? current_ : TicketKey();
    current_ = next;
    made_ = now;
    return true;
}

}  // namespace mailgate
