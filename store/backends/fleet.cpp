// SPDX-License-Identifier: Apache-2.0
#include "store/backends/fleet.h"

#include "store/backends/rules.h"
#include "store/fleet/postgres/conninfo.h"
#include "store/fleet/postgres/copy_fleet.h"
#include "store/fleet/postgres/journal_reader.h"
#include "store/fleet/postgres/journal_writer.h"
#include "store/fleet/postgres/store.h"
#include "store/fleet/shipping.h"
#include "store/rules/sqlite/store.h"
#include "store/sqlite/database.h"

#include <algorithm>
#include <utility>

namespace mailgate::store {

std::unique_ptr<FleetStore> openFleet(const std::string& url, const FleetStore::Patience& patience,
                                      bool notifies) {
    return postgres::openFleet(url, patience, notifies);
}

FleetCopy copyFleet(const std::string& from, const std::string& to, const std::function<void()>& commits) {
    return postgres::copyFleet(from, to, commits);
}

std::unique_ptr<SharedJournal> openSharedJournal(const std::string& url, const JournalOwner& owner) {
    // Of thousands of records at once.
    constexpr FleetStore::Patience kPatience{.answer = std::chrono::milliseconds(10'000)};
    return postgres::openSharedJournal(url, kPatience, owner);
}

std::string lineageFile(const std::string& url) {
    return sqlite::pathOf(url) + "-fleet";
}

void requireOnlyGateway(const std::string& url, const std::string& fleet_url, const std::string& gateway) {
    requireOnlyWriter(*openSharedJournal(fleet_url, {.gateway = gateway, .process = ""}), gateway,
                      Lineage(lineageFile(url)));
}

std::unique_ptr<FleetJournal> openFleetJournal(const std::string& url, const FleetJournal::Options& options) {
    return postgres::openJournal(url, options);
}

FleetUrl describeFleetUrl(const std::string& url) {
    const postgres::Conninfo info = postgres::parseUrl(url);
    FleetUrl described{.shown = info.shown,
                       .role = info.role,
                       .database = info.option("dbname"),
                       .has_password = !info.password.empty(),
                       .password_file = info.option("passfile"),
                       .is_refused_file = postgres::isRefusedPasswordFile(info.option("passfile")),
                       .unverified = ""};
    const bool here =
        std::all_of(info.hosts.begin(), info.hosts.end(), [](const auto& host) { return host.isHere(); });
    if (!here && info.option("sslmode") != "verify-full") described.unverified = info.option("sslmode");
    return described;
}

std::unique_ptr<RuleStore> openSharedRules(const std::string& url, const std::string& fleet_url,
                                           const std::string& gateway, const RuleStore::Options& options,
                                           const FleetSharing::Overruled& overruled) {
    if (fleet_url.empty()) return openRules(url, options);
    // Whoever makes the change waits: without a database it is refused within a second.
    constexpr FleetStore::Patience kPatience{.connect = std::chrono::milliseconds(800)};
    RuleStore::Options shared = options;
    shared.sharing = std::make_shared<FleetSharing>(openFleet(fleet_url, kPatience), gateway, overruled);
    return openRules(url, shared);
}

std::unique_ptr<Replica> openReplica(const std::string& url, const RuleStore::Options& options) {
    return sqlite::openReplica(sqlite::pathOf(url), options);
}

}  // namespace mailgate::store
