// SPDX-License-Identifier: Apache-2.0
#include "gateway/admin/server.h"

#include "gateway/admin/api.h"
#include "gateway/admin/http_door.h"
#include "gateway/admin/unix_listener.h"
#include "gateway/base/descriptor.h"
#include "gateway/config/values.h"
#include "gateway/io/listen_error.h"

#include <Poco/ErrorHandler.h>
#include <Poco/Net/HTTPRequestHandler.h>
#include <Poco/Net/HTTPRequestHandlerFactory.h>
#include <Poco/Net/HTTPServerRequestImpl.h>
#include <Poco/Net/HTTPServerResponse.h>
#include <Poco/URI.h>
#include <fmt/format.h>

#include <istream>
#include <optional>

namespace mailgate::admin {
namespace {

namespace net = Poco::Net;

/// Up to one byte more than is allowed, which is how the reader of the result knows.
std::string readBody(std::istream& stream) {
    std::string body(kMaxBody + 1, '\0');
    stream.read(body.data(), static_cast<std::streamsize>(body.size()));
    body.resize(static_cast<std::size_t>(stream.gcount()));
    return body;
}

/// Nothing when the target is no well-formed URI.
std::optional<Call> callFrom(net::HTTPServerRequest& request, Door door) {
    Call call;
    try {
        const Poco::URI uri(request.getURI());
        uri.getPathSegments(call.path);
        call.query = uri.getQueryParameters();
    } catch (const Poco::Exception&) {
        return std::nullopt;
    }
    call.door = door;
    call.method = request.getMethod();
    return call;
}

void send(net::HTTPServerResponse& response, const Answer& answer) {
    response.setStatusAndReason(static_cast<net::HTTPResponse::HTTPStatus>(answer.status));
    response.setContentType(answer.content_type);
    response.set("Cache-Control", "no-store");
    if (!answer.allow.empty()) response.set("Allow", answer.allow);
    response.sendBuffer(answer.body.data(), answer.body.size());
}

class Handler final : public net::HTTPRequestHandler {
  public:
    /// `socket_path` is empty for the HTTP door.
    Handler(Api& api, HttpDoor& door, const std::string& socket_path)
        : api_(api), door_(door), socket_path_(socket_path) {}

    void handleRequest(net::HTTPServerRequest& request, net::HTTPServerResponse& response) override {
        const Answer answer = answerTo(request);
        door_.restartPeerLimit();
        send(response, answer);
    }

  private:
    Answer answerTo(net::HTTPServerRequest& request) {
        if (request.getURI().size() > kMaxTarget) return errorAnswer(414, "the path is too long");
        std::optional<Call> call = callFrom(request, socket_path_.empty() ? Door::Http : Door::Socket);
        if (!call) return errorAnswer(400, "the path is not well-formed");
        if (call->door == Door::Socket) {
            const int fd = static_cast<net::HTTPServerRequestImpl&>(request).socket().impl()->sockfd();
            const Peer peer(fd);
            if (!peer.mayUse(fd, socket_path_))
                return errorAnswer(403, fmt::format("{} may not use this socket", peer.user()));
            if (call->method != "GET") call->user = peer.user();  // for the log of orders
            if (request.getContentLength64() > static_cast<Poco::Int64>(kMaxBody))
                return errorAnswer(413, fmt::format("a request's body is at most {} bytes", kMaxBody));
            call->body = readBody(request.stream());
        }
        return ask(*call);
    }

    Answer ask(const Call& call) {
        door_.suspendPeerLimit();
        try {
            return api_.answer(call);
        } catch (const Poco::Exception& error) {
            Poco::ErrorHandler::handle(error);
            return errorAnswer(500, error.displayText());
        } catch (const std::exception& error) {
            Poco::ErrorHandler::handle(error);
            return errorAnswer(500, error.what());
        }
    }

    Api& api_;
    HttpDoor& door_;
    const std::string& socket_path_;
};

class Handlers final : public net::HTTPRequestHandlerFactory {
  public:
    Handlers(Api& api, HttpDoor& door, std::string socket_path)
        : api_(api), door_(door), socket_path_(std::move(socket_path)) {}
    net::HTTPRequestHandler* createRequestHandler(const net::HTTPServerRequest&) override {
        return new Handler(api_, door_, socket_path_);
    }

    static HttpDoor::Handlers of(Api& api, const std::string& socket_path) {
        return [&api, socket_path](HttpDoor& door) { return new Handlers(api, door, socket_path); };
    }

  private:
    Api& api_;
    HttpDoor& door_;
    const std::string socket_path_;
};

net::ServerSocket listenOnTcp(const std::string& address) {
    // Poco's shorter ways set SO_REUSEPORT as well: two gateways would share the address.
    constexpr bool kReuseAddress = true, kReusePort = false;
    try {
        const HostPort host_port = parseHostPort(address).value();
        net::ServerSocket socket;
        socket.bind(net::SocketAddress(host_port.host, host_port.port), kReuseAddress, kReusePort);
        socket.listen();
        return socket;
    } catch (const Poco::Exception& error) {
        throw ListenError(fmt::format("admin.http {}: cannot listen: {}", address, error.displayText()));
    }
}

}  // namespace

class AdminServer::Impl {
  public:
    Impl(const AdminConfig& config, Control& control, EventLog* log) : api_(control, log) {
        if (!config.socket.empty()) {
            unix_listener_.emplace(config.socket);
            unix_door_.emplace(unix_listener_->socket(), Handlers::of(api_, config.socket));
        }
        if (!config.http.empty()) http_door_.emplace(listenOnTcp(config.http), Handlers::of(api_, ""));
    }

    void start() {
        for (std::optional<HttpDoor>* door : {&unix_door_, &http_door_}) {
            if (*door) (*door)->start();
        }
    }

    void stop() {
        for (std::optional<HttpDoor>* door : {&unix_door_, &http_door_}) {
            if (*door) (*door)->stop();
        }
    }

  private:
    Api api_;
    std::optional<UnixListener> unix_listener_;
    std::optional<HttpDoor> unix_door_;
    std::optional<HttpDoor> http_door_;
};

AdminServer::AdminServer(const AdminConfig& config, Control& control, EventLog* log)
    : impl_(std::make_unique<Impl>(config, control, log)) {}

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
