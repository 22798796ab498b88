// SPDX-License-Identifier: Apache-2.0
/// \file  Opens the database of a fleet that a URL names, and rules that are a fleet's.
#pragma once

#include "store/fleet/fleet.h"
#include "store/fleet/journal.h"
#include "store/fleet/shared_journal.h"
#include "store/fleet/sharing.h"
#include "store/rules/store.h"

#include <functional>
#include <memory>
#include <optional>
#include <string>

namespace mailgate::store {

/// Connects to nobody yet. `notifies`: its wait() is told of changes where that works. Throws StoreError(BadInput).
std::unique_ptr<FleetStore> openFleet(const std::string& url, const FleetStore::Patience& patience = {},
                                      bool notifies = false);

/// Copies the rules, with their log of changes, to a database that has the tables and either no rules yet or an earlier copy of
/// these, in one transaction, while nobody changes them. `commits` is called from when on it cannot be called
/// off any more. Throws StoreError; then nothing was copied.
FleetCopy copyFleet(
    const std::string& from, const std::string& to, const std::function<void()>& commits = [] {});

/// Where a gateway's journal goes. Likewise.
std::unique_ptr<SharedJournal> openSharedJournal(const std::string& url, const JournalOwner& owner);

/// Where a gateway with rules at `url` keeps which of its processes have written its journal there (store/fleet/lineage.h).
std::string lineageFile(const std::string& url);

/// Throws StoreError where another gateway of that name than the one with rules at `url` has just been heard of in the fleet.
void requireOnlyGateway(const std::string& url, const std::string& fleet_url, const std::string& gateway);

/// The journals of its gateways. Connects to nobody yet. Throws StoreError(BadInput).
std::unique_ptr<FleetJournal> openFleetJournal(const std::string& url, const FleetJournal::Options& options);

/// What is known of a URL without asking anybody.
struct FleetUrl {
    std::string shown;     ///< without a password
    std::string role;      ///< empty: libpq's default
    std::string database;  ///< likewise
    bool has_password = false;
    std::string password_file;     ///< passfile; empty: libpq's default
    bool is_refused_file = false;  ///< libpq does not use it: it is not for its owner alone
    std::string
        unverified;  ///< the sslmode that lets others answer in the server's place; empty: there is none
};
/// Throws StoreError(BadInput), without a word of the URL.
FleetUrl describeFleetUrl(const std::string& url);

/// As openRules(), and where `fleet_url` is not empty each change goes to that fleet, in the name of `gateway`. `overruled` is told
/// what was lost by what the fleet had changed before.
std::unique_ptr<RuleStore> openSharedRules(const std::string& url, const std::string& fleet_url,
                                           const std::string& gateway, const RuleStore::Options& options = {},
                                           const FleetSharing::Overruled& overruled = {});

/// The rules at `url` as a part of a fleet.
std::unique_ptr<Replica> openReplica(const std::string& url, const RuleStore::Options& options);

}  // namespace mailgate::store
