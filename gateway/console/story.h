// SPDX-License-Identifier: Apache-2.0
/// \file  A session as what happened in it, one after the other. Pure.
#pragma once

#include "gateway/console/html.h"

#include <Poco/JSON/Object.h>

namespace mailgate::console {

/// Of a session as the API has it (`session.end` or `session.refused`); whatever is missing is left out.
Html storyOf(const Poco::JSON::Object& session);

}  // namespace mailgate::console
