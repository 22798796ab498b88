// SPDX-License-Identifier: Apache-2.0
/// \file  How a fleet is, for people.
#pragma once

#include "gateway/answers/fleet.h"
#include "gateway/cli/screen.h"

#include <string>

namespace mailgate::cli {

/// The database must have answered.
std::string fleetText(const answers::FleetView& view, const ViewOptions& options);

}  // namespace mailgate::cli
