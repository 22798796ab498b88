// SPDX-License-Identifier: Apache-2.0
#include "gateway/api/api.h"

#include "gateway/api/handlers.h"
#include "gateway/api/problem.h"
#include "gateway/api/values.h"
#include "gateway/log/escape.h"
#include "store/store_error.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <string>
#include <string_view>
#include <vector>

namespace mailgate::api {

namespace {

using store::Role;

constexpr std::string_view kAny = "*";
constexpr int kUnavailable = 503;

struct Route {
    std::string_view method, pattern;
    Role least;
    Response (*handle)(const Call&);
    std::string_view
        order{};  ///< as the log has one that was not carried out; "*": the path's last segment; empty: it is none
    std::size_t max_body = kMaxBody;
};

// The first that matches: names that are fixed come before those that may be anything.
constexpr Route kRoutes[] = {
    {"GET", "/status", Role::Viewer, status},
    {"GET", "/servers", Role::Viewer, servers},
    {"POST", "/servers/*/*/probe", Role::Operator, probe, kAny},
    {"POST", "/servers/*/*/*", Role::Operator, setServer, kAny},
    {"GET", "/fleet", Role::Viewer, fleet},
    {"GET", "/configuration", Role::Admin, configuration},
    {"GET", "/snippets", Role::Admin, snippets},
    {"GET", "/snippets/*", Role::Admin, snippet},
    {"GET", "/sessions", Role::Viewer, sessions},
    {"GET", "/sessions/live", Role::Viewer, liveSessions},
    {"GET", "/sessions/day", Role::Viewer, daySessions},
    {"GET", "/sessions/*", Role::Viewer, session},
    {"DELETE", "/sessions/*", Role::Operator, endSession, "kill"},
    {"GET", "/rules", Role::Viewer, rules},
    {"POST", "/rules", Role::Operator, addRules, "add rules"},
    {"GET", "/rules/test", Role::Viewer, testRules},
    {"GET", "/rules/history", Role::Viewer, ruleHistory},
    {"POST", "/rules/import", Role::Operator, importRules, "import rules", kMaxImport},
    {"POST", "/rules/undo", Role::Operator, undoChange, "undo"},
    {"POST", "/rules/remove", Role::Operator, removeRules, "remove rules"},
    {"GET", "/rules/sets", Role::Viewer, ruleSets},
    {"GET", "/rules/*", Role::Viewer, rule},
    {"PATCH", "/rules/*", Role::Operator, editRule, "edit rule"},
    {"DELETE", "/rules/*", Role::Operator, removeRule, "remove rule"},
};

std::vector<std::string_view> segmentsOf(std::string_view pattern) {
    std::vector<std::string_view> segments;
    while (!pattern.empty()) {
        pattern.remove_prefix(1);
        const std::size_t end = std::min(pattern.find('/'), pattern.size());
        segments.push_back(pattern.substr(0, end));
        pattern.remove_prefix(end);
    }
    return segments;
}

bool matches(std::string_view pattern, const std::vector<std::string>& path) {
    return std::ranges::equal(segmentsOf(pattern), path,
                              [](std::string_view wanted, const std::string& segment) {
                                  return wanted == kAny ? !segment.empty() : wanted == segment;
                              });
}

bool isFixed(std::string_view pattern) noexcept {
    return pattern.find('*') == std::string_view::npos;
}

/// Of the routes of this path: a name that is fixed is no place of any name.
std::vector<const Route*> routesOf(const std::vector<std::string>& path) {
    std::vector<const Route*> routes;
    for (const Route& route : kRoutes)
        if (matches(route.pattern, path)) routes.push_back(&route);
    if (std::ranges::any_of(routes, [](const Route* route) { return isFixed(route->pattern); }))
        std::erase_if(routes, [](const Route* route) { return !isFixed(route->pattern); });
    return routes;
}

Response methodProblem(const std::vector<const Route*>& routes) {
    std::vector<std::string_view> allowed;
    allowed.reserve(routes.size());
    for (const Route* route : routes)
        allowed.push_back(route->method);
    Response response = problemResponse(405, "method_not_allowed",
                                        fmt::format("this path takes {}", fmt::join(allowed, ", ")));
    response.headers.emplace_back("Allow", fmt::format("{}", fmt::join(allowed, ", ")));
    return response;
}

constexpr const char* kGivenUp = "given_up";

/// What of the path is a name, with slashes between them; of an order that names nothing nothing.
std::string targetOf(const Route& route, const std::vector<std::string>& path) {
    std::vector<std::string_view> names;
    const auto segments = segmentsOf(route.pattern);
    for (std::size_t at = 0; at < segments.size(); ++at)
        if (segments[at] == kAny && !(route.order == kAny && at + 1 == segments.size()))
            names.emplace_back(path[at]);
    return fmt::format("{}", fmt::join(names, "/"));
}

/// It asks what an order would do.
bool isDryRun(const Request& request) {
    try {
        return request.body.empty() ? QueryValues(request).flag("dry_run")
                                    : BodyValues(request).flag("dry_run");
    } catch (const Problem&) {
        return false;
    }
}

void logGivenUp(const Call& call, const Route& route, const Problem& problem) {
    if (isDryRun(call.request)) return;
    const std::string_view order = route.order == kAny ? call.request.path.back() : route.order;
    if (!order.empty()) logOrder(call, order, targetOf(route, call.request.path), {false, problem.detail});
}

Response perhapsLater(Response response) {
    if (response.status == kUnavailable) response.headers.emplace_back("Retry-After", "2");
    return response;
}

int statusOf(store::StoreError::Kind kind) noexcept {
    constexpr int kNoAnswer = 504, kInsufficientStorage = 507, kInternal = 500;
    switch (kind) {
        case store::StoreError::Kind::Locked:
            return kUnavailable;
        case store::StoreError::Kind::DiskFull:
            return kInsufficientStorage;
        case store::StoreError::Kind::Unknown:
            return kNoAnswer;
        default:
            return kInternal;
    }
}

}  // namespace

Response jsonResponse(std::string body, int status) {
    return {status, std::move(body), "application/json", {}};
}

void logOrder(const Call& call, std::string_view order, std::string_view target,
              const admin::Outcome& outcome) {
    if (call.parts.log == nullptr) return;
    LogLine line =
        call.parts.log->line(outcome.ok ? LogLevel::Information : LogLevel::Warning, "admin.order");
    line.text("order", order).text("user", call.request.who.name).textOrNull("target", target);
    line.boolean("ok", outcome.ok);
    if (!outcome.message.empty()) line.text("detail", outcome.message);
    call.parts.log->write(line);
}

void Call::requireAsker() const {
    if (request.has_left && request.has_left())
        throw Problem(409, kGivenUp, "not carried out: who gave it did not wait for the answer");
}

Turns::Turn Call::turnAt(Turns& work, std::string_view doing) const {
    auto turn = work.enter(request);
    requireAsker();
    if (!turn)
        throw Problem(
            kUnavailable, "busy",
            fmt::format("another request of yours, or several of others, {}: try again in a moment", doing));
    return turn;
}

std::vector<Api::Asked> Api::allAsked() {
    std::vector<Asked> all;
    for (const Route& route : kRoutes)
        all.push_back({route.method, route.pattern, route.least});
    return all;
}

std::size_t Api::mostBody(const Request& request) {
    std::size_t most = 0;
    for (const Route* route : routesOf(request.path))
        if (route->method != "GET" && route->method == request.method && request.who.role >= route->least)
            most = route->max_body;
    return most;
}

bool Api::hasFleet() const {
    return !parts_.config()->fleet.url.empty();
}

void Api::logFailure(const store::StoreError& error) {
    constexpr std::chrono::minutes kQuiet{1};
    if (parts_.log == nullptr) return;
    {
        const std::lock_guard lock(mutex_);
        const auto now = std::chrono::steady_clock::now();
        if (now < quiet_until_) return;
        quiet_until_ = now + kQuiet;
    }
    LogLine line = parts_.log->line(LogLevel::Error, "api.failed");
    line.text("detail", error.what());
    parts_.log->write(line);
}

Response Api::handle(const Request& request) {
    const auto routes = routesOf(request.path);
    if (routes.empty()) return problemResponse(404, "not_found", "there is nothing here");
    const std::string_view method = request.method == "HEAD" ? "GET" : std::string_view(request.method);
    const auto found = std::ranges::find(routes, method, [](const Route* route) { return route->method; });
    if (found == routes.end()) return methodProblem(routes);
    const Route& route = **found;
    if (request.who.role < route.least)
        return problemResponse(403, "role",
                               fmt::format("this needs the role {}, and {} has {}", toString(route.least),
                                           inQuotes(request.who.name), toString(request.who.role)));
    if (request.body.size() > route.max_body)
        return problemResponse(413, "too_large",
                               fmt::format("the request body is larger than {} bytes", route.max_body));
    const Call call{parts_, request, parts_.config(), turns_};
    try {
        call.requireAsker();
        return route.handle(call);
    } catch (const Problem& problem) {
        if (problem.code == kGivenUp) logGivenUp(call, route, problem);
        return perhapsLater(problemResponse(problem.status, problem.code, problem.detail, problem.members));
    } catch (const store::StoreError& error) {
        logFailure(error);
        const bool known = error.kind() != store::StoreError::Kind::Unknown;
        // With the path of a file.
        std::string told = error.what();
        if (request.who.role != Role::Admin)
            told =
                known
                    ? fmt::format("a database cannot be used: {}", kToldToAdmins)
                    : "whether the change was made is not known: the history of the rules shows it once the "
                      "fleet's database is back";
        return perhapsLater(
            problemResponse(statusOf(error.kind()), known ? "store" : "outcome_unknown", told));
    }
}

}  // namespace mailgate::api
