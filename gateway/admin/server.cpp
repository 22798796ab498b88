// SPDX-License-Identifier: Apache-2.0
#include "gateway/admin/server.h"

#include "gateway/admin/acting_user.h"
#include "gateway/admin/api.h"
#include "gateway/admin/unix_listener.h"
#include "gateway/base/descriptor.h"
#include "gateway/config/values.h"
#include "gateway/http/body.h"
#include "gateway/http/listen.h"
#include "gateway/http/server.h"
#include "gateway/http/target.h"

#include <Poco/ErrorHandler.h>
#include <Poco/Net/HTTPRequestHandler.h>
#include <Poco/Net/HTTPRequestHandlerFactory.h>
#include <Poco/Net/HTTPServerRequestImpl.h>
#include <Poco/Net/HTTPServerResponse.h>
#include <Poco/URI.h>
#include <fmt/format.h>

#include <optional>

namespace mailgate::admin {
namespace {

namespace net = Poco::Net;

/// Up to one byte more than is allowed, which is how the reader of the result knows.
/// Nothing when the target is no well-formed URI.
std::optional<Request> requestFrom(net::HTTPServerRequest& http, Origin origin) {
    Request request;
    try {
        const Poco::URI uri(http.getURI());
        uri.getPathSegments(request.path);
        request.query = uri.getQueryParameters();
    } catch (const Poco::Exception&) {
        return std::nullopt;
    }
    request.origin = origin;
    request.method = http.getMethod();
    return request;
}

void send(net::HTTPServerResponse& http, const Response& response) {
    http.setStatusAndReason(static_cast<net::HTTPResponse::HTTPStatus>(response.status));
    http.setContentType(response.content_type);
    http.set("Cache-Control", "no-store");
    if (!response.allow.empty()) http.set("Allow", response.allow);
    http.sendBuffer(response.body.data(), response.body.size());
}

class Handler final : public net::HTTPRequestHandler {
  public:
    /// `socket_path` is empty for the HTTP listener.
    Handler(Api& api, http::Server& server, const std::string& socket_path,
            const AdminServer::Further& further)
        : api_(api), server_(server), socket_path_(socket_path), further_(further) {}

    void handleRequest(net::HTTPServerRequest& http, net::HTTPServerResponse& http_response) override {
        http::takeAuthority(http);
        if (further_ && !socket_path_.empty() && http.getURI().starts_with(AdminServer::kFurtherRoot)) {
            const Peer peer(descriptorOf(http));
            if (peer.mayUse(descriptorOf(http), socket_path_))
                return further_(server_, isOrder(http) ? whoOrders(peer, http) : peer.user(), http,
                                http_response);
        }
        const Response response = respond(http);
        server_.restartPeerLimit();
        send(http_response, response);
    }

  private:
    static int descriptorOf(net::HTTPServerRequest& http) {
        return static_cast<net::HTTPServerRequestImpl&>(http).socket().impl()->sockfd();
    }

    static bool isOrder(const net::HTTPServerRequest& http) { return http.getMethod() != "GET"; }
    static std::string whoOrders(const Peer& peer, const net::HTTPServerRequest& http) {
        return orderingUser(peer.uid, http.get(kActingUserHeader, ""));
    }

    Response respond(net::HTTPServerRequest& http) {
        if (http.getURI().size() > kMaxTarget) return errorResponse(414, "the path is too long");
        std::optional<Request> request =
            requestFrom(http, socket_path_.empty() ? Origin::Http : Origin::Socket);
        if (!request) return errorResponse(400, "the path is not well-formed");
        if (request->origin == Origin::Socket) {
            const int fd = descriptorOf(http);
            const Peer peer(fd);
            if (!peer.mayUse(fd, socket_path_))
                return errorResponse(403, fmt::format("{} may not use this socket", peer.user()));
            if (isOrder(http)) request->user = whoOrders(peer, http);
            if (http.getContentLength64() > static_cast<Poco::Int64>(kMaxBody))
                return errorResponse(413, fmt::format("the request body is larger than {} bytes", kMaxBody));
            try {
                request->body = http::readBody(http, kMaxBody, server_);
            } catch (const http::BodyError& error) {
                return errorResponse(error.status, error.what());
            }
            request->given_up = server_.hasPeerLeft();
        }
        return handle(*request);
    }

