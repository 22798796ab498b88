// SPDX-License-Identifier: Apache-2.0
/// \file  How a fleet is, for people.
#pragma once

#include "gateway/answers/fleet.h"
#include "gateway/cli/screen.h"

#include <Poco/JSON/Object.h>

#include <string>

namespace mailgate::cli {

/// The database must have answered.
std::string fleetText(const answers::FleetView& view, const ViewOptions& options);

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
