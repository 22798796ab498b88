// SPDX-License-Identifier: Apache-2.0
#include "gateway/console/screens.h"

#include "gateway/base/clock.h"
#include "gateway/console/assets.h"
#include "gateway/console/configuration_page.h"
#include "gateway/console/exchange.h"
#include "gateway/console/fleet_page.h"
#include "gateway/console/own_name.h"
#include "gateway/console/page_parts.h"
#include "gateway/console/pages.h"
#include "gateway/console/rules_screen.h"
#include "gateway/console/servers_page.h"
#include "protocols/values/text.h"

#include <Poco/JSON/Object.h>

#include <algorithm>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace mailgate::console {

namespace {

/// More than that nobody reads before they change.
Fields liveQuery() {
    return {{"limit", "100"}};
}

bool isOfLiveSessions(const PageRequest& request) {
    return request.path == std::vector<std::string>{"sessions", "live"};
}

constexpr std::size_t kUsualForm = std::size_t{64} << 10;

bool endsSession(const PageRequest& request) {
    return request.path.size() == 3 && request.path[0] == "sessions" && request.path[2] == "end";
}

/// Of a form with these names, all that it has; nothing: that is more than is shown again.
std::optional<Fields> keptOf(const Fields& form, const std::vector<std::string_view>& names) {
    Fields kept;
    std::size_t size = 0;
    for (const auto& field : form) {
        if (std::ranges::find(names, field.first) == names.end()) continue;
        size += field.first.size() + field.second.size();
        if (size > kUsualForm) return std::nullopt;
        kept.push_back(field);
    }
    return kept;
}

/// Of what may be sent once more: pages of rules show what a form would do before they do it, and orders are named. Nothing: the form
/// is none of those, or too large.
std::optional<Again> againOf(const PageRequest& request) {
    const auto& path = request.path;
    Again again;
    for (const std::string& segment : path)
        again.path += "/" + percentEncoded(segment);
    if (isOrderToServer(path)) {
        again.place = Place::Servers;
        again.what = orderInWords(path);
        again.button = "Do it";
        again.back = "/servers";
        return again;
    }
    if (endsSession(request)) {
        again.place = Place::Live;
        again.what = "End session " + path[1];
        again.button = "End session";
        again.back = "/sessions/live";
        return again;
    }
    const auto names = !path.empty() && path[0] == "rules" ? namesOfRulesForm(path) : std::nullopt;
    auto kept = names ? keptOf(request.form, *names) : std::nullopt;
    if (!kept) return std::nullopt;
    again.place = Place::Rules;
    again.fields = std::move(*kept);
    again.button = "See what it would do";
    again.back = "/rules";
    return again;
}

/// Those that have ended: all that are found, or one.
bool isOfSessions(const std::vector<std::string>& path) {
    return !path.empty() && path[0] == "sessions" && path.size() <= 2;
}

/// Of this gateway's own journal, or of a fleet's; where that cannot be asked there is the way to the former.
api::Response sessionsScreen(const Question& question, const PageRequest& request) {
    const Viewer viewer = question.viewer();
    const Fields whose = only(request.query, {"gateways", "gateway"});
    const std::string asked(trimmed(fieldNamed(request.query, "q")));
    const bool is_one = request.path.size() == 2;
    Fields query = whose;
    if (!is_one)
        for (const auto& field : only(request.query, {"q", "as", "cursor"}))
            if (!asked.empty() || field.first == "cursor") query.push_back(field);
    const Answer answer = question.answerTo({.path = request.path, .query = std::move(query)});
    if (answer.ok())
        return htmlResponse(is_one ? sessionPage(viewer, *answer.object)
                                   : sessionsPage(viewer, asked, *answer.object, whose));
    Html next;
    if (!whose.empty())
        next.markup("<p><a href=\"")
            .text(is_one ? "/sessions/" + percentEncoded(request.path[1])
                         : "/sessions?q=" + percentEncoded(asked))
            .markup("\">What this gateway itself has seen</a></p>");
    return question.problemPage(answer, next);
}

api::Response tooOld(const Viewer& viewer, const PageRequest& request) {
    constexpr int kForbidden = 403;
    const auto again = viewer.may_change ? againOf(request) : std::nullopt;
    return htmlResponse(
        again ? againPage(viewer, *again)
              : messagePage(viewer, "Not possible", "This page is too old: go back, and load it again."),
        kForbidden);
}

}  // namespace

using Poco::JSON::Object;

