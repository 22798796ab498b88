// SPDX-License-Identifier: Apache-2.0
/// \file  The requests of browsers: which page, by which question to the API. As for programs, who asks is known before.
#pragma once

#include "gateway/api/api.h"
#include "gateway/console/authenticator.h"
#include "gateway/console/pages.h"

#include <Poco/Net/HTTPServerRequest.h>

#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace mailgate::console {

/// A request of a page, as far as the target tells.
struct PageRequest {
    std::string method;
    std::vector<std::string> path;  ///< decoded; may hold anything
    std::vector<std::pair<std::string, std::string>> query;
    bool takes_gzip = false;
    std::string if_none_match;
};
/// Of an Accept-Encoding field (RFC 9110 12.5.3).
bool takesGzip(std::string_view field);
/// None: the target is too long or not well-formed.
std::optional<PageRequest> pageRequestFrom(const Poco::Net::HTTPServerRequest& http);

/// The fields of a form (application/x-www-form-urlencoded); empty when it is none. `body` may be anything.
std::vector<std::pair<std::string, std::string>> formFields(std::string_view body);
/// The one of that name; empty: there is none, or more than one.
std::string fieldNamed(const std::vector<std::pair<std::string, std::string>>& fields, std::string_view name);

/// Whether a page of ours has sent it, as far as the browser says.
bool isOfOurs(const Poco::Net::HTTPServerRequest& http);

api::Response htmlResponse(std::string html, int status = 200);
/// To another page, with GET.
api::Response redirection(std::string_view to);

/// What needs nobody to be known: the files that pages load.
std::optional<api::Response> openResponse(const PageRequest& request);
/// A page for somebody who is known; `forms_csrf`: what a form had as csrf_token.
api::Response pageFor(api::Api& api, const Known& known, const PageRequest& request,
                      std::string_view forms_csrf);

}  // namespace mailgate::console
