// SPDX-License-Identifier: Apache-2.0
/// \file  The page of the configuration in force, made of what the API answers, and its requests.
#pragma once

#include "gateway/console/page_parts.h"
#include "gateway/console/question.h"

#include <Poco/JSON/Object.h>

#include <string>

namespace mailgate::console {

/// Of /configuration and /snippets. Pure.
std::string configurationPage(const Viewer& viewer, const Poco::JSON::Object& configuration,
                              const Poco::JSON::Object& snippets);
/// Of /snippets/NAME. Pure.
std::string snippetPage(const Viewer& viewer, const Poco::JSON::Object& snippet);

/// The path begins with "configuration".
api::Response configurationScreen(const Question& question, const PageRequest& request);

}  // namespace mailgate::console
