// SPDX-License-Identifier: Apache-2.0
#include "gateway/console/console.h"

#include "gateway/api/values.h"
#include "gateway/config/values.h"
#include "gateway/console/body_places.h"
#include "gateway/console/exchange.h"
#include "gateway/console/own_name.h"
#include "gateway/console/pages.h"
#include "gateway/console/screens.h"
#include "gateway/console/shared_parts.h"
#include "gateway/http/body.h"
#include "gateway/http/listen.h"
#include "gateway/http/request_head.h"
#include "gateway/http/target.h"
#include "gateway/log/escape.h"
#include "protocols/values/text.h"

#include <Poco/ErrorHandler.h>
#include <Poco/JSON/Object.h>
#include <Poco/Net/HTTPRequestHandler.h>
#include <Poco/Net/HTTPRequestHandlerFactory.h>
#include <Poco/Net/ServerSocket.h>
#include <fmt/format.h>

#include <chrono>
#include <optional>
#include <string>
#include <utility>
#include <variant>
#include <vector>

namespace mailgate::console {

namespace {

namespace net = Poco::Net;

/// Of a log-in, which is read before it is known who sends it: no thread waits for the rest of one.
constexpr std::size_t kMaxLogin = http::Server::kMaxSmallBody;
/// With TLS of our own; behind a proxy it is the proxy's matter (RFC 6797 7.2).
constexpr const char* kStrictTransport = "max-age=31536000";
constexpr const char* kNoLogIn =
    "a log-in has a Content-Length of up to 4,096, and comes unasked in one piece";

std::string cookieName(bool is_secure) {
    return is_secure ? "__Host-mailgate" : "mailgate";
}

std::string cookieOf(const std::string& secret, bool is_secure, std::chrono::seconds age) {
    return fmt::format("{}={}; Path=/; HttpOnly; SameSite=Strict; Max-Age={}{}", cookieName(is_secure),
                       secret, age.count(), is_secure ? "; Secure" : "");
}

constexpr std::string_view kLogInPage = "/login", kLogInApi = "/api/v1/session";

bool mayChange(const std::string& method) {
    return method != "GET" && method != "HEAD";
}

/// Texts and nothing else, two of them.
std::optional<std::pair<std::string, std::string>> nameAndPassword(const std::string& body) {
    const auto object = api::objectIn(body);
    if (!object || object->size() != 2) return std::nullopt;
    const auto user = object->get("user"), password = object->get("password");
    if (!user.isString() || !password.isString()) return std::nullopt;
    return std::pair(user.convert<std::string>(), password.convert<std::string>());
}

std::string sessionAsJson(const Known& known) {
    return fmt::format(R"({{"user":{},"name":"{}","role":"{}","csrf_token":{}}})",
                       known.who.account.empty() ? "null" : fmt::format("\"{}\"", escaped(known.who.account)),
                       escaped(known.who.name), toString(known.who.role),
                       known.csrf_token.empty() ? "null" : fmt::format("\"{}\"", known.csrf_token));
}

constexpr const char* kOneAfterTheOther =
    "as many requests of this account as may are waiting for their bodies: send one after the other";

api::Response tooManyBodies() {
    api::Response response = api::problemResponse(503, "busy", kOneAfterTheOther);
    response.headers.emplace_back("Retry-After", "1");
    return response;
}

api::Response jsonResponse(std::string body, int status = 200) {
    return {status, std::move(body), "application/json", {}};
}

/// What all requests share.
struct Site {
    const ConsoleConfig config;
    Console::Parts parts;
    Authenticator authenticator;
    SharedParts shared;  ///< by role and page
    BodyPlaces bodies{};
};

/// Who logs in by `request`, which takes the time of a password; nothing: it is another, or is at a limit, and answered at once.
std::optional<http::Server::SlowClient> logInClient(Site& site, const http::RequestHead& request,
                                                    const IpAddress& peer) {
    const std::string_view path = request.target.substr(0, request.target.find('?'));
    if (request.method != "POST" || (path != kLogInPage && path != kLogInApi)) return std::nullopt;
    Credentials credentials;
    applyProxy(credentials, site.config, peer, {http::fieldIn(request.fields, "X-Forwarded-For"), "", ""});
    const std::string body(request.body);
    std::string user;
    if (path == kLogInApi) {
        const auto given = nameAndPassword(body);
        if (!given) return std::nullopt;
        user = given->first;
    } else {
        user = fieldNamed(formFields(body), "user");
    }
    if (site.authenticator.isPaused(credentials.client, user)) return std::nullopt;
    return http::Server::SlowClient{credentials.client,
                                    site.authenticator.isKnownAt(credentials.client, user)};
}

/// An account is one client, wherever it comes from. All that come from a proxy have its address: everybody who has no account is one there.
http::Server::Account accountOf(Site& site, const http::RequestHead& request, const IpAddress& peer) {
    const bool is_behind_proxy = isTrustedProxy(site.config, peer);
    const auto field = [&](const std::string& name) {
        return name.empty() ? "" : http::fieldIn(request.fields, name);
    };
    Credentials credentials;
    credentials.is_secure = static_cast<bool>(site.parts.tls);
    applyProxy(credentials, site.config, peer,
               {"", field("X-Forwarded-Proto"), field(site.config.user_header)});
    credentials.authorization = field("Authorization");
    credentials.cookie =
        site.authenticator.sessionAmong(cookiesNamed(field("Cookie"), cookieName(credentials.is_secure)));
    const std::string name = site.authenticator.knownAtOnce(credentials);
    if (name.empty()) return {is_behind_proxy ? "nobody" : "", is_behind_proxy};
    return {"account " + name, is_behind_proxy};
}

class Handler final : public net::HTTPRequestHandler {
  public:
    Handler(Site& site, http::Server& server) : site_(site), server_(server) {}

