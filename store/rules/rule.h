// SPDX-License-Identifier: Apache-2.0
/// \file  Access rules as values.
#pragma once

#include "protocols/values/network.h"
#include "protocols/values/time.h"

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace mailgate::store {

enum class Verdict : std::uint8_t { Allow, Deny };
constexpr std::string_view toString(Verdict verdict) noexcept {
    return verdict == Verdict::Allow ? "allow" : "deny";
}

/// How much of a listener one client of a rule may have; absent: what the listener says, 0: without limit.
struct ClientLimits {
    std::optional<std::uint32_t> sessions;    ///< at once
    std::optional<std::uint32_t> per_minute;  ///< new sessions

    bool any() const noexcept { return sessions || per_minute; }
    friend bool operator==(const ClientLimits&, const ClientLimits&) = default;
};
inline constexpr std::uint32_t kMaxClientLimit = 1'000'000;

constexpr std::size_t kMaxNoteLength = 1'000;  ///< bytes
/// Why a note cannot be kept; empty when it can.
std::string noteError(std::string_view note);

/// One row: a network, a verdict, and the listener it covers (empty: all). A rule for two listeners is two rows.
struct AccessRule {
    std::int64_t id = 0;
    Network network;
    Verdict verdict = Verdict::Deny;
    std::string listener;
    std::string note;
    UnixSeconds created_at = 0;
    std::string created_by;
    std::optional<UnixSeconds> expires_at;  ///< from this second on it does not match
    ClientLimits limits;                    ///< of an allow rule
    std::int64_t hits = 0;
    std::optional<UnixSeconds> last_hit_at;
};

inline bool isLive(const AccessRule& rule, UnixSeconds now) noexcept {
    return !rule.expires_at || *rule.expires_at > now;
}
/// The rule names the listener, or none.
inline bool covers(const AccessRule& rule, std::string_view listener) noexcept {
    return rule.listener.empty() || rule.listener == listener;
}

}  // namespace mailgate::store
