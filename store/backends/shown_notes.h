// SPDX-License-Identifier: Apache-2.0
/// \file  The notes that rules show to whom they deny, without reading the other rules.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <string>
#include <string_view>

namespace mailgate::store {

/// Of the rules that the URL names, with their ids; creates and changes nothing. `lock_timeout`: how long to wait for
/// another process. Throws StoreError.
void forEachShownNote(const std::string& url, std::chrono::milliseconds lock_timeout,
                      const std::function<void(std::int64_t rule_id, std::string_view note)>& visit);

}  // namespace mailgate::store
