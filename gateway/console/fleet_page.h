// SPDX-License-Identifier: Apache-2.0
/// \file  The page of the fleet: the gateways that share their rules, made of what the API answers. Pure.
#pragma once

#include "gateway/console/layout.h"

#include <Poco/JSON/Object.h>

#include <string>

namespace mailgate::console {

/// Of /fleet.
std::string fleetPage(const Viewer& viewer, const Poco::JSON::Object& found);

}  // namespace mailgate::console
