// SPDX-License-Identifier: Apache-2.0
/// \file  The API's requests and responses as HTTP carries them, whichever way it comes.
#pragma once

#include "gateway/api/api.h"
#include "gateway/http/body.h"
#include "gateway/http/server.h"

#include <Poco/Net/HTTPServerRequest.h>
#include <Poco/Net/HTTPServerResponse.h>

#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace mailgate::console {

/// The answer to what can be taken for two things, so that somebody in front of us may have seen another (400), or expects what is not
/// to be had (417), or to a target that is too long (414); nothing: to others.
std::optional<api::Response> refusalOf(const Poco::Net::HTTPServerRequest& http);
/// Likewise where Host or Origin has no host and port.
std::optional<api::Response> hostRefusalOf(const Poco::Net::HTTPServerRequest& http);

/// To who has not sent what the request has said.
api::Response bodyProblem(const http::BodyError& error);

/// The segments of a target's path, decoded; none for "/". Nothing: it is not a path to the letter, and who is in front of us may take
/// it for another: an empty segment, a slash that is encoded, "." and ".." (encoded or not), a fragment.
std::optional<std::vector<std::string>> pathOf(std::string_view target);

/// Without who asks and without the body. None: the target is not well-formed, or not the API's.
std::optional<api::Request> requestFrom(const Poco::Net::HTTPServerRequest& http);

/// That a browser is to keep to itself, and to take for nothing else.
void send(Poco::Net::HTTPServerResponse& http, const api::Response& response);

/// Any path of the API for who has been let in already, as on the Unix socket: with all rights.
void answer(api::Api& api, http::Server& server, const std::string& user, Poco::Net::HTTPServerRequest& http,
            Poco::Net::HTTPServerResponse& response);

/// Reads the body, where there may be one, and has the request answered. Throws as http::readBody().
api::Response answerTo(api::Api& api, http::Server& server, api::Request request,
                       Poco::Net::HTTPServerRequest& http);

}  // namespace mailgate::console
