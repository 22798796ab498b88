// SPDX-License-Identifier: Apache-2.0
/// \file  How a fleet is, for people.
#pragma once

#include "gateway/answers/fleet.h"
#include "gateway/cli/screen.h"
#include "gateway/cli/time_text.h"

#include <Poco/JSON/Object.h>

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace mailgate::cli {

/// The database must have answered.
std::string fleetText(const answers::FleetView& view, const ViewOptions& options);

/// That rules expire here at another time than elsewhere; nothing: the clocks agree within a minute. `ahead`: seconds.
std::optional<std::string> clockTrouble(std::int64_t ahead);
/// That another gateway has the same name. `fleet`: of the answer to GET /v1/status; may be null.
std::optional<std::string> nameTrouble(const Poco::JSON::Object::Ptr& fleet, const Times& times);
/// Both of them, of a gateway that runs.
std::vector<std::string> standingTroubles(const Poco::JSON::Object::Ptr& fleet, const Times& times);

/// How this gateway stands to it, whether the database answers or not.
struct FleetStanding {
    std::string unanswered;           ///< why the database has not answered; empty: it has
    Poco::JSON::Object::Ptr gateway;  ///< the answer to GET /v1/status; null: it does not run
};
std::string fleetText(const answers::FleetView& view, const FleetStanding& standing,
                      const ViewOptions& options);
/// As the API has it (docs/openapi.yaml, Fleet).
Poco::JSON::Object fleetAsJson(const answers::FleetView& view, const FleetStanding& standing);

}  // namespace mailgate::cli
