// SPDX-License-Identifier: Apache-2.0
#include "gateway/cli/would_refuse.h"

#include "gateway/answers/meanings.h"
#include "gateway/cli/screen_text.h"
#include "gateway/cli/table.h"
#include "gateway/log/escape.h"
#include "protocols/values/text.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <iterator>

namespace mailgate::cli {

namespace {

using answers::asciiShellWord;  // the report is run as a file
using store::JournalMail;
using store::JournalSession;

constexpr unsigned kGroupV4 = 96 + 24;
constexpr unsigned kGroupV6 = 56;
constexpr std::size_t kSendersInRow = 3;
constexpr std::size_t kSendersInJson = 20;

Network groupOf(const Network& client) noexcept {
    const unsigned prefix = client.isV4() ? kGroupV4 : kGroupV6;
    return client.prefix_length <= prefix ? client : networkAround(client.address, prefix);
}

std::string obstacleOf(const std::string& reason, const JournalSession& session) {
    return reason == "too_many" && !session.limit.empty() ? session.limit : reason;
}

/// Nothing that a shell or a terminal could take for more than it is.
bool isPlainSender(std::string_view sender) noexcept {
    constexpr std::size_t kLongest = 100;
    return !sender.empty() && sender.size() <= kLongest && asciiShellWord(sender) == sender;
}

std::string senderText(std::string_view sender) {
    return fmt::format("<{}>", sender);
}

/// "<a@b.example> 12, <c@d.example> 3, 5 more"
std::string sendersCell(const WouldRefuseNetwork& network) {
    std::string cell;
    for (const auto& [sender, mails] : network.heaviestSenders(kSendersInRow))
        cell += fmt::format("{}{} {}", cell.empty() ? "" : ", ", senderText(sender), grouped(mails));
    const std::size_t shown = std::min(network.senders.size(), kSendersInRow);
    if (network.senders.size() > shown || network.other_mails > 0)
        cell += fmt::format(", {}{} more", network.other_mails > 0 ? "over " : "",
                            grouped(network.senders.size() - shown));
    return orDash(cell);
}

std::string reasonsCell(const WouldRefuseNetwork& network) {
    std::string cell;
    for (const auto& [reason, sessions] : network.reasons)
        cell += fmt::format("{}{} {}", cell.empty() ? "" : ", ", reason, grouped(sessions));
    return cell;
}

std::string jsonWord(std::string_view text) {
    return fmt::format("\"{}\"", escaped(text));
}

template <typename Items, typename ToJson>
std::string jsonItems(const Items& items, ToJson to_json) {
    std::string json;
    for (const auto& item : items)
        json.append(json.empty() ? "" : ",").append(to_json(item));
    return json;
}

/// With its prefix length, a single address too.
std::string cidr(const Network& network) {
    std::string text = network.toString();
    if (text.find('/') != std::string::npos) return text;
    return fmt::format("{}/{}", text, network.isV4() ? 32 : 128);
}

std::set<std::string> listenersOf(const WouldRefuseNetwork& network) {
    std::set<std::string> names;
    for (const auto& [obstacle, clients] : network.obstacles)
        names.insert(obstacle.listener);
    return names;
}

std::string networkAsJson(const WouldRefuseNetwork& network) {
    const auto senders = network.heaviestSenders(kSendersInJson);
    return fmt::format(
        "{{\"network\":{},\"listeners\":[{}],\"sessions\":{},\"clients\":{},\"mails\":{},\"mails_accepted\":{"
        "},"
        "\"last\":{},\"reasons\":{{{}}},\"senders\":[{}],\"commands\":[{}]}}",
        jsonWord(cidr(network.network)), jsonItems(listenersOf(network), jsonWord), network.sessions,
        network.clients.size(), network.mails, network.accepted, jsonWord(formatUtc(network.last_ms / 1'000)),
        jsonItems(
            network.reasons,
            [](const auto& reason) { return fmt::format("{}:{}", jsonWord(reason.first), reason.second); }),
        jsonItems(senders,
                  [](const auto& sender) {
                      return fmt::format("{{\"sender\":{},\"mails\":{}}}", jsonWord(sender.first),
                                         sender.second);
                  }),
        jsonItems(network.commands(), jsonWord));
}

constexpr std::string_view kComment = "# ";

/// Each line as one that a shell leaves alone.
std::string asComments(std::string_view lines) {
    std::string text;
    while (!lines.empty()) {
        const std::string_view line = lines.substr(0, lines.find('\n'));
        text.append(line.empty() ? "#" : kComment).append(line).append("\n");
        lines.remove_prefix(std::min(line.size() + 1, lines.size()));
    }
    return text;
}

// ---- what would let them in

/// Composes the commands for one network.
class Remedy {
  public:
    explicit Remedy(const WouldRefuseNetwork& network) : network_(network) {}

    std::vector<std::string> lines() {
        for (const auto& [obstacle, clients] : network_.obstacles) {
            if (clients.empty()) continue;
            // Whom nothing is in the way of, or something else, is not let in with it.
            target_ = clients.size() == 1 ? *clients.begin() : network_.network;
            add(obstacle);
        }
        std::vector<std::string> lines;
        for (const auto& [key, options] : rules_)
            allowed_[{key.first, fmt::format("{}", fmt::join(options, ""))}].push_back(key.second);
        for (const auto& [key, listeners] : allowed_) {
            std::string line = "mailgate access allow " + key.first;
            for (const std::string& listener : listeners)
                line += " --listener " + asciiShellWord(listener);
            lines.push_back(line + key.second + note());
        }
        for (const auto& [rule, options] : limits_)
            lines.push_back(fmt::format("mailgate access allow {}{}", rule, fmt::join(options, "")));
        std::move(comments_.begin(), comments_.end(), std::back_inserter(lines));
        return lines;
    }

  private:
    using Obstacle = WouldRefuseNetwork::Obstacle;

    void add(const Obstacle& obstacle) {
        if (obstacle.reason == "access") return addAccess(obstacle);
        if (obstacle.reason == "client_sessions" || obstacle.reason == "client_rate")
            addLimit(obstacle,
                     obstacle.reason == "client_rate" ? " --client-rate 0" : " --client-sessions 0");
        else if (obstacle.reason == "bare_lf")
            comment(fmt::format(
                "bare_lf: in the configuration, listener {}: bare_lf_exclude = [\"{}\"], or bare_lf "
                "= \"normalize\"",
                asciiShellWord(obstacle.listener), target_.toString()));
        else
            comment(fmt::format("{}: no rule lets them in", asciiShellWord(obstacle.reason)));
    }

    /// A limit is that of the rule which allows them, if one does: that one has to be changed. Another one, for the
    /// listener or in another set, would neither expire with it nor have its other limit.
    void addLimit(const Obstacle& obstacle, const std::string& option) {
        if (!obstacle.allowed || obstacle.rule.empty()) {
            rules_[{target_.toString(), obstacle.listener}].insert(option);
            return;
        }
        const Network limited = ruleNetwork(obstacle.rule);
        const store::AccessRule* const rule = limiting(limited, obstacle.listener);
        if (rule == nullptr)
            return comment(fmt::format("{}: no rule for {} is in force on listener {} any more",
                                       obstacle.reason, limited.toString(),
                                       asciiShellWord(obstacle.listener)));
        std::string named = rule->name.empty() ? rule->network.toString() : asciiShellWord(rule->name);
        if (!rule->listener.empty()) named += " --listener " + asciiShellWord(rule->listener);
        if (rule->set != store::kManualSet) named += " --set " + asciiShellWord(rule->set);
        limits_[named].insert(option);
    }

    /// The one that decides there, as in AccessTable; null: none is known.
    const store::AccessRule* limiting(const Network& limited, const std::string& listener) const {
        const auto order = [](const store::AccessRule& rule) {
            return std::tuple(rule.listener.empty(), rule.set != store::kManualSet, rule.set, -rule.id);
        };
        const store::AccessRule* found = nullptr;
        for (const store::AccessRule& rule : network_.limiting)
            if (rule.network == limited && covers(rule, listener) &&
                (found == nullptr || order(rule) < order(*found)))
                found = &rule;
        return found;
    }

    /// A more specific rule wins over the one that denies; for the same network deny wins.
    void addAccess(const Obstacle& obstacle) {
        const Network rule = obstacle.rule.empty() ? Network{} : ruleNetwork(obstacle.rule);
        if (!obstacle.rule.empty() && rule.prefix_length >= target_.prefix_length)
            return comment(fmt::format("a rule denies {} on listener {}: mailgate access list --match {}",
                                       rule.toString(), asciiShellWord(obstacle.listener), addressOf(rule)));
        rules_[{target_.toString(), obstacle.listener}];
    }

    static Network ruleNetwork(const std::string& rule) {
        const auto parsed = parseNetwork(rule);
        const auto* network = std::get_if<Network>(&parsed);
        return network != nullptr ? *network : Network{};
    }
    static std::string addressOf(const Network& network) { return Network{network.address, 128}.toString(); }

    void comment(std::string text) { comments_.insert("# " + std::move(text)); }

    std::string note() const {
        const auto senders = network_.heaviestSenders(1);
        if (senders.empty() || !isPlainSender(senders.front().first)) return {};
        return " --note " + asciiShellWord("from " + senders.front().first);
    }

    const WouldRefuseNetwork& network_;
    Network target_;  ///< the client, where an obstacle is in the way of but one
    std::map<std::pair<std::string, std::string>, std::set<std::string>>
        rules_;  ///< options by network and listener
    std::map<std::pair<std::string, std::string>, std::vector<std::string>>
        allowed_;                                          ///< listeners by network and options
    std::map<std::string, std::set<std::string>> limits_;  ///< options by rule
    std::set<std::string> comments_;
};

}  // namespace

std::vector<std::string> WouldRefuseNetwork::commands() const {
    return Remedy(*this).lines();
}

std::vector<std::pair<std::string, std::uint64_t>> WouldRefuseNetwork::heaviestSenders(
    std::size_t limit) const {
    std::vector<std::pair<std::string, std::uint64_t>> sorted(senders.begin(), senders.end());
    std::stable_sort(sorted.begin(), sorted.end(),
                     [](const auto& one, const auto& other) { return one.second > other.second; });
    sorted.resize(std::min(sorted.size(), limit));
    return sorted;
}

void WouldRefuse::add(const JournalSession& session) {
    if (session.would_refuse.empty()) return;
    ++sessions_;
    const Network client = store::clientNetwork(session);
    WouldRefuseNetwork& entry = networks_[groupOf(client)];
    entry.network = groupOf(client);
    ++entry.sessions;
    entry.last_ms = std::max(entry.last_ms, session.endedMs());
    if (entry.clients.size() < WouldRefuseNetwork::kMaxClients) entry.clients.insert(client);
    for (const std::string& reason : session.would_refuse) {
        ++entry.reasons[reason];
        auto& clients =
            entry.obstacles[{obstacleOf(reason, session), session.listener, session.rule, session.allowed}];
        if (clients.size() < WouldRefuseNetwork::kMaxClients) clients.insert(client);
    }
    entry.mails += session.mail_count;
    for (const JournalMail& mail : session.mail) {
        entry.accepted += mail.accepted ? 1 : 0;
        if (entry.senders.size() < WouldRefuseNetwork::kMaxSenders || entry.senders.contains(mail.from))
            ++entry.senders[mail.from];
        else
            ++entry.other_mails;
    }
}

namespace {

/// The network of the rule whose limit it is; none: it is the listener's.
std::optional<Network> limitingNetwork(const WouldRefuseNetwork::Obstacle& obstacle) {
    const bool limit = obstacle.reason == "client_sessions" || obstacle.reason == "client_rate";
    if (!limit || !obstacle.allowed || obstacle.rule.empty()) return std::nullopt;
    const auto parsed = parseNetwork(obstacle.rule);
    if (const auto* network = std::get_if<Network>(&parsed)) return *network;
    return std::nullopt;
}

}  // namespace

std::set<Network> WouldRefuse::limitingNetworks() const {
    std::set<Network> found;
    for (const auto& [network, entry] : networks_)
        for (const auto& [obstacle, clients] : entry.obstacles)
            if (const auto limiting = limitingNetwork(obstacle)) found.insert(*limiting);
    return found;
}

void WouldRefuse::addLimiting(const store::AccessRule& rule) {
    for (auto& [network, entry] : networks_)
        if (std::any_of(entry.obstacles.begin(), entry.obstacles.end(),
                        [&](const auto& one) { return limitingNetwork(one.first) == rule.network; }))
            entry.limiting.push_back(rule);
}

void WouldRefuse::settle(const Admits& admits) {
    for (auto& [network, entry] : networks_)
        for (auto& [obstacle, clients] : entry.obstacles) {
            const std::string& listener = obstacle.listener;
            const bool by_rules = obstacle.reason == "access";
            // Of whom else it stands in the way is not known where there were too many.
            if (by_rules && clients.size() == WouldRefuseNetwork::kMaxClients) continue;
            std::erase_if(clients, [&](const Network& client) {
                const auto admitted = admits(client, listener);
                return !admitted || (by_rules && *admitted);
            });
        }
}

std::vector<const WouldRefuseNetwork*> WouldRefuse::heaviest(std::size_t limit) const {
    std::vector<const WouldRefuseNetwork*> sorted;
    sorted.reserve(networks_.size());
    for (const auto& [network, entry] : networks_)
        sorted.push_back(&entry);
    std::stable_sort(sorted.begin(), sorted.end(), [](const auto* one, const auto* other) {
        return std::pair(one->accepted, one->sessions) > std::pair(other->accepted, other->sessions);
    });
    sorted.resize(std::min(sorted.size(), limit));
    return sorted;
}

std::string WouldRefuse::asText(std::string_view head, std::size_t limit, TableStyle style,
                                const Times& times) const {
    if (style.width > kComment.size()) style.width -= kComment.size();
    Table table({{.name = "network", .title = "NETWORK"},
                 {.name = "listeners", .title = "LISTENERS", .least = 8, .leaves = 4},
                 {.name = "sessions", .title = "SESSIONS"},
                 {.name = "clients", .title = "CLIENTS", .leaves = 2},
                 {.name = "mails", .title = "MAILS", .leaves = 1},
                 {.name = "accepted", .title = "ACCEPTED"},
                 {.name = "why", .title = "WHY", .least = 8, .leaves = 5},
                 {.name = "last", .title = times.title("LAST"), .leaves = 3},
                 {.name = "senders", .title = "SENDERS", .least = 12}},
                style);
    std::string commands;
    const auto shown = heaviest(limit);
    for (const WouldRefuseNetwork* network : shown) {
        const bool all = network->clients.size() < WouldRefuseNetwork::kMaxClients;
        table.add({network->network.toString(), fmt::format("{}", fmt::join(listenersOf(*network), ", ")),
                   grouped(network->sessions),
                   fmt::format("{}{}", grouped(network->clients.size()), all ? "" : "+"),
                   grouped(network->mails), grouped(network->accepted), reasonsCell(*network),
                   times.text(network->last_ms), sendersCell(*network)});
        for (const std::string& command : network->commands())
            commands += command + "\n";
    }
    std::string text = wrapped(head, style.width) + "\n\n" + table.text();
    if (shown.size() < networks_.size())
        text += fmt::format("and {} (--limit)\n", counted(networks_.size() - shown.size(), "more network"));
    text += commands.empty() ? "\nNone of them would be refused any more.\n" : "\nTo let them in:\n";
    return asComments(text) + (commands.empty() ? "" : "\n") + commands;
}

std::string WouldRefuse::asJson(std::size_t limit, std::int64_t since_ms, std::int64_t until_ms,
                                std::string_view further) const {
    const auto shown = heaviest(limit);
    return fmt::format(
        "{{\"since\":{},\"until\":{},\"sessions\":{},\"network_count\":{},\"networks\":[{}{}{}]{}}}\n",
        jsonWord(formatUtc(since_ms / 1'000)), jsonWord(formatUtc(until_ms / 1'000)), sessions_,
        networks_.size(), shown.empty() ? "" : "\n",
        jsonItems(shown, [](const auto* network) { return networkAsJson(*network); }),
        shown.empty() ? "" : "\n", further);
}

}  // namespace mailgate::cli
