// SPDX-License-Identifier: Apache-2.0
/// \file  What the API works with.
#pragma once

#include "gateway/admin/control.h"
#include "gateway/config/config.h"
#include "gateway/log/event_sink.h"
#include "store/rules/service.h"

#include <chrono>
#include <cstddef>
#include <functional>
#include <memory>

namespace mailgate::api {

/// What is asked. Outlives the Api; its functions may be called from any thread.
struct Parts {
    admin::Control& control;
    std::function<std::shared_ptr<const Config>()> config;  ///< the one in force
    std::function<rules::Site(const Config&)> site;         ///< what of it changes of rules are judged by
    EventSink* log = nullptr;                               ///< null: orders are not logged
    std::chrono::milliseconds patience{10'000};             ///< of who waits for a turn at what takes long
    std::size_t most_compared = 300'000;  ///< rules with each other, for which all are in memory
};

}  // namespace mailgate::api