    void handleRequest(net::HTTPServerRequest& http, net::HTTPServerResponse& http_response) override {
        try {
            respond(http, http_response);
        } catch (const http::BodyError& error) {
            reply(http_response,
                  http.getURI().starts_with("/api/")
                      ? bodyProblem(error)
                      : htmlResponse(messagePage({}, "Not possible",
                                                 "The form has not come as a whole: send it again."),
                                     error.status));
        } catch (const store::StoreError& error) {
            site_.parts.api.logFailure(error);
            // Anybody may ask, and it has the path of a file.
            constexpr const char* kWhy =
                "the accounts cannot be read: on the gateway, mailgate console user list says why";
            reply(http_response, http.getURI().starts_with("/api/")
                                     ? api::problemResponse(503, "store", kWhy)
                                     : htmlResponse(messagePage({}, "Not possible", kWhy), 503));
        }
    }

  private:
    void reply(net::HTTPServerResponse& http_response, const api::Response& response) {
        server_.restartPeerLimit();
        if (site_.parts.tls) http_response.set("Strict-Transport-Security", kStrictTransport);
        send(http_response, response);
    }

    void respond(net::HTTPServerRequest& http, net::HTTPServerResponse& http_response) {
        if (const auto refusal = refusalOf(http)) return reply(http_response, *refusal);
        http::takeAuthority(http);
        if (const auto refusal = hostRefusalOf(http)) return reply(http_response, *refusal);
        // With TLS the certificate names the console.
        if (!site_.parts.tls && http.has("Host") &&
            !isOwnName(http.get("Host"), site_.config.base_url, site_.parts.gateway_name))
            return reply(http_response,
                         api::problemResponse(421, "another_name",
                                              "the console has another name: console.base_url tells which"));
        if (!http.getURI().starts_with("/api/")) return reply(http_response, pageOf(http));
        auto request = requestFrom(http);
        if (!request)
            return reply(
                http_response,
                api::problemResponse(404, "not_found", "the API begins at /api/v1 (docs/openapi.yaml)"));
        const bool changes = mayChange(request->method);
        if (changes && !isJson(http))
            return reply(
                http_response,
                api::problemResponse(415, "media_type", "expected Content-Type: application/json, in UTF-8"));
        const Credentials credentials = credentialsOf(http, changes);
        const bool is_session = request->path.size() == 1 && request->path[0] == "session";
        if (is_session && request->method == "POST") return logIn(credentials, http, http_response);
        server_.suspendPeerLimit();
        auto identity = site_.authenticator.identify(credentials);
        server_.restartPeerLimit();
        if (const auto* response = std::get_if<api::Response>(&identity))
            return reply(http_response, *response);
        const Known& known = std::get<Known>(identity);
        if (is_session) return reply(http_response, session(credentials, known, *request));
        request->who = known.who;
        const auto place = placeFor(http, known, api::Api::mostBody(*request));
        reply(http_response,
              place ? answerTo(site_.parts.api, server_, std::move(*request), http) : tooManyBodies());
    }

    /// Nothing: as many of this account's requests wait for bodies as may. A body that is here, or is not read, needs no place.
    std::optional<BodyPlaces::Place> placeFor(const net::HTTPServerRequest& http, const Known& known,
                                              std::size_t most) {
        if (most == 0 || http::isBodyHere(http)) return std::optional<BodyPlaces::Place>(std::in_place);
        return site_.bodies.take(known.who.client());
    }

