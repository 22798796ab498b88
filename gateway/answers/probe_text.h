// SPDX-License-Identifier: Apache-2.0
/// \file  What was found out about a server's PROXY headers, as JSON. Pure functions.
#pragma once

#include "gateway/config/config.h"
#include "gateway/upstream/probe.h"

#include <Poco/JSON/Object.h>

#include <string>
#include <vector>

namespace mailgate::answers {

inline constexpr const char* kUnresolved = "its name cannot be resolved";

/// `address`: the one that was asked; `advice`: adviseOn().
Poco::JSON::Object::Ptr probeAsJson(const UpstreamConfig& upstream, const ServerConfig& server,
                                    const std::string& address, const ProbeReport& report,
                                    const std::vector<std::string>& advice);
/// Of a server without an address, which cannot be asked.
Poco::JSON::Object::Ptr unresolvedAsJson(const UpstreamConfig& upstream, const ServerConfig& server);

}  // namespace mailgate::answers
