// SPDX-License-Identifier: Apache-2.0
#include "gateway/console/question.h"

#include "gateway/console/pages.h"

#include <Poco/JSON/ParseHandler.h>
#include <Poco/JSON/Parser.h>

#include <algorithm>
#include <sstream>
#include <utility>

namespace mailgate::console {

namespace {

using Poco::JSON::Object;

Object::Ptr objectIn(const std::string& body) {
    constexpr bool kPreserveOrder = true;
    Poco::JSON::Parser parser(new Poco::JSON::ParseHandler(kPreserveOrder));
    return parser.parse(body).extract<Object::Ptr>();
}

std::string etagIn(const api::Response& response) {
    for (const auto& [name, value] : response.headers)
        if (name == "ETag") return value;
    return "";
}

}  // namespace

api::Response htmlResponse(std::string html, int status) {
    return {status, std::move(html), "text/html; charset=utf-8", {}};
}

api::Response redirection(std::string_view to) {
    constexpr int kSeeOther = 303;
    api::Response response = htmlResponse("", kSeeOther);
    response.headers.emplace_back("Location", to);
    return response;
}

Answer Question::answerTo(Order order) const {
    api::Request request;
    request.who = known_.who;
    request.method = std::move(order.method);
    request.path = std::move(order.path);
    request.query = std::move(order.query);
    request.if_match = std::move(order.if_match);
    request.has_left = has_left_;
    if (order.body) {
        std::ostringstream body;
        order.body->stringify(body);
        request.body = std::move(body).str();
    }
    const api::Response response = api_.handle(request);
    return {response.status, objectIn(response.body), etagIn(response)};
}

api::Response Question::problemPage(const Answer& answer, const Html& next) const {
    constexpr int kUnavailable = 503;
    api::Response response =
        htmlResponse(messagePage(viewer(), answer.object->optValue<std::string>("title", "Not possible"),
                                 answer.detail(), next),
                     answer.status);
    if (answer.status == kUnavailable) response.headers.emplace_back("Retry-After", "2");
    return response;
}

Viewer Question::viewer() const {
    return {known_.who.name, known_.who.role >= store::Role::Operator, known_.csrf_token,
            known_.who.role >= store::Role::Admin, api_.hasFleet()};
}

Fields only(const Fields& query, std::initializer_list<std::string_view> names) {
    Fields kept;
    for (const auto& field : query)
        if (std::find(names.begin(), names.end(), field.first) != names.end() && !field.second.empty())
            kept.push_back(field);
    return kept;
}

}  // namespace mailgate::console
