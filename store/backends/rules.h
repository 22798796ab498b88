// SPDX-License-Identifier: Apache-2.0
/// \file  Opens the rules that a URL names. The only place that knows which databases there are: sqlite:PATH.
#pragma once

#include "store/rules/store.h"

#include <memory>
#include <string>

namespace mailgate::store {

/// Creates and migrates as `options.use` allows. Throws StoreError.
std::unique_ptr<RuleStore> openRules(const std::string& url, const RuleStore::Options& options = {});

/// Throws the StoreError that opening the database at `url` would, as far as can be seen without opening it. True:
/// there is a database.
bool examineDatabase(const std::string& url);

/// Reads all of the database, if there is one. Throws StoreError(Damaged): what is written to it may be lost with it. What else is in the way
/// of that tells whoever uses it.
void requireSound(const std::string& url);

/// Throws StoreError(DiskFull) when there is no room to make the databases of a gateway where this one is, or would be.
void requireRoom(const std::string& url);

}  // namespace mailgate::store
