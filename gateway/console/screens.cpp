// SPDX-License-Identifier: Apache-2.0
#include "gateway/console/screens.h"

#include "gateway/console/assets.h"
#include "protocols/values/text.h"

#include <Poco/Exception.h>
#include <Poco/JSON/ParseHandler.h>
#include <Poco/JSON/Parser.h>
#include <Poco/URI.h>

#include <algorithm>
#include <utility>

namespace mailgate::console {

namespace {

using Poco::JSON::Object;

Object::Ptr objectIn(const std::string& body) {
    constexpr bool kPreserveOrder = true;
    Poco::JSON::Parser parser(new Poco::JSON::ParseHandler(kPreserveOrder));
    return parser.parse(body).extract<Object::Ptr>();
}

Viewer viewerOf(const Known& known) {
    return {known.who.name, known.who.role >= store::Role::Operator, known.csrf_token};
}

/// What the API answers, or the page that says why it does not.
class Question {
  public:
    Question(api::Api& api, const Known& known) : api_(api), known_(known) {}

    template <typename ToPage>
    api::Response ask(std::string method, std::vector<std::string> path,
                      std::vector<std::pair<std::string, std::string>> query, ToPage to_page) const {
        api::Request request;
        request.who = known_.who;
        request.method = std::move(method);
        request.path = std::move(path);
        request.query = std::move(query);
        const api::Response response = api_.handle(request);
        const Object::Ptr object = objectIn(response.body);
        if (response.status < 400) return to_page(*object);
        return htmlResponse(
            messagePage(viewerOf(known_), object->optValue<std::string>("title", "Not possible"),
                        object->optValue<std::string>("detail", "")),
            response.status);
    }