    // ---- pages

    api::Response pageOf(net::HTTPServerRequest& http) {
        auto request = pageRequestFrom(http);
        if (!request) return htmlResponse(messagePage({}, "Not found", "There is no such page."), 404);
        if (auto response = openResponse(*request)) return std::move(*response);
        const bool is_post = request->method == "POST";
        const std::string boundary = boundaryOf(http.get("Content-Type", ""));
        if (is_post && !(isOfOurs(http, site_.config.base_url) &&
                         (!boundary.empty() || hasType(http, "application/x-www-form-urlencoded"))))
            return htmlResponse(messagePage({}, "Not possible", "No page of this console has sent this."),
                                403);
        const Credentials credentials = credentialsOf(http, false);
        const bool logs_in = request->path == std::vector<std::string>{"login"};
        const bool logs_out = request->path == std::vector<std::string>{"logout"};
        if (logs_in && is_post) return logInByForm(credentials, http);
        server_.suspendPeerLimit();
        auto identity = site_.authenticator.identify(credentials);
        server_.restartPeerLimit();
        if (const auto* response = std::get_if<api::Response>(&identity))
            return strangersPage(*response, logs_in, http.has("X-Refresh"), is_post && !logs_out);
        const Known& known = std::get<Known>(identity);
        if (logs_in) return redirection("/");
        if (is_post) {
            const Viewer viewer = Question(site_.parts.api, known).viewer();
            const auto message = [&](const char* heading, const std::string& sentence, int status) {
                return htmlResponse(messagePage(viewer, heading, sentence), status);
            };
            if (!viewer.may_change && !logs_out)
                return message("Not possible", "Changing anything needs the role operator or admin.", 403);
            // All that viewers may send: none of them keeps a place with it.
            if (logs_out && !http::isBodyHere(http))
                return message("Not possible", "A log-out has no more than a token with it.", 413);
            if (!takesForm(*request)) return message("Not possible", "This page takes no such request.", 405);
            const std::size_t most = mostForm(*request);
            const auto place = placeFor(http, known, most);
            if (!place) return busyPage();
            const std::string body = http::readBody(http, most, server_);
            if (body.size() > most)
                return message("Too large",
                               fmt::format("No more than {} bytes are taken here. For larger lists there is: "
                                           "mailgate access import FILE",
                                           most),
                               413);
            request->form = boundary.empty() ? formFields(body) : multipartFields(body, boundary);
            if (logs_out) return logOut(credentials, known, fieldNamed(request->form, "csrf_token"));
        }
        server_.suspendPeerLimit();
        if (credentials.refreshes && isOfPart(*request))
            return site_.shared.get(fmt::format("{} {}", toString(known.who.role), request->path.size()),
                                    [&] { return partFor(site_.parts.api, known, *request); });
        return pageFor(site_.parts.api, known, *request, [this, is_post] {
            return server_.hasPeerLeft() || (!is_post && server_.isStopping());
        });
    }

    static api::Response busyPage() {
        constexpr int kBusy = 503;
        api::Response page = htmlResponse(
            messagePage({}, "Not now", "Other requests of yours are still being sent: try again."), kBusy);
        page.headers.emplace_back("Retry-After", "1");
        return page;
    }

    /// Who is not known gets the form, but for whom that would be of no use. Not in the place of what refreshes itself: a script
    /// would follow a redirection without knowing.
    api::Response strangersPage(const api::Response& refusal, bool logs_in, bool refreshes, bool is_post) {
        constexpr int kUnauthorized = 401;
        if (refusal.status != kUnauthorized)
            return htmlResponse(
                messagePage({}, "Not possible", "The proxy names somebody who has no account here."),
                refusal.status);
        if (!site_.authenticator.hasAccounts())
            return htmlResponse(messagePage({}, "No account yet",
                                            "On the gateway: mailgate console user add NAME --role admin"),
                                kUnauthorized);
        if (refreshes) {
            constexpr int kNoContent = 204;
            api::Response response = htmlResponse("", kNoContent);
            response.headers.emplace_back("HX-Redirect", "/login");
            return response;
        }
        if (is_post) return htmlResponse(sessionOverPage(), kUnauthorized);
        return logs_in ? htmlResponse(logInPage("")) : redirection("/login");
    }

