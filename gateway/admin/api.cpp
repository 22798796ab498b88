// SPDX-License-Identifier: Apache-2.0
#include "gateway/admin/api.h"

#include "gateway/admin/json.h"
#include "gateway/admin/metrics.h"
#include "gateway/log/escape.h"
#include "store/store_error.h"

#include <Poco/JSON/Array.h>
#include <Poco/JSON/Parser.h>
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <optional>
#include <tuple>
#include <variant>

namespace mailgate::admin {
namespace {

using Poco::JSON::Object;

constexpr std::string_view kAny = "*";

std::vector<std::string_view> segmentsOf(std::string_view path) {
    std::vector<std::string_view> segments;
    while (!path.empty()) {
        path.remove_prefix(1);
        const std::size_t end = std::min(path.find('/'), path.size());
        segments.push_back(path.substr(0, end));
        path.remove_prefix(end);
    }
    return segments;
}

bool matches(std::string_view pattern, const std::vector<std::string>& path) {
    return std::ranges::equal(segmentsOf(pattern), path,
                              [](std::string_view wanted, const std::string& segment) {
                                  return wanted == kAny ? !segment.empty() : wanted == segment;
                              });
}

Response jsonResponse(const Object& object) {
    return {200, "application/json", toText(object), {}};
}

Response plainResponse(int status, std::string body) {
    return {status, "text/plain; charset=utf-8", std::move(body), {}};
}

/// `detail`: what was done, in words; may be empty.
Response done(const std::string& detail = {}) {
    Object object(Poco::JSON_PRESERVE_KEY_ORDER);
    object.set("ok", true);
    if (!detail.empty()) object.set("detail", detail);
    return jsonResponse(object);
}

/// Nothing when the body is no JSON object.
Object::Ptr parseBody(const std::string& body) {
    constexpr std::size_t kMaxDepth = 8;  // the parser's memory and its destructors nest with the text
    try {
        Poco::JSON::Parser parser;
        parser.setDepth(kMaxDepth);
        return parser.parse(body).extract<Object::Ptr>();
    } catch (const Poco::Exception&) {
        return nullptr;
    }
}

/// The text under `key`; nothing when it is not there or no text.
std::optional<std::string> textOf(const Object& object, const std::string& key) {
    const Poco::Dynamic::Var value = object.get(key);
    if (!value.isString()) return std::nullopt;
    return value.convert<std::string>();
}

/// The whole number under `key`; nothing when it is not there or none.
std::optional<std::int64_t> numberOf(const Object& object, const std::string& key) {
    const Poco::Dynamic::Var value = object.get(key);
    if (!value.isInteger()) return std::nullopt;
    try {
        return value.convert<std::int64_t>();
    } catch (const Poco::Exception&) {
        return std::nullopt;
    }
}

/// The texts of an array; an absent one is empty; nothing when it is anything else.
std::optional<std::vector<std::string>> textsOf(const Object& object, const std::string& key) {
    std::vector<std::string> texts;
    if (!object.has(key)) return texts;
    const auto array = object.getArray(key);
    if (!array) return std::nullopt;
    for (const Poco::Dynamic::Var& item : *array) {
        if (!item.isString()) return std::nullopt;
        texts.push_back(item.convert<std::string>());
    }
    return texts;
}

/// "drain" or "ready"; nothing when it is neither, or when both names are there and do not say the same.
std::optional<std::string> adminStateOf(const Object& body) {
    const auto state = textOf(body, "admin_state");
    const auto former = textOf(body, "wish");  // what it was called before: goes with the next release
    if (body.has("admin_state") && body.has("wish") && state != former) return std::nullopt;
    const auto& word = body.has("admin_state") ? state : former;
    return word == "drain" || word == "ready" ? word : std::nullopt;
}

struct SessionFilter {
    std::optional<Network> client;
    std::vector<std::string> listeners;