  private:
    api::Api& api_;
    const Known& known_;
};

/// The names of a page's own query that go to the API.
std::vector<std::pair<std::string, std::string>> only(const PageRequest& request,
                                                      std::initializer_list<std::string_view> names) {
    std::vector<std::pair<std::string, std::string>> query;
    for (const auto& field : request.query)
        if (std::find(names.begin(), names.end(), field.first) != names.end() && !field.second.empty())
            query.push_back(field);
    return query;
}

}  // namespace

std::optional<PageRequest> pageRequestFrom(const Poco::Net::HTTPServerRequest& http) {
    const std::string& target = http.getURI();
    if (target.size() > api::kMaxTarget || !target.starts_with('/')) return std::nullopt;
    try {
        PageRequest request;
        const Poco::URI uri(target);
        uri.getPathSegments(request.path);
        request.query = formFields(uri.getRawQuery());
        request.method = http.getMethod();
        request.takes_gzip = takesGzip(http.get("Accept-Encoding", ""));
        request.if_none_match = http.get("If-None-Match", "");
        return request;
    } catch (const Poco::Exception&) {
        return std::nullopt;
    }
}

bool takesGzip(std::string_view field) {
    while (!field.empty()) {
        const std::size_t end = std::min(field.find(','), field.size());
        std::string_view one = field.substr(0, end);
        const std::size_t semicolon = std::min(one.find(';'), one.size());
        const std::string_view weight = trimmed(one.substr(std::min(semicolon + 1, one.size())));
        // "q=0", "q=0.0": everything but that
        const bool is_refused =
            startsWithIgnoreCase(weight, "q=") && weight.find_first_not_of("0.", 2) == std::string_view::npos;
        if (equalsIgnoreCase(trimmed(one.substr(0, semicolon)), "gzip")) return !is_refused;
        field.remove_prefix(std::min(end + 1, field.size()));
    }
    return false;
}

std::vector<std::pair<std::string, std::string>> formFields(std::string_view body) {
    std::vector<std::pair<std::string, std::string>> fields;
    const auto decoded = [](std::string_view text) {
        std::string encoded(text), plain;
        std::replace(encoded.begin(), encoded.end(), '+', ' ');
        Poco::URI::decode(encoded, plain);
        return plain;
    };
    try {
        while (!body.empty()) {
            const std::size_t end = std::min(body.find('&'), body.size());
            const std::string_view field = body.substr(0, end);
            const std::size_t equals = std::min(field.find('='), field.size());
            const std::size_t value = std::min(equals + 1, field.size());
            if (!field.empty())
                fields.emplace_back(decoded(field.substr(0, equals)), decoded(field.substr(value)));
            body.remove_prefix(std::min(end + 1, body.size()));
        }
    } catch (const Poco::Exception&) {
        return {};
    }
    return fields;
}

std::string fieldNamed(const std::vector<std::pair<std::string, std::string>>& fields,
                       std::string_view name) {
    const auto is_named = [&](const auto& field) { return field.first == name; };
    if (std::count_if(fields.begin(), fields.end(), is_named) != 1) return "";
    return std::find_if(fields.begin(), fields.end(), is_named)->second;
}

/// Fetch Metadata where the browser sends it, else the Origin (RFC 6454 7).
bool isOfOurs(const Poco::Net::HTTPServerRequest& http) {
    if (http.has("Sec-Fetch-Site")) {
        const std::string site = http.get("Sec-Fetch-Site");
        return site == "same-origin" || site == "none";
    }
    const std::string origin = http.get("Origin", "");
    return origin.empty() || origin.ends_with("//" + http.get("Host", ""));
}

api::Response htmlResponse(std::string html, int status) {
    return {status, std::move(html), "text/html; charset=utf-8", {}};
}

api::Response redirection(std::string_view to) {
    constexpr int kSeeOther = 303;
    api::Response response = htmlResponse("", kSeeOther);
    response.headers.emplace_back("Location", to);
    return response;
}

std::optional<api::Response> openResponse(const PageRequest& request) {
    if (request.path.size() != 2) return std::nullopt;
    const Asset* const asset = assetAt("/" + request.path[0] + "/" + request.path[1]);
    if (asset == nullptr) return std::nullopt;
    constexpr int kNotModified = 304;
    const std::string tag = "\"" + request.path[1] + (request.takes_gzip ? ".gz\"" : "\"");
    api::Response response{200, "", std::string(asset->content_type), {}};
    response.headers.emplace_back("Cache-Control", "public, max-age=31536000, immutable");
    response.headers.emplace_back("ETag", tag);
    response.headers.emplace_back("Vary", "Accept-Encoding");
    if (request.if_none_match.find(tag) != std::string::npos) {
        response.status = kNotModified;
    } else if (request.takes_gzip) {
        response.body = asset->gzipped;
        response.headers.emplace_back("Content-Encoding", "gzip");
    } else {
        response.body = contentOf(*asset);
    }
    return response;
}

api::Response pageFor(api::Api& api, const Known& known, const PageRequest& request,
                      std::string_view forms_csrf) {
    const Viewer viewer = viewerOf(known);
    const Question question(api, known);
    const auto& path = request.path;
    const bool is_post = request.method == "POST";
    const bool ends = path.size() == 3 && path[0] == "sessions" && path[2] == "end";
    if (is_post && ends) {
        if (!viewer.csrf_token.empty() && forms_csrf != viewer.csrf_token)
            return htmlResponse(
                messagePage(viewer, "Not possible", "This page is too old: go back, and load it again."),
                403);
        return question.ask("DELETE", {"sessions", path[1]}, {},
                            [](const Object&) { return redirection("/sessions/live"); });
    }
    if (request.method != "GET" && request.method != "HEAD")
        return htmlResponse(messagePage(viewer, "Not possible", "This page takes no such request."), 405);
    if (path.empty())
        return question.ask("GET", {"status"}, {},
                            [&](const Object& status) { return htmlResponse(overviewPage(viewer, status)); });
    if (path.size() == 1 && path[0] == "sessions") {
        auto query = only(request, {"q", "as", "cursor"});
        const std::string asked = fieldNamed(request.query, "q");
        if (trimmed(asked).empty())
            std::erase_if(query, [](const auto& field) { return field.first != "cursor"; });
        return question.ask("GET", {"sessions"}, std::move(query), [&](const Object& found) {
            return htmlResponse(sessionsPage(viewer, std::string(trimmed(asked)), found));
        });
    }
    if (path.size() == 2 && path[0] == "sessions" && path[1] == "live")
        return question.ask("GET", {"sessions", "live"}, {}, [&](const Object& found) {
            return htmlResponse(liveSessionsPage(viewer, found));
        });
    if (path.size() == 2 && path[0] == "sessions")
        return question.ask("GET", {"sessions", path[1]}, {},
                            [&](const Object& found) { return htmlResponse(sessionPage(viewer, found)); });
    if (ends && viewer.may_change) return htmlResponse(endSessionPage(viewer, path[1]));
    return htmlResponse(messagePage(viewer, "Not found", "There is no such page."), 404);
}

}  // namespace mailgate::console