    api::Response logInByForm(const Credentials& credentials, net::HTTPServerRequest& http) {
        if (!http::isBodyHere(http)) return htmlResponse(messagePage({}, "Not possible", kNoLogIn), 413);
        const auto fields = formFields(http::readBody(http, kMaxLogin, server_));
        server_.suspendPeerLimit();
        auto result = logIn(credentials, fieldNamed(fields, "user"), fieldNamed(fields, "password"));
        if (const auto* response = std::get_if<api::Response>(&result)) {
            constexpr int kTooMany = 429, kBusy = 503;
            api::Response page = htmlResponse(
                logInPage(response->status == kTooMany
                              ? "Too many failures: wait for a minute, and try again."
                          : response->status == kBusy ? "Too many people log in at once: try again."
                                                      : "The name or the password is wrong."),
                response->status);
            for (const auto& [name, value] : response->headers)
                if (name == "Retry-After") page.headers.emplace_back(name, value);
            return page;
        }
        api::Response response = redirection("/");
        response.headers.emplace_back(
            "Set-Cookie", cookieOf(std::get<Authenticator::LoggedIn>(result).secret, credentials.is_secure,
                                   credentials::LoginSessions::kAbsolute));
        return response;
    }

    api::Response logOut(const Credentials& credentials, const Known& known, const std::string& csrf_token) {
        if (csrf_token != known.csrf_token)
            return htmlResponse(
                messagePage({}, "Not possible", "This page is too old: go back, and load it again."), 403);
        site_.authenticator.logOut(credentials);
        api::Response response = redirection("/login");
        response.headers.emplace_back("Set-Cookie",
                                      cookieOf("", credentials.is_secure, std::chrono::seconds(0)));
        return response;
    }

    /// Passwords are checked by the threads for that alone: however many people, or others, log in at once, that takes two
    /// processors' time and 32 MiB at the most, and nobody else waits.
    std::variant<Authenticator::LoggedIn, api::Response> logIn(const Credentials& credentials,
                                                               const std::string& user,
                                                               const std::string& password) {
        if (!server_.mayTakeLong()) return site_.authenticator.notNow(credentials, user);
        return site_.authenticator.logIn(credentials, user, password);
    }

    static bool hasType(const net::HTTPServerRequest& http, std::string_view wanted) {
        const std::string type = http.get("Content-Type", "");
        return equalsIgnoreCase(trimmed(std::string_view(type).substr(0, type.find(';'))), wanted);
    }

    /// A form of another site can send other types only, and not this one unasked.
    static bool isJson(const net::HTTPServerRequest& http) {
        if (http.getMethod() == "DELETE" && !http.has("Content-Type") && !http.has("Transfer-Encoding") &&
            http.get("Content-Length", "0") == "0")
            return true;
        return hasType(http, "application/json") && isInUtf8(http.get("Content-Type"));
    }

    /// Whether nothing else is said of the characters: JSON has no others (RFC 8259 8.1).
    static bool isInUtf8(std::string_view type) {
        constexpr std::string_view kCharset = "charset=";
        while (type.find(';') != std::string_view::npos) {
            type.remove_prefix(type.find(';') + 1);
            const std::string_view one = trimmed(type.substr(0, type.find(';')));
            if (!startsWithIgnoreCase(one, kCharset)) continue;
            const std::string_view value = one.substr(kCharset.size());
            if (!equalsIgnoreCase(value, "utf-8") && !equalsIgnoreCase(value, "\"utf-8\"")) return false;
        }
        return true;
    }

    /// Fields of one name are a list (RFC 9110 5.3).
    static std::string allOf(const net::HTTPServerRequest& http, const std::string& name) {
        std::string all;
        for (const auto& [field, value] : http)
            if (equalsIgnoreCase(field, name)) all += (all.empty() ? "" : ",") + value;
        return all;
    }

    Credentials credentialsOf(const net::HTTPServerRequest& http, bool changes) const {
        Credentials credentials;
        credentials.is_secure = static_cast<bool>(site_.parts.tls);
        const std::string& field = site_.config.user_header;
        const auto peer = IpAddress::parse(http.clientAddress().host().toString());
        const ProxyFields fields{allOf(http, "X-Forwarded-For"), http.get("X-Forwarded-Proto", ""),
                                 field.empty() ? "" : allOf(http, field)};
        const auto unknown = applyProxy(credentials, site_.config, peer.value_or(IpAddress{}), fields);
        if (!unknown.empty()) site_.authenticator.logUnknownClient(credentials.client, unknown);
        credentials.authorization = http.get("Authorization", "");
        credentials.cookie = site_.authenticator.sessionAmong(
            cookiesNamed(http.get("Cookie", ""), cookieName(credentials.is_secure)));
        credentials.csrf_token = http.get("X-CSRF-Token", "");
        credentials.changes = changes;
        credentials.refreshes = http.has("X-Refresh");
        return credentials;
    }