    Response handle(const Request& request) {
        server_.suspendPeerLimit();
        try {
            return api_.handle(request);
        } catch (const Poco::Exception& error) {
            Poco::ErrorHandler::handle(error);
            return errorResponse(500, error.displayText());
        } catch (const std::exception& error) {
            Poco::ErrorHandler::handle(error);
            return errorResponse(500, error.what());
        }
    }

    Api& api_;
    http::Server& server_;
    const std::string& socket_path_;
    const AdminServer::Further& further_;
};

class Handlers final : public net::HTTPRequestHandlerFactory {
  public:
    Handlers(Api& api, http::Server& server, std::string socket_path, AdminServer::Further further)
        : api_(api), server_(server), socket_path_(std::move(socket_path)), further_(std::move(further)) {}
    net::HTTPRequestHandler* createRequestHandler(const net::HTTPServerRequest&) override {
        return new Handler(api_, server_, socket_path_, further_);
    }

    static http::Server::Handlers of(Api& api, const std::string& socket_path,
                                     const AdminServer::Further& further = {}) {
        return [&api, socket_path, further](http::Server& server) {
            return new Handlers(api, server, socket_path, further);
        };
    }

  private:
    Api& api_;
    http::Server& server_;
    const std::string socket_path_;
    const AdminServer::Further further_;
};

net::ServerSocket listenOnTcp(const std::string& address) {
    const HostPort host_port = parseHostPort(address).value();
    return http::listenOn(host_port.host, host_port.port, "admin.http " + address);
}

}  // namespace

class AdminServer::Impl {
  public:
    Impl(const AdminConfig& config, Control& control, EventLog* log, const Further& further)
        : api_(control, log) {
        if (!config.socket.empty()) {
            unix_listener_.emplace(config.socket);
            unix_server_.emplace(
                unix_listener_->socket(), Handlers::of(api_, config.socket, further),
                http::Server::Options{
                    .on_paused = http::tellOfPause(log, "admin.socket", config.socket),
                    .on_exhausted = http::tellOfExhaustion(log, "admin.socket", config.socket)});
        }
        if (!config.http.empty())
            http_server_.emplace(listenOnTcp(config.http), Handlers::of(api_, ""),
                                 http::Server::Options{
                                     .on_paused = http::tellOfPause(log, "admin.http", config.http),
                                     .on_exhausted = http::tellOfExhaustion(log, "admin.http", config.http)});
    }

    void start() {
        for (std::optional<http::Server>* server : {&unix_server_, &http_server_}) {
            if (*server) (*server)->start();
        }
    }

    void stop() {
        for (std::optional<http::Server>* server : {&unix_server_, &http_server_}) {
            if (*server) (*server)->stop();
        }
    }

  private:
    Api api_;
    std::optional<UnixListener> unix_listener_;
    std::optional<http::Server> unix_server_;
    std::optional<http::Server> http_server_;
};

AdminServer::AdminServer(const AdminConfig& config, Control& control, EventLog* log, const Further& further)
    : impl_(std::make_unique<Impl>(config, control, log, further)) {}

AdminServer::~AdminServer() {
    stop();
}

void AdminServer::start() {
    impl_->start();
}

void AdminServer::stop() noexcept {
    if (!impl_) return;
    try {
        impl_->stop();
    } catch (const Poco::Exception& error) {
        Poco::ErrorHandler::handle(error);
    }
    impl_.reset();
}

}  // namespace mailgate::admin
