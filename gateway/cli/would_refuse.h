// SPDX-License-Identifier: Apache-2.0
/// \file  What `mailgate report would-refuse` prints: whom listeners in monitor mode would have refused, and the
/// commands that would let them in. Pure; memory is bounded for each network.
///
/// What clients sent is escaped in all output, and in commands there is none of it but senders of plain letters.
#pragma once

#include "gateway/cli/table.h"
#include "gateway/cli/time_text.h"
#include "store/journal/record.h"
#include "store/rules/rule.h"

#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace mailgate::cli {

/// The clients of a network: an IPv4 /24, an IPv6 /56, or what the journal has left of the addresses.
struct WouldRefuseNetwork {
    static constexpr std::size_t kMaxSenders = 256;
    static constexpr std::size_t kMaxClients = 256;

    Network network;
    std::uint64_t sessions = 0;
    std::uint64_t mails = 0;
    std::uint64_t accepted = 0;                    ///< of the mails, those that a server took
    std::int64_t last_ms = 0;                      ///< Unix time of the last session's end
    std::map<std::string, std::uint64_t> reasons;  ///< sessions by reason; one may have several
    std::map<std::string, std::uint64_t> senders;  ///< mails by envelope sender, the first kMaxSenders
    std::uint64_t other_mails = 0;                 ///< ... of further ones
    std::set<Network> clients;                     ///< the first kMaxClients, as the journal has them
    /// What stands in a client's way: the reason (a limit by its own name), the listener, the network of the rule that
    /// decided (empty: none did), and whether that rule allows.
    struct Obstacle {
        std::string reason, listener, rule;
        bool allowed = false;
        friend auto operator<=>(const Obstacle&, const Obstacle&) = default;
    };
    std::map<Obstacle, std::set<Network>>
        obstacles;  ///< and in whose way, the first kMaxClients; empty: in nobody's any more
    /// Allow rules in force in which a limit can be changed, each with the network that it is for or that its name has.
    std::vector<store::AccessRule> limiting;

    /// Lines for a shell: commands, and as comments what no command can do.
    std::vector<std::string> commands() const;
    /// The heaviest first, "" is the null sender.
    std::vector<std::pair<std::string, std::uint64_t>> heaviestSenders(std::size_t limit) const;
};

class WouldRefuse {
  public:
    void add(const store::JournalSession& session);

    /// The networks of the rules that allowed clients with limits which are in their way.
    std::set<Network> limitingNetworks() const;
    /// One that is in force, with such a network.
    void addLimiting(const store::AccessRule& rule);

    /// Leaves out of the commands whom the rules in force let in. `admits`: whether they do, at a listener; nothing where there
    /// is no listener of that name any more.
    using Admits = std::function<std::optional<bool>(const Network& client, const std::string& listener)>;
    void settle(const Admits& admits);

    std::uint64_t sessions() const noexcept { return sessions_; }
    std::size_t networks() const noexcept { return networks_.size(); }
    /// Those with most mail that a server took first, then those with most sessions.
    std::vector<const WouldRefuseNetwork*> heaviest(std::size_t limit) const;

    /// `head`, a table, and the commands. All but these are comments to a shell: what clients have sent is among it.
    std::string asText(std::string_view head, std::size_t limit, TableStyle style, const Times& times) const;
    /// `further`: members behind these, with a comma in front.
    std::string asJson(std::size_t limit, std::int64_t since_ms, std::int64_t until_ms,
                       std::string_view further = {}) const;

  private:
    std::map<Network, WouldRefuseNetwork> networks_;
    std::uint64_t sessions_ = 0;
};

}  // namespace mailgate::cli