    void logIn(const Credentials& credentials, net::HTTPServerRequest& http,
               net::HTTPServerResponse& http_response) {
        if (!http::isBodyHere(http))
            return reply(http_response, api::problemResponse(413, "too_large", kNoLogIn));
        const auto given = nameAndPassword(http::readBody(http, kMaxLogin, server_));
        if (!given)
            return reply(http_response,
                         api::problemResponse(400, "malformed_body",
                                              "expected {\"user\": \"alice\", \"password\": \"…\"}"));
        server_.suspendPeerLimit();
        auto result = logIn(credentials, given->first, given->second);
        if (const auto* response = std::get_if<api::Response>(&result))
            return reply(http_response, *response);
        const auto& logged_in = std::get<Authenticator::LoggedIn>(result);
        api::Response response = jsonResponse(sessionAsJson(logged_in.known));
        response.headers.emplace_back("Set-Cookie", cookieOf(logged_in.secret, credentials.is_secure,
                                                             credentials::LoginSessions::kAbsolute));
        reply(http_response, response);
    }

    api::Response session(const Credentials& credentials, const Known& known, const api::Request& request) {
        if (request.method == "GET" || request.method == "HEAD") return jsonResponse(sessionAsJson(known));
        if (request.method != "DELETE") {
            api::Response response =
                api::problemResponse(405, "method_not_allowed", "this path takes GET, POST, DELETE");
            response.headers.emplace_back("Allow", "GET, POST, DELETE");
            return response;
        }
        std::size_t ended = credentials.cookie.empty() ? 0 : 1;
        const bool everywhere = request.query.size() == 1 &&
                                request.query[0] == std::pair<std::string, std::string>("everywhere", "true");
        if (!everywhere && !request.query.empty())
            return api::problemResponse(400, "unknown_parameter", "expected everywhere=true, or nothing");
        if (everywhere && known.who.account.empty())
            return api::problemResponse(409, "no_account", "this token is of no account");
        if (everywhere)
            ended = site_.authenticator.logOutEverywhere(known.who.account);
        else
            site_.authenticator.logOut(credentials);
        api::Response response = jsonResponse(fmt::format("{{\"ended\":{}}}", ended));
        response.headers.emplace_back("Set-Cookie",
                                      cookieOf("", credentials.is_secure, std::chrono::seconds(0)));
        return response;
    }

    Site& site_;
    http::Server& server_;
};

class Handlers final : public net::HTTPRequestHandlerFactory {
  public:
    Handlers(Site& site, http::Server& server) : site_(site), server_(server) {}
    net::HTTPRequestHandler* createRequestHandler(const net::HTTPServerRequest&) override {
        return new Handler(site_, server_);
    }

  private:
    Site& site_;
    http::Server& server_;
};

net::ServerSocket listenOn(const std::string& address) {
    const HostPort host_port = parseHostPort(address).value();
    return http::listenOn(host_port.host, host_port.port, "console.address " + address);
}

}  // namespace

static_assert(api::Api::kMostInTurns < http::Server::kThreads, "what takes long leaves threads to others");

class Console::Impl {
  public:
    Impl(const ConsoleConfig& config, const Parts& parts)
        : site_{config, parts, Authenticator(parts.accounts, parts.log), SharedParts()},
          server_(listenOn(config.address),
                  [this](http::Server& server) { return new Handlers(site_, server); },
                  {.tls = parts.tls,
                   .slow_client = [this](const http::RequestHead& request,
                                         const IpAddress& peer) { return logInClient(site_, request, peer); },
                   .account = [this](const http::RequestHead& request,
                                     const IpAddress& peer) { return accountOf(site_, request, peer); },
                   .on_paused = http::tellOfPause(parts.log, "console", config.address),
                   .on_exhausted = http::tellOfExhaustion(parts.log, "console", config.address)}) {}

    http::Server& server() noexcept { return server_; }

  private:
    Site site_;
    http::Server server_;
};

Console::Console(const ConsoleConfig& config, const Parts& parts)
    : impl_(std::make_unique<Impl>(config, parts)) {}

Console::~Console() {
    stop();
}

void Console::start() {
    impl_->server().start();
}

void Console::stop() noexcept {
    if (!impl_) return;
    try {
        impl_->server().stop();
    } catch (const Poco::Exception& error) {
        Poco::ErrorHandler::handle(error);
    }
    impl_.reset();
}

}  // namespace mailgate::console
