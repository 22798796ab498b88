// SPDX-License-Identifier: Apache-2.0
/// \file  The page of the servers, made of what the API answers, and its requests.
#pragma once

#include "gateway/console/page_parts.h"
#include "gateway/console/question.h"

#include <Poco/JSON/Object.h>

#include <string>
#include <vector>

namespace mailgate::console {

/// Of /servers. `drains`: of /fleet; none where there is no fleet, or its database does not answer. Pure.
std::string serversPage(const Viewer& viewer, const Poco::JSON::Object& found,
                        const std::vector<Poco::JSON::Object::Ptr>& drains = {});
/// What is asked before a server is drained; `found`: of /servers. Pure.
std::string drainPage(const Viewer& viewer, const std::string& upstream, const std::string& server,
                      const Poco::JSON::Object& found);
/// Of /servers/UPSTREAM/SERVER/probe. Pure.
std::string probePage(const Viewer& viewer, const std::string& name, const Poco::JSON::Object& found);

/// An order to a server, as a button of the page sends it: /servers/UPSTREAM/SERVER/drain, /ready or /probe.
bool isOrderToServer(const std::vector<std::string>& path);
/// What the order does, as a sentence.
std::string orderInWords(const std::vector<std::string>& path);

/// The path begins with "servers"; a POST is known to come from a form of ours.
api::Response serversScreen(const Question& question, const PageRequest& request);

}  // namespace mailgate::console
