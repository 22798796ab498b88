// SPDX-License-Identifier: Apache-2.0
/// \file  Snapshots as the JSON of docs/admin-api.md.
///
/// Keys keep the order in which people look for them. Texts that a client controls may hold anything: what is
/// not UTF-8 becomes U+FFFD, so the result is JSON for every reader. Any thread.
#pragma once

#include "gateway/admin/control.h"

#include <Poco/JSON/Object.h>

#include <string>

namespace mailgate::admin {

Poco::JSON::Object toJson(const Status& status);
Poco::JSON::Object toJson(const LiveSession& session);

std::string toText(const Poco::JSON::Object& object);

}  // namespace mailgate::admin
