// SPDX-License-Identifier: Apache-2.0
#include "gateway/console/exchange.h"

#include "gateway/console/own_name.h"
#include "protocols/values/text.h"

#include <Poco/ErrorHandler.h>
#include <Poco/Exception.h>
#include <Poco/URI.h>
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <string_view>
#include <utility>

namespace mailgate::console {

namespace {

namespace net = Poco::Net;

/// Fields that mean one thing, and of which two would mean two.
constexpr std::array<const char*, 11> kSingle{
    "Host",   "Content-Length", "Transfer-Encoding", "Content-Type", "Authorization", "Cookie",
    "Origin", "If-Match",       "X-CSRF-Token",      "Expect",       "Sec-Fetch-Site"};

api::Response defect(const std::exception& error) {
    Poco::ErrorHandler::handle(error);
    return api::problemResponse(500, "defect", error.what());
}

api::Response handled(api::Api& api, const api::Request& request) {
    try {
        return api.handle(request);
    } catch (const Poco::Exception& error) {
        return defect(error);
    } catch (const std::exception& error) {
        return defect(error);
    }
}

/// Empty: it can be taken for one thing.
std::string ambiguityOf(const net::HTTPServerRequest& http) {
    for (const char* const name : kSingle) {
        const auto first = http.find(name);
        if (first == http.end()) continue;
        const auto is_same = [&](const auto& field) { return equalsIgnoreCase(field.first, name); };
        if (std::count_if(http.begin(), http.end(), is_same) > 1)
            return std::string(name) + " comes more than once";
    }
    if (!http.has("Host") && http.getVersion() == net::HTTPMessage::HTTP_1_1) return "Host is missing";
    if (http.has("Content-Length") && http.has("Transfer-Encoding"))
        return "there are both Content-Length and Transfer-Encoding";
    if (http.has("Transfer-Encoding") && !equalsIgnoreCase(http.get("Transfer-Encoding"), "chunked"))
        return "Transfer-Encoding is not chunked";
    return "";
}

}  // namespace

std::optional<api::Response> refusalOf(const net::HTTPServerRequest& http) {
    constexpr int kMalformed = 400, kTooLong = 414, kExpectationFailed = 417;
    if (http.getURI().size() > api::kMaxTarget)
        return api::problemResponse(
            kTooLong, "target_too_long",
            fmt::format("the path and the query have more than {} bytes", api::kMaxTarget));
    if (const std::string why = ambiguityOf(http); !why.empty())
        return api::problemResponse(kMalformed, "ambiguous", why);
    if (http.has("Expect") && !equalsIgnoreCase(http.get("Expect"), "100-continue"))
        return api::problemResponse(kExpectationFailed, "expectation",
                                    "nothing but 100-continue can be expected");
    return std::nullopt;
}

std::optional<api::Response> hostRefusalOf(const net::HTTPServerRequest& http) {
    constexpr int kMalformed = 400;
    for (const char* const name : {"Host", "Origin"})
        if (!hasSoundPort(http.get(name, "")))
            return api::problemResponse(
                kMalformed, "malformed_host",
                std::string(name) + " has no host with a port up to 65535, or without");
    return std::nullopt;
}

api::Response bodyProblem(const http::BodyError& error) {
    return api::problemResponse(error.status, "incomplete_body", error.what());
}

std::optional<std::vector<std::string>> pathOf(std::string_view target) {
    if (!target.starts_with('/') || target.find('#') != std::string_view::npos) return std::nullopt;
    std::vector<std::string> path;
    std::string_view rest = target.substr(0, target.find('?'));
    while (rest != "/" && !rest.empty()) {
        rest.remove_prefix(1);
        const std::string_view segment = rest.substr(0, rest.find('/'));
        rest.remove_prefix(segment.size());
        try {
            Poco::URI::decode(std::string(segment), path.emplace_back());
        } catch (const Poco::Exception&) {
            return std::nullopt;
        }
        if (segment.empty() || path.back().find('/') != std::string::npos || rest == "/" ||
            path.back() == "." || path.back() == "..")
            return std::nullopt;
    }
    return path;
}

std::optional<api::Request> requestFrom(const net::HTTPServerRequest& http) {
    auto path = pathOf(http.getURI());
    if (!path || path->size() < 2 || (*path)[0] != "api" || (*path)[1] != "v1") return std::nullopt;
    api::Request request;
    try {
        request.query = Poco::URI(http.getURI()).getQueryParameters();
    } catch (const Poco::Exception&) {
        return std::nullopt;
    }
    request.path.assign(std::make_move_iterator(path->begin() + 2), std::make_move_iterator(path->end()));
    request.method = http.getMethod();
    request.if_match = http.get("If-Match", "");
    return request;
}

void send(net::HTTPServerResponse& http, const api::Response& response) {
    http.setStatusAndReason(static_cast<net::HTTPResponse::HTTPStatus>(response.status));
    http.setContentType(response.content_type);
    http.set("Cache-Control", "no-store");
    http.set("X-Content-Type-Options", "nosniff");
    http.set("Content-Security-Policy",
             "default-src 'self'; frame-ancestors 'none'; base-uri 'none'; form-action 'self'");
    http.set("Referrer-Policy", "no-referrer");
    for (const auto& [name, value] : response.headers)
        http.set(name, value);
    http.sendBuffer(response.body.data(), response.body.size());
}

api::Response answerTo(api::Api& api, http::Server& server, api::Request request,
                       net::HTTPServerRequest& http) {
    const std::size_t most = api::Api::mostBody(request);
    // Else nobody waits for what comes.
    if (most > 0 && http.hasContentLength() && http.getContentLength64() > static_cast<Poco::Int64>(most))
        request.body.assign(most + 1, ' ');  // too large, whatever is in it
    else if (most > 0)
        request.body = http::readBody(http, most, server);
    // The gateway's end does not wait for what is only read.
    const bool reads = request.method == "GET" || request.method == "HEAD";
    request.has_left = [&server, reads] { return server.hasPeerLeft() || (reads && server.isStopping()); };
    server.suspendPeerLimit();
    api::Response answered = handled(api, request);
    server.restartPeerLimit();
    return answered;
}

void answer(api::Api& api, http::Server& server, const std::string& user, net::HTTPServerRequest& http,
            net::HTTPServerResponse& response) {
    if (const auto refusal = refusalOf(http)) return send(response, *refusal);
    auto request = requestFrom(http);
    if (!request) return send(response, api::problemResponse(404, "not_found", "there is nothing here"));
    request->who = {user, store::Role::Admin};
    try {
        send(response, answerTo(api, server, std::move(*request), http));
    } catch (const http::BodyError& error) {
        send(response, bodyProblem(error));
    }
}

}  // namespace mailgate::console