std::optional<PageRequest> pageRequestFrom(const Poco::Net::HTTPServerRequest& http) {
    auto path = pathOf(http.getURI());
    if (!path) return std::nullopt;
    PageRequest request;
    request.path = std::move(*path);
    if (const std::size_t query = http.getURI().find('?'); query != std::string::npos)
        request.query = formFields(std::string_view(http.getURI()).substr(query + 1));
    request.method = http.getMethod();
    request.takes_gzip = takesGzip(http.get("Accept-Encoding", ""));
    request.if_none_match = http.get("If-None-Match", "");
    return request;
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

/// Fetch Metadata where the browser sends it, else the Origin (RFC 6454 7).
bool isOfOurs(const Poco::Net::HTTPServerRequest& http, const std::string& base_url) {
    if (http.has("Sec-Fetch-Site")) {
        const std::string site = http.get("Sec-Fetch-Site");
        return site == "same-origin" || site == "none";
    }
    const std::string origin = http.get("Origin", "");
    return origin.empty() || isOwnOrigin(origin, http.get("Host", ""), base_url);
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

bool takesForm(const PageRequest& request) {
    const auto& path = request.path;
    return path == std::vector<std::string>{"logout"} || isOrderToServer(path) || endsSession(request) ||
           (!path.empty() && path[0] == "rules" && namesOfRulesForm(path));
}

std::size_t mostForm(const PageRequest& request) {
    const bool imports = request.path == std::vector<std::string>{"rules", "import"};
    // Of a list that was previewed each end of a line comes as two characters.
    return imports ? 2 * kMostList + kUsualForm : kUsualForm;
}

bool isOfPart(const PageRequest& request) {
    return request.method == "GET" && (request.path.empty() || isOfLiveSessions(request));
}

api::Response partFor(api::Api& api, const Known& known, const PageRequest& request) {
    const Question question(api, known);
    if (request.path.empty())
        return question.ask("GET", {"status"}, {}, [&](const Object& status) {
            const Answer day = question.answerTo({.path = {"sessions", "day"}});
            return htmlResponse(
                overviewPart(status, unixMillis(), day.ok() ? day.object.get() : nullptr).str());
        });
    const bool may_change = question.viewer().may_change;
    return question.ask("GET", {"sessions", "live"}, liveQuery(), [&](const Object& found) {
        return htmlResponse(liveSessionsPart(may_change, found).str());
    });
}

api::Response pageFor(api::Api& api, const Known& known, const PageRequest& request,
                      const std::function<bool()>& has_left) {
    const Question question(api, known, has_left);
    const Viewer viewer = question.viewer();
    const auto& path = request.path;
    const bool is_post = request.method == "POST";
    if (is_post && !viewer.csrf_token.empty() && fieldNamed(request.form, "csrf_token") != viewer.csrf_token)
        return tooOld(viewer, request);
    if (!is_post && request.method != "GET" && request.method != "HEAD")
        return htmlResponse(messagePage(viewer, "Not possible", "This page takes no such request."), 405);
    if (!path.empty() && path[0] == "rules") return rulesScreen(question, request);
    if (!path.empty() && path[0] == "servers") return serversScreen(question, request);
    if (!path.empty() && path[0] == "configuration") return configurationScreen(question, request);
    const bool ends = endsSession(request);
    if (is_post && ends)
        return question.ask("DELETE", {"sessions", path[1]}, {},
                            [](const Object&) { return redirection("/sessions/live"); });
    if (path.empty())
        return question.ask("GET", {"status"}, {}, [&](const Object& status) {
            const Answer day = question.answerTo({.path = {"sessions", "day"}});
            return htmlResponse(
                overviewPage(viewer, status, unixMillis(), day.ok() ? day.object.get() : nullptr));
        });
    if (path.size() == 1 && path[0] == "fleet")
        return question.ask("GET", {"fleet"}, {},
                            [&](const Object& found) { return htmlResponse(fleetPage(viewer, found)); });
    if (isOfLiveSessions(request))
        return question.ask("GET", {"sessions", "live"}, liveQuery(), [&](const Object& found) {
            return htmlResponse(liveSessionsPage(viewer, found));
        });
    if (isOfSessions(path)) return sessionsScreen(question, request);
    if (ends && viewer.may_change) return htmlResponse(endSessionPage(viewer, path[1]));
    return htmlResponse(messagePage(viewer, "Not found", "There is no such page."), 404);
}

}  // namespace mailgate::console
