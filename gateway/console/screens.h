// SPDX-License-Identifier: Apache-2.0
/// \file  The requests of browsers: which page, by which question to the API. As for programs, who asks is known before.
#pragma once

#include "gateway/api/api.h"
#include "gateway/console/authenticator.h"
#include "gateway/console/question.h"

#include <Poco/Net/HTTPServerRequest.h>

#include <cstddef>
#include <functional>
#include <optional>

namespace mailgate::console {

/// Of an Accept-Encoding field (RFC 9110 12.5.3).
bool takesGzip(std::string_view field);
/// None: the target is not well-formed.
std::optional<PageRequest> pageRequestFrom(const Poco::Net::HTTPServerRequest& http);

/// Whether a page of ours has sent it, as far as the browser says. `base_url`: of the configuration.
bool isOfOurs(const Poco::Net::HTTPServerRequest& http, const std::string& base_url);

/// What needs nobody to be known: the files that pages load.
std::optional<api::Response> openResponse(const PageRequest& request);
/// Whether there is a form that is sent there, and how large it may be.
bool takesForm(const PageRequest& request);
std::size_t mostForm(const PageRequest& request);
/// Whether partFor() has something for it.
bool isOfPart(const PageRequest& request);
/// What a page that is shown asks for again by itself: the same for all of a role.
api::Response partFor(api::Api& api, const Known& known, const PageRequest& request);
/// A page for somebody who is known; what is sent, to what takesForm(). `has_left`: as a request of the API has it.
api::Response pageFor(api::Api& api, const Known& known, const PageRequest& request,
                      const std::function<bool()>& has_left);

}  // namespace mailgate::console
