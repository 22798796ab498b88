// SPDX-License-Identifier: Apache-2.0
#include "gateway/answers/rehearsal.h"

#include "gateway/answers/rules_text.h"
#include "gateway/log/escape.h"
#include "store/rules/import_export.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <memory>
#include <set>
#include <tuple>
#include <utility>

namespace mailgate::answers {

namespace {

using store::JournalSession;
using store::RuleStore;
namespace journal = store::journal;

/// Sessions are looked up by network where these are few, because that is what the journal has an index of.
constexpr std::size_t kFewNetworks = 50;
constexpr std::size_t kMostOfOne = 50'000;
constexpr std::size_t kAtOnce = 10'000;

/// Sums up sessions, each once.
class Concerned {
  public:
    explicit Concerned(const rules::Contrast& contrast) : contrast_(contrast) {}

    void add(const std::vector<JournalSession>& sessions) {
        for (const JournalSession& session : sessions)
            if (session.kind != store::JournalKind::Mail) add(session);
    }
    /// There were more than could be looked at.
    void addNoMore() { result_.incomplete = true; }

    ConcernedSessions result(std::size_t most) {
        result_.found = groups_.size();
        result_.groups.reserve(groups_.size());
        for (const auto& [key, sessions] : groups_)
            result_.groups.push_back({std::get<0>(key), std::get<1>(key), std::get<2>(key), sessions});
        std::stable_sort(result_.groups.begin(), result_.groups.end(),
                         [](const auto& a, const auto& b) { return a.sessions > b.sessions; });
        if (result_.groups.size() > most)
            result_.groups.erase(result_.groups.begin() + static_cast<std::ptrdiff_t>(most),
                                 result_.groups.end());
        return std::move(result_);
    }

  private:
    void add(const JournalSession& session) {
        const auto allowed =
            session.client_masked ? std::nullopt : contrast_.decidesNow(session.client, session.listener);
        if ((!allowed && !session.client_masked) || !seen_.insert(session.id).second) return;
        if (session.client_masked) {
            ++result_.masked;
            return;
        }
        ++result_.sessions;
        result_.admitted += *allowed ? 1 : 0;
        ++groups_[{session.client, session.listener, *allowed}];
    }

    const rules::Contrast& contrast_;
    std::set<std::string> seen_;
    std::map<std::tuple<AddressBytes, std::string, bool>, std::size_t> groups_;
    ConcernedSessions result_;
};

}  // namespace

RehearsedChange rehearse(RuleStore& store, const rules::Site& site, UnixSeconds now, std::size_t most,
                         const std::function<void()>& work, RuleStore::Rehearsal how) {
    const auto listeners = rules::listenerNames(site);
    RehearsedChange change{.entries = {}, .networks = {}, .contrast = {site, nullptr, nullptr, now}};
    std::shared_ptr<const store::AccessTable> before, after;
    std::vector<Network> networks;
    std::map<std::int64_t, store::NameState> names;
    const auto readNames = [&] {
        for (store::NamedRule& named : store.namedRules())
            names.insert_or_assign(named.rule.id, std::move(named.state));
    };
    // Then what is read of very many rules while others wait is what has been changed since.
    if (how == RuleStore::Rehearsal::Brief) store.load(listeners);
    const auto compare = [&] {
        readNames();
        before = store.load(listeners);
        const std::int64_t end = store.endOfTrail();
        work();
        readNames();
        store.forEachEntry(end, [&](const RuleStore::AuditEntry& entry) {
            ++(entry.before.empty() ? change.added : entry.after.empty() ? change.removed : change.changed);
            if (change.entries.size() < most) change.entries.push_back(entry);
            for (const std::string& line : {entry.before, entry.after})
                if (const auto rule = store::parseTrailRule(line); rule && rule->name.empty())
                    networks.push_back(rule->network);
                else if (rule)
                    for (const Network& network : names[entry.rule_id].networks)
                        networks.push_back(network);
        });
        after = store.load(listeners);
    };
    store.rehearse(compare, how);
    std::sort(networks.begin(), networks.end());
    networks.erase(std::unique(networks.begin(), networks.end()), networks.end());
    return {change.added,        change.changed,
            change.removed,      std::move(change.entries),
            std::move(networks), rules::Contrast(site, std::move(before), std::move(after), now)};
}

ConcernedSessions concernedBy(const RehearsedChange& change, journal::Source& journal, std::int64_t since_ms,
                              std::size_t most) {
    Concerned concerned(change.contrast);
    store::JournalFilter filter;
    filter.since_ms = since_ms;
    if (change.networks.size() <= kFewNetworks) {
        for (const Network& network : change.networks) {
            filter.client = network;
            const auto sessions = journal.newest(filter, kMostOfOne);
            concerned.add(sessions);
            if (sessions.size() == kMostOfOne) concerned.addNoMore();
        }
        return concerned.result(most);
    }
    journal::Position position;
    for (std::string before = "none"; before != position.text;) {
        before = position.text;
        concerned.add(journal.after(filter, position, kAtOnce));
    }
    return concerned.result(most);
}

namespace {

std::string concernedAsJson(const ConcernedSessions& concerned) {
    std::string clients;
    for (const auto& group : concerned.groups)
        clients += fmt::format(R"({}{{"client":"{}","listener":"{}","sessions":{},"allowed":{}}})",
                               clients.empty() ? "" : ",", Network{group.client, 128}.toString(),
                               escaped(group.listener), group.sessions, group.allowed);
    return fmt::format(
        R"({{"decided_otherwise":{},"admitted":{},"refused":{},"not_known":{},"complete":{},"clients_found":{},"clients":[{}]}})",
        concerned.sessions, concerned.admitted, concerned.sessions - concerned.admitted, concerned.masked,
        !concerned.incomplete, concerned.found, clients);
}

}  // namespace

std::string lastChangeAsJson(RuleStore& store, const std::optional<std::size_t>& ended) {
    const std::int64_t number = store.lastChange();
    std::vector<RuleStore::AuditEntry> entries;
    ChangeReport report;
    store.forEachEntry(number - 1, [&](const RuleStore::AuditEntry& entry) {
        if (entry.change != number) return;
        ++(entry.before.empty() ? report.added : entry.after.empty() ? report.removed : report.changed);
        entries.push_back(entry);
    });
    report.entries = entries;
    report.ended = ended;
    return changesAsJson(report);
}

std::string rehearsalAsJson(const RehearsedChange& change, const ConcernedSessions* concerned) {
    return changesAsJson({.dry_run = true,
                          .added = change.added,
                          .changed = change.changed,
                          .removed = change.removed,
                          .entries = change.entries,
                          .sessions = concerned == nullptr ? "null" : concernedAsJson(*concerned)});
}

}  // namespace mailgate::answers
