// SPDX-License-Identifier: Apache-2.0
/// \file  The rules that a URL names. Here alone it is known which databases there are: sqlite:PATH.
#pragma once

#include "store/rules/store.h"

#include <memory>
#include <string>

namespace mailgate::store {

/// Creates and migrates as `options.use` allows. Throws StoreError.
std::unique_ptr<RuleStore> openRules(const std::string& url, const RuleStore::Options& options = {});

/// Throws StoreError as opening the database at `url` would, as far as can be seen without doing it. True:
/// there is one.
bool examineDatabase(const std::string& url);

}  // namespace mailgate::store