    bool passes(const LiveSession& session) const {
        if (client && !(session.client && client->contains(session.client->address.bytes))) return false;
        return listeners.empty() || std::ranges::find(listeners, session.listener) != listeners.end();
    }
};

/// Or the sentence that says what is wrong with the query.
std::variant<SessionFilter, std::string> sessionFilter(const Request& request) {
    SessionFilter filter;
    for (const auto& [key, value] : request.query) {
        if (key == "listener") {
            filter.listeners.push_back(value);
        } else if (key == "client") {
            const auto network = parseNetwork(value);
            if (const auto* error = std::get_if<NetworkError>(&network)) return error->message;
            filter.client = std::get<Network>(network);
        } else {
            return fmt::format("unknown parameter {}: expected client or listener", inQuotes(key));
        }
    }
    return filter;
}

}  // namespace

struct Api::Route {
    std::string_view method, pattern;
    Response (Api::*handle)(const Request&);
    bool on_http;
};

const Api::Route Api::kRoutes[] = {
    {"GET", "/metrics", &Api::metrics, true},       {"GET", "/healthz", &Api::health, true},
    {"GET", "/readyz", &Api::ready, true},          {"GET", "/v1/status", &Api::status, false},
    {"GET", "/v1/sessions", &Api::sessions, false}, {"DELETE", "/v1/sessions/*", &Api::kill, false},
    {"POST", "/v1/cut", &Api::cut, false},          {"POST", "/v1/servers/*/*", &Api::setServer, false},
    {"POST", "/v1/reload", &Api::reload, false},
};

Response errorResponse(int status, std::string_view sentence) {
    LineBuffer escaped;
    appendEscaped(escaped, sentence);
    return {status, "application/json", fmt::format(R"({{"error":"{}"}})", fmt::to_string(escaped)), {}};
}

Response Api::handle(const Request& request) {
    if (request.body.size() > kMaxBody)
        return errorResponse(413, fmt::format("the request body is larger than {} bytes", kMaxBody));
    std::vector<std::string_view> allowed;
    for (const Route& route : kRoutes) {
        if ((request.origin == Origin::Http && !route.on_http) || !matches(route.pattern, request.path))
            continue;
        if (route.method == request.method || (route.method == "GET" && request.method == "HEAD"))
            return (this->*route.handle)(request);
        allowed.push_back(route.method);
    }
    const std::string path = inQuotes(fmt::format("/{}", fmt::join(request.path, "/")));
    if (allowed.empty()) return errorResponse(404, fmt::format("there is no {} here", path));
    Response refusal = errorResponse(405, fmt::format("{} takes {}", path, fmt::join(allowed, ", ")));
    refusal.allow = fmt::format("{}", fmt::join(allowed, ", "));
    return refusal;
}

Response Api::metrics(const Request&) {
    return {200, "text/plain; version=0.0.4; charset=utf-8", metricsText(GatewayMetrics(control_)), {}};
}

Response Api::health(const Request&) {
    return plainResponse(200, "ok\n");
}

namespace {

/// Clients are served whether the fleet's database is there or not. Anybody may ask: what the database says, and where it is,
/// is for `status`.
std::string readyText(const store::FleetStatus& fleet, const store::ShipperStatus& journal) {
    std::string text = "ready\n";
    if (fleet.configured && !fleet.connected && !fleet.failure.empty())
        text += fmt::format("fleet: the rules are {:.0f} s old\n", fleet.lag_seconds);
    if (journal.configured && !journal.connected && !journal.failure.empty())
        text += fmt::format("fleet: the journal has not come for {:.0f} s\n", journal.lag_seconds);
    return text;
}

}  // namespace

Response Api::ready(const Request& request) {
    std::string listener;
    for (const auto& [key, value] : request.query) {
        if (key != "listener") return plainResponse(400, "unknown parameter: expected listener\n");
        listener = value;
    }
    switch (control_.ready(listener)) {
        case Readiness::Ready:
            return plainResponse(200, readyText(control_.fleet(), control_.fleetJournal()));
        case Readiness::NotReady:
            return plainResponse(503, "not ready\n");
        case Readiness::NoServer:
            return plainResponse(503, "no server\n");
        case Readiness::UnknownListener:
            return plainResponse(404, "no such listener\n");
    }
    return plainResponse(500, "");
}

Response Api::status(const Request&) {
    Status status = control_.status();
    status.config_change = control_.configChange();
    return jsonResponse(toJson(status));
}

Response Api::sessions(const Request& request) {
    const auto filter = sessionFilter(request);
    if (const auto* error = std::get_if<std::string>(&filter)) return errorResponse(400, *error);
    // One session at a time: fifty thousand of them as JSON objects would cost more memory than the sessions.
    std::string body = R"({"sessions":[)";
    bool first = true;
    std::vector<LiveSession> sessions = control_.sessions();
    std::ranges::sort(sessions, {},
                      [](const LiveSession& session) { return std::tie(session.started_ms, session.id); });
    for (const LiveSession& session : sessions) {
        if (!std::get<SessionFilter>(filter).passes(session)) continue;
        if (!first) body += ',';
        first = false;
        body += toText(toJson(session));
    }
    body += "]}";
    return {200, "application/json", std::move(body), {}};
}

Response Api::kill(const Request& request) {
    const std::string& id = request.path.back();
    const Outcome outcome = carryOut(request, "kill", id, [&]() -> Outcome {
        if (control_.kill(id)) return {};
        return {false, fmt::format("there is no live session {}", inQuotes(id))};
    });
    return outcome.ok ? done() : errorResponse(404, outcome.message);
}

Response Api::cut(const Request& request) {
    const Object::Ptr body = parseBody(request.body);
    const auto text = body ? textOf(*body, "network") : std::nullopt;
    const auto listeners = body ? textsOf(*body, "listeners") : std::nullopt;
    const bool by_rules = body && body->has("rules_version");
    const auto version = by_rules ? numberOf(*body, "rules_version") : std::nullopt;
    if (!text || !listeners || by_rules != version.has_value())
        return errorResponse(
            400, R"(expected {"network": "192.0.2.0/24", "listeners": ["smtp"], "rules_version": 7})");
    const auto network = parseNetwork(*text);
    if (const auto* error = std::get_if<NetworkError>(&network)) return errorResponse(400, error->message);

    std::optional<std::size_t> count;
    const Outcome outcome = carryOut(
        request, "cut",
        listeners->empty() ? *text : fmt::format("{} on {}", *text, fmt::join(*listeners, ", ")),
        [&]() -> Outcome {
            count = control_.cut({std::get<Network>(network), *listeners, version});
            if (count) return {true, fmt::format("{} sessions", *count)};
            return {false,
                    fmt::format("the access rules of version {} are not in force: no session was ended",
                                *version)};
        });
    if (!count) return errorResponse(409, outcome.message);
    Object answer;
    answer.set("cut", *count);
    return jsonResponse(answer);
}

Response Api::setServer(const Request& request) {
    const Object::Ptr body = parseBody(request.body);
    const auto state = body ? adminStateOf(*body) : std::nullopt;
    if (!state) return errorResponse(400, R"(expected {"admin_state": "drain"} or {"admin_state": "ready"})");
    const std::string& upstream = request.path[2];
    const std::string& server = request.path[3];
    const AdminState wanted = *state == "drain" ? AdminState::Drain : AdminState::Ready;
    const Poco::Dynamic::Var for_all = body->get("everywhere");
    if (!for_all.isEmpty() && !for_all.isBoolean())
        return errorResponse(400, "everywhere: expected true or false");
    const bool everywhere = !for_all.isEmpty() && for_all.convert<bool>();
    constexpr int kRefused = 503, kOutcomeUnknown = 504;
    int failure = 0;
    const Outcome outcome = carryOut(
        request, *state, fmt::format("{}/{}{}", upstream, server, everywhere ? " everywhere" : ""),
        [&]() -> Outcome {
            if (!everywhere) return control_.setServer(upstream, server, wanted, request.user);
            try {
                return control_.setServerEverywhere(upstream, server, wanted, request.user);
            } catch (const store::StoreError& error) {
                const bool is_unknown = error.kind() == store::StoreError::Kind::Unknown;
                failure = is_unknown ? kOutcomeUnknown : kRefused;
                if (is_unknown) return {false, error.what()};
                return {false, fmt::format("{}; without --everywhere it is an order for this gateway alone",
                                           error.what())};
            }
        });
    if (failure != 0) return errorResponse(failure, outcome.message);
    return outcome.ok ? done(outcome.message) : errorResponse(404, outcome.message);
}

Response Api::reload(const Request& request) {
    const Outcome outcome = carryOut(request, "reload", {}, [&] { return control_.reload(); });
    return outcome.ok ? done(outcome.message) : errorResponse(409, outcome.message);
}

Outcome Api::carryOut(const Request& request, std::string_view order, std::string_view target,
                      const std::function<Outcome()>& carry) {
    Outcome outcome = request.given_up
                          ? Outcome{false, "not carried out: who gave it did not wait for the answer"}
                          : carry();
    logOrder(request, order, target, outcome);
    return outcome;
}

void Api::logOrder(const Request& request, std::string_view order, std::string_view target,
                   const Outcome& outcome) {
    if (!log_) return;
    LogLine line = log_->line(outcome.ok ? LogLevel::Information : LogLevel::Warning, "admin.order");
    line.text("order", order).text("user", request.user).textOrNull("target", target);
    line.boolean("ok", outcome.ok);
    if (!outcome.message.empty()) line.text("detail", outcome.message);
    log_->write(line);
}

}  // namespace mailgate::admin
