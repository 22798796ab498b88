// SPDX-License-Identifier: Apache-2.0
#include "gateway/daemon/event_bindings.h"

#include "gateway/answers/fleet.h"
#include "gateway/base/clock.h"
#include "gateway/daemon/preflight.h"
#include "protocols/values/text.h"
#include "store/backends/shown_notes.h"

#include <algorithm>
#include <chrono>
#include <map>
#include <span>
#include <utility>

namespace mailgate {
namespace {

void logUnknownListeners(EventLog& log, const std::map<std::string, std::size_t>& rules) {
    LogLine line = log.line(LogLevel::Warning, "access.unknown_listener");
    std::size_t count = 0;
    line.beginArray("listeners");
    for (const auto& [name, named] : rules) {
        line.item(name);
        count += named;
    }
    line.endArray().number("rules", static_cast<std::int64_t>(count));
    log.write(line);
}

void logExpiring(EventLog& log, const store::AccessRule& rule, std::size_t more) {
    LogLine line = log.line(LogLevel::Warning, "access.expiring");
    line.number("rule", rule.id).text("verdict", toString(rule.verdict));
    line.text("network", subjectOf(rule)).text("listener", rule.listener).text("set", rule.set);
    line.text("owner", rule.owner).text("ticket", rule.ticket);
    line.text("expires_at", formatUtc(rule.expires_at.value_or(0)));
    if (more > 0) line.number("more", static_cast<std::int64_t>(more));
    log.write(line);
}

std::shared_ptr<const RuleNotes> readRuleNotes(const std::string& store_url) {
    // The thread that waits is the one that notices changes.
    constexpr std::chrono::milliseconds kLockTimeout{250};
    auto notes = std::make_shared<RuleNotes>();
    store::forEachShownNote(store_url, kLockTimeout,
                            [&](std::int64_t rule, std::string_view note) { notes->add(rule, note); });
    return notes;
}

/// Until the release after the next one, a line of a server has a second one with the name that its event had before.
template <typename Fields>
void logServer(EventLog& log, LogLine line, LogLine former, Fields fields) {
    for (LogLine* one : {&line, &former}) {
        fields(*one);
        log.write(*one);
    }
}

}  // namespace

UpstreamPool::Events poolEvents(EventLog& log) {
    UpstreamPool::Events events;
    events.down = [&log](const UpstreamConfig& upstream, const ServerEndpoint& endpoint,
                         std::string_view why) {
        logServer(log, log.line(LogLevel::Error, "server.down"), log.line(LogLevel::Error, "backend.down"),
                  [&](LogLine& line) {
                      line.text("upstream", upstream.name).text("server", endpoint.server->name);
                      line.text("address", endpoint.endpoint.toString()).text("reason", why);
                  });
    };
    events.up = [&log](const UpstreamConfig& upstream, const ServerEndpoint& endpoint) {
        logServer(log, log.line(LogLevel::Warning, "server.up"), log.line(LogLevel::Warning, "backend.up"),
                  [&](LogLine& line) {
                      line.text("upstream", upstream.name).text("server", endpoint.server->name);
                      line.text("address", endpoint.endpoint.toString());
                  });
    };
    return events;
}

NameWatcher::Events nameEvents(EventLog& log) {
    NameWatcher::Events events;
    events.changed = [&log](const UpstreamConfig& upstream, const ServerConfig& server,
                            const std::vector<Endpoint>& addresses) {
        logServer(log, log.line(LogLevel::Information, "server.resolved"),
                  log.line(LogLevel::Information, "backend.resolved"), [&](LogLine& line) {
                      line.text("upstream", upstream.name).text("server", server.name);
                      line.beginArray("addresses");
                      for (const Endpoint& address : addresses)
                          line.item(address.toString());
                      line.endArray();
                  });
    };
    events.failed = [&log](const UpstreamConfig& upstream, const ServerConfig& server,
                           const std::string& why) {
        logServer(log, log.line(LogLevel::Warning, "server.unresolved"),
                  log.line(LogLevel::Warning, "backend.unresolved"), [&](LogLine& line) {
                      line.text("upstream", upstream.name).text("server", server.name).text("reason", why);
                  });
    };
    return events;
}

store::Journal::Events journalEvents(EventLog& log) {
    store::Journal::Events events;
    events.failed = [&log](const std::string& what) {
        LogLine line = log.line(LogLevel::Error, "journal.failed");
        line.text("detail", what);
        log.write(line);
    };
    events.recovered = [&log](std::uint64_t lost) {
        LogLine line = log.line(LogLevel::Warning, "journal.recovered");
        line.number("lost", static_cast<std::int64_t>(lost));
        log.write(line);
    };
    return events;
}

store::FleetFollower::Events fleetEvents(EventLog& log) {
    store::FleetFollower::Events events;
    events.lost = [&log](const std::string& why) {
        LogLine line = log.line(LogLevel::Error, "fleet.failed");
        line.text("detail", why);
        log.write(line);
    };
    events.found = [&log] {
        LogLine line = log.line(LogLevel::Warning, "fleet.recovered");
        log.write(line);
    };
    events.unforgotten = [&log](const std::string& why) {
        LogLine line = log.line(LogLevel::Error, "fleet.changes_kept");
        line.text("detail", why);
        log.write(line);
    };
    events.overruled = [&log](const std::vector<store::Applied::Lost>& lost) {
        answers::logOverruled(log, lost);
    };
    events.unreadable = [&log](const std::vector<std::string>& rules) {
        for (const std::string& rule : rules) {
            LogLine line = log.line(LogLevel::Error, "fleet.unreadable");
            line.text("detail", rule);
            log.write(line);
        }
    };
    return events;
}

store::JournalShipper::Events shipperEvents(EventLog& log, const std::string& gateway) {
    store::JournalShipper::Events events;
    events.lost = [&log](const std::string& why) {
        LogLine line = log.line(LogLevel::Error, "fleet.journal_failed");
        line.text("detail", why);
        log.write(line);
    };
    events.found = [&log](std::uint64_t behind) {
        LogLine line = log.line(LogLevel::Warning, "fleet.journal_recovered");
        line.number("records", static_cast<std::int64_t>(behind));
        log.write(line);
    };
    events.missed = [&log, gateway](std::uint64_t pieces, const store::MissedRecords& records) {
        LogLine line = log.line(LogLevel::Error, "fleet.journal_missed");
        line.number("pieces", static_cast<std::int64_t>(pieces))
            .number("records", static_cast<std::int64_t>(records.records));
        line.text("detail", store::missedText(records, gateway));
        log.write(line);
    };
    events.rejected = [&log](const std::string& session, const std::string& why) {
        LogLine line = log.line(LogLevel::Error, "fleet.journal_rejected");
        line.text("session", session).text("detail", why);
        log.write(line);
    };
    events.placed = [&log](const std::string& what) {
        LogLine line = log.line(LogLevel::Warning, "fleet.journal_placed");
        line.text("detail", what);
        log.write(line);
    };
    return events;
}

FleetTickets::Events ticketEvents(EventLog& log) {
    FleetTickets::Events events;
    events.shared = [&log] {
        LogLine line = log.line(LogLevel::Information, "fleet.tickets_shared");
        log.write(line);
    };
    events.failed = [&log](const std::string& why) {
        LogLine line = log.line(LogLevel::Error, "fleet.tickets_failed");
        line.text("detail", why);
        log.write(line);
    };
    return events;
}

void logFleetDrain(EventLog& log, const std::pair<std::string, std::string>& server,
                   const std::optional<DrainOrder>& order, const std::string& detail) {
    LogLine line = log.line(LogLevel::Information, order ? "fleet.server_drained" : "fleet.server_ready");
    line.text("upstream", server.first).text("server", server.second);
    if (order) line.text("by", order->by);
    line.text("detail", detail);
    log.write(line);
}

void logFleetDrainFailed(EventLog& log, const std::string& why) {
    LogLine line = log.line(LogLevel::Error, "fleet.servers_failed");
    line.text("detail", why);
    log.write(line);
}

void logPruned(EventLog& log, const store::RuleStore::Pruned& pruned) {
    LogLine line = log.line(LogLevel::Information, "access.pruned");
    line.number("rules", static_cast<std::int64_t>(pruned.rules));
    line.number("entries", static_cast<std::int64_t>(pruned.entries));
    log.write(line);
}

store::AccessWatcher::Events accessEvents(EventLog& log, RulesState& state,
                                          std::vector<std::string> allowlists) {
    store::AccessWatcher::Events events;
    events.changed = [&log, &state, told = std::map<std::string, std::size_t>()](
                         const store::AccessTable& table, double build_seconds) mutable {
        state.loaded_ms = unixMillis();
        state.failed = false;  // of another watcher, whom a reload has replaced before it could tell
        LogLine line = log.line(LogLevel::Information, "access.changed");
        line.number("rules", static_cast<std::int64_t>(table.size()));
        line.number("version", table.version());
        line.number("bytes", static_cast<std::int64_t>(table.memoryBytes()));
        line.number("build_ms", static_cast<std::int64_t>(build_seconds * 1000));
        log.write(line);
        auto unknown = table.unknownListeners(unixMillis() / 1'000);
        if (unknown != told && !unknown.empty()) logUnknownListeners(log, unknown);
        told = std::move(unknown);
    };
    events.failed = [&log, &state](const std::string& what) {
        state.failed = true;
        LogLine line = log.line(LogLevel::Critical, "access.failed");
        line.text("detail", what);
        log.write(line);
    };
    events.recovered = [&log, &state] {
        state.failed = false;
        LogLine line = log.line(LogLevel::Warning, "access.recovered");
        log.write(line);
    };
    events.closed = [&log, allowlists = std::move(allowlists)](const std::vector<std::string>& listeners) {
        for (const std::string& listener : listeners) {
            if (std::find(allowlists.begin(), allowlists.end(), listener) == allowlists.end()) continue;
            LogLine line = log.line(LogLevel::Error, "access.closed");
            line.text("listener", listener).text("detail", nobodyMayEnter(listener));
            log.write(line);
        }
    };
    events.upkeep.expiring = [&log, &state](std::span<const store::AccessRule> fresh, std::size_t all) {
        constexpr std::size_t kMostLines = 10;
        state.expiring = all;
        const std::size_t lines = std::min(fresh.size(), kMostLines);
        for (std::size_t at = 0; at < lines; ++at)
            logExpiring(log, fresh[at], at + 1 == lines ? fresh.size() - lines : 0);
    };
    events.upkeep.pruned = [&log](const store::RuleStore::Pruned& pruned) { logPruned(log, pruned); };
    return events;
}

store::AccessWatcher::Events withRuleNotes(store::AccessWatcher::Events events, const std::string& store_url,
                                           std::shared_ptr<Snapshot<RuleNotes>> notes) {
    events.changed = [changed = std::move(events.changed), store_url, notes = std::move(notes)](
                         const store::AccessTable& table, double build_seconds) {
        try {
            notes->swap(readRuleNotes(store_url));
        } catch (const store::StoreError&) {
            // The next change has them read again; a refusal goes without.
        }
        changed(table, build_seconds);
    };
    return events;
}

names::NameKeeper::Events ruleNameEvents(EventLog& log, std::function<rules::Site()> site) {
    names::NameKeeper::Events events;
    events.changed = [&log, site = std::move(site)](const store::AccessRule& rule, const store::NameState&,
                                                    const store::NameState& now) {
        LogLine line = log.line(LogLevel::Information, "access.name_changed");
        line.number("rule", rule.id).text("name", rule.name);
        line.beginArray("networks");
        for (const Network& network : now.networks)
            line.item(network.toString());
        line.endArray();
        log.write(line);
        for (const std::string& warning : names::warningsOf(now.networks, site())) {
            LogLine warned = log.line(LogLevel::Warning, "access.name_warning");
            warned.number("rule", rule.id).text("name", rule.name).text("detail", warning);
            log.write(warned);
        }
    };
    events.failed = [&log](const store::AccessRule& rule, const store::NameState& now) {
        LogLine line = log.line(LogLevel::Warning, "access.name_failed");
        line.number("rule", rule.id).text("name", rule.name).text("reason", now.error);
        line.number("networks", static_cast<std::int64_t>(now.networks.size()));
        log.write(line);
    };
    return events;
}

void DefectLog::exception(const Poco::Exception& error) {
    report(error.displayText());
}

void DefectLog::exception(const std::exception& error) {
    report(error.what());
}

void DefectLog::exception() {
    report("unknown exception");
}

void DefectLog::report(const std::string& what) {
    LogLine line = log_.line(LogLevel::Critical, "gateway.defect");
    line.text("detail", what);
    log_.write(line);
}

}  // namespace mailgate
