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
#include <variant>
#include <vector>

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

constexpr std::size_t kMaxTagLength = 200;  ///< bytes of an owner, of a ticket
/// Why an owner or a ticket cannot be kept; empty when it can.
std::string tagError(std::string_view tag);

/// What is said to a client that a rule denies, where that is not what the listener says to all of them.
struct RuleReply {
    bool temporary = false;   ///< the client may try again: 450 in place of 554
    bool shows_note = false;  ///< the listener's footer may show the rule's note

    bool any() const noexcept { return temporary || shows_note; }
    friend bool operator==(const RuleReply&, const RuleReply&) = default;
};
/// "temporary,note"; empty: as the listener says.
std::string_view toString(const RuleReply& reply) noexcept;
/// Of "temporary", "note", both with a comma between, or "default"; none for anything else.
std::optional<RuleReply> ruleReplyOf(std::string_view words) noexcept;

/// The set of rules that nobody has put into another.
inline constexpr std::string_view kManualSet = "manual";
/// 1 to 64 of letters, digits, '.', '-' and '_'.
bool isSetName(std::string_view name) noexcept;

/// What a rule of a set gets that is not said of it when it is made.
struct SetDefaults {
    std::string note;
    std::optional<std::int64_t> expires_after;  ///< seconds

    friend bool operator==(const SetDefaults&, const SetDefaults&) = default;
};

/// What a rule may be for besides a network, as far as its beginning tells: "host:NAME", whose addresses those of a host
/// are, or "spf:DOMAIN", whose mail comes from them (RFC 7208).
bool isRuleName(std::string_view text) noexcept;
/// As rules have it, in lower case; or what is wrong with it.
std::variant<std::string, NetworkError> parseRuleName(std::string_view text);

/// What is known of a name; what it stands for is what the last good answer has said.
struct NameState {
    std::vector<Network> networks;  ///< sorted; empty: nothing yet
    UnixSeconds asked_at = 0;
    std::optional<UnixSeconds> answered_at{};  ///< with success
    UnixSeconds due = 0;                       ///< when to ask again
    std::string error;                         ///< of the last time; empty: none
    std::string name{};  ///< that was asked for, of an answer to be kept; empty: the rule's

    friend bool operator==(const NameState&, const NameState&) = default;
};

/// One row: a network, a verdict, and the listener it covers (empty: all). A rule for two listeners is two rows. A set
/// has one for each network, listener and verdict; other sets may have the same.
struct AccessRule {
    std::int64_t id = 0;
    Network network;
    std::string name;  ///< not empty: the rule is for what this stands for, and not for `network`
    Verdict verdict = Verdict::Deny;
    std::string listener;
    std::string set{kManualSet};
    std::string note;
    std::string owner;   ///< who is to be asked about it
    std::string ticket;  ///< where it was asked for
    UnixSeconds created_at = 0;
    std::string created_by;
    std::optional<UnixSeconds> expires_at;  ///< from this second on it does not match
    ClientLimits limits;                    ///< of an allow rule
    RuleReply reply;                        ///< of a deny rule
    std::int64_t hits = 0;
    std::optional<UnixSeconds> last_hit_at;

    friend bool operator==(const AccessRule&, const AccessRule&) = default;
};

/// Index of a listener in the list of names that a look-up table was built with.
using ListenerIndex = std::uint16_t;

/// What it is for: the name, or the network.
std::string subjectOf(const AccessRule& rule);

struct NamedRule {
    AccessRule rule;
    NameState state;
};

inline bool isLive(const AccessRule& rule, UnixSeconds now) noexcept {
    return !rule.expires_at || *rule.expires_at > now;
}
/// The rule names the listener, or none.
inline bool covers(const AccessRule& rule, std::string_view listener) noexcept {
    return rule.listener.empty() || rule.listener == listener;
}

}  // namespace mailgate::store
