// SPDX-License-Identifier: Apache-2.0
/// \file  The access rules in an SQLite file. Internal to store/.
///
/// SQLite does not notify of another process' commit, so it is looked for: `PRAGMA data_version` differs
/// then. The file is watched, too: one that was put in its place, that is gone, or that was written behind
/// SQLite's back is opened anew, and checked.
#pragma once

#include "store/rules/replica.h"
#include "store/rules/store.h"

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>

namespace mailgate::store::sqlite {

std::unique_ptr<RuleStore> openRules(const std::string& path, const RuleStore::Options& options);
/// The same, as a part of a fleet.
std::unique_ptr<Replica> openReplica(const std::string& path, const RuleStore::Options& options);

/// The notes that rules show to whom they deny, with their ids: read by an index of such rules.
void forEachShownNote(const std::string& path, const RuleStore::Options& options,
                      const std::function<void(std::int64_t rule_id, std::string_view note)>& visit);

}  // namespace mailgate::store::sqlite
