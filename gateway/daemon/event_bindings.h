// SPDX-License-Identifier: Apache-2.0
/// \file  The log lines for callbacks of stores, pools, the name watcher and Poco.
///
/// What is bound to a log must not outlive it.
#pragma once

#include "gateway/daemon/fleet_tickets.h"
#include "gateway/log/event_log.h"
#include "gateway/names/keeper.h"
#include "gateway/session/rule_notes.h"
#include "gateway/upstream/name_watcher.h"
#include "gateway/upstream/upstream_pool.h"
#include "protocols/values/snapshot.h"
#include "store/fleet/follower.h"
#include "store/fleet/shipper.h"
#include "store/journal/journal.h"
#include "store/rules/watcher.h"

#include <Poco/ErrorHandler.h>

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace mailgate {

/// What is known of the rules beside their table.
struct RulesState {
    std::atomic<std::int64_t> loaded_ms{0};  ///< Unix time of the table in force
    std::atomic<bool> failed{false};         ///< they cannot be read; the last table is in force
    std::atomic<std::size_t> expiring{0};    ///< of how many there has been a warning that still holds
};

UpstreamPool::Events poolEvents(EventLog& log);
NameWatcher::Events nameEvents(EventLog& log);
store::Journal::Events journalEvents(EventLog& log);
store::FleetFollower::Events fleetEvents(EventLog& log);
store::JournalShipper::Events shipperEvents(EventLog& log, const std::string& gateway);
FleetTickets::Events ticketEvents(EventLog& log);
/// A drain of the fleet's that was carried out, or taken back, and what came of it.
void logFleetDrain(EventLog& log, const std::pair<std::string, std::string>& server,
                   const std::optional<DrainOrder>& order, const std::string& detail);
void logFleetDrainFailed(EventLog& log, const std::string& why);
void logPruned(EventLog& log, const store::RuleStore::Pruned& pruned);
/// Keeps `state` too, which must live as long. `allowlists`: allowlists() of the configuration.
store::AccessWatcher::Events accessEvents(EventLog& log, RulesState& state,
                                          std::vector<std::string> allowlists);
/// With every change the notes that rules show are read too, from `store_url`; where they cannot be read, those
/// read last stay.
store::AccessWatcher::Events withRuleNotes(store::AccessWatcher::Events events, const std::string& store_url,
                                           std::shared_ptr<Snapshot<RuleNotes>> notes);

/// `site`: that of the configuration in force.
names::NameKeeper::Events ruleNameEvents(EventLog& log, std::function<rules::Site()> site);

/// Poco swallows what escapes a callback; here that is a defect, and has to be seen.
class DefectLog final : public Poco::ErrorHandler {
  public:
    explicit DefectLog(EventLog& log) : log_(log), previous_(Poco::ErrorHandler::set(this)) {}
    ~DefectLog() override { Poco::ErrorHandler::set(previous_); }
    void exception(const Poco::Exception& error) override;
    void exception(const std::exception& error) override;
    void exception() override;

  private:
    void report(const std::string& what);

    EventLog& log_;
    Poco::ErrorHandler* previous_;
};

}  // namespace mailgate
