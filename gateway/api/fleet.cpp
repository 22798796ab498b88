// SPDX-License-Identifier: Apache-2.0
// The gateways that share their rules with this one.
#include "gateway/answers/fleet.h"
#include "gateway/admin/json.h"
#include "gateway/api/handlers.h"
#include "gateway/api/problem.h"
#include "gateway/api/values.h"
#include "gateway/log/escape.h"

#include <Poco/Dynamic/Var.h>
#include <Poco/JSON/Object.h>
#include <fmt/format.h>

#include <chrono>
#include <memory>
#include <mutex>
#include <string>
#include <utility>

namespace mailgate::api {

namespace {

using Poco::Dynamic::Var;
using Poco::JSON::Object;

struct FleetAnswer {
    answers::FleetView view;
    std::string failure;  ///< why the database's part of it is not known; empty: it is
};

/// Somebody waits for it: all together it takes about a second, whatever the database does.
FleetAnswer askBriefly(const Config& config) {
    using std::chrono::milliseconds;
    constexpr milliseconds kFile{250};
    constexpr store::FleetStore::Patience kDatabase{.connect = milliseconds(500),
                                                    .answer = milliseconds(250)};
    FleetAnswer answer{answers::fleetViewHere(config, kFile), {}};
    try {
        answers::askFleet(answer.view, config, kDatabase);
    } catch (const store::StoreError& error) {
        answer.failure = error.what();
    }
    return answer;
}

/// However many ask, the database is asked once in two seconds, and who waits, waits for one answer.
class LastAnswer {
  public:
    FleetAnswer get(const std::shared_ptr<const Config>& config) {
        constexpr std::chrono::seconds kKept{2};
        const std::lock_guard lock(mutex_);
        if (config == config_ && std::chrono::steady_clock::now() < until_) return answer_;
        config_.reset();
        answer_ = askBriefly(*config);
        config_ = config;
        until_ = std::chrono::steady_clock::now() + kKept;
        return answer_;
    }

  private:
    std::mutex mutex_;
    std::shared_ptr<const Config> config_;  ///< that was asked for; null: nothing is kept
    std::chrono::steady_clock::time_point until_;
    FleetAnswer answer_;
};

}  // namespace

Response fleet(const Call& call) {
    static LastAnswer last;
    QueryValues(call.request).rejectOthers();
    if (call.config->fleet.url.empty())
        throw Problem(404, "no_fleet",
                      "this gateway has its rules for itself: url in [fleet] names the database of a fleet");
    FleetAnswer answer = last.get(call.config);
    admin::Status status = call.parts.control.status();
    if (!call.isToldOfErrors()) {
        if (!answer.failure.empty())
            answer.failure = fmt::format("the database cannot be used: {}", kToldToAdmins);
        for (std::string* why : {&answer.view.failure, &status.fleet.failure, &status.fleet_journal.failure})
            if (!why->empty()) *why = kToldToAdmins;
    }
    Object object = answers::fleetAsJson(answer.view);
    Object::Ptr here = object.getObject("here");
    here->set("sessions", status.live);
    object.set("here", here);
    object.set("failure", answer.failure.empty() ? Var() : Var(escaped(answer.failure)));
    object.set("standing", admin::toJson(status).get("fleet"));
    return jsonResponse(visibleJson(admin::toText(object)));
}

}  // namespace mailgate::api
