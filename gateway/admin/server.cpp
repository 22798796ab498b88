#include "gateway/admin/server.h"

#include "gateway/admin/api.h"
#include "gateway/admin/unix_listener.h"
#include "gateway/config/values.h"
#include "gateway/net/listening_sockets.h"

#include <Poco/ErrorHandler.h>
#include <Poco/Net/HTTPRequestHandler.h>
#include <Poco/Net/HTTPRequestHandlerFactory.h>
#include <Poco/Net/HTTPServerConnection.h>
#include <Poco/Net/HTTPServerParams.h>
#include <Poco/Net/HTTPServerRequestImpl.h>
#include <Poco/Net/HTTPServerResponse.h>
#include <Poco/Net/TCPServer.h>
#include <Poco/Net/TCPServerConnectionFactory.h>
#include <Poco/ThreadPool.h>
#include <Poco/URI.h>
#include <fmt/format.h>

#include <fcntl.h>
#include <sys/socket.h>

#include <istream>
#include <mutex>
#include <optional>
#include <set>

namespace mailgate::admin {
namespace {

namespace net = Poco::Net;

// How long a peer may keep a thread waiting for its next byte.
constexpr int kPeerTimeoutSeconds = 5;
constexpr int kMaxWaitingConnections = 32;
constexpr int kThreadsAtRest = 2;
constexpr int kMaxThreads = 8;

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
    Handler(Api& api, const std::string& socket_path) : api_(api), socket_path_(socket_path) {}

    void handleRequest(net::HTTPServerRequest& request, net::HTTPServerResponse& response) override {
        send(response, answerTo(request));
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
                return errorAnswer(403, fmt::format("{} may not use this socket", peer.user));
            call->user = peer.user;
            if (request.getContentLength64() > static_cast<Poco::Int64>(kMaxBody))
                return errorAnswer(413, fmt::format("a request's body is at most {} bytes", kMaxBody));
            call->body = readBody(request.stream());
        }
        return ask(*call);
    }

    Answer ask(const Call& call) {
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
    const std::string& socket_path_;
};

class Handlers final : public net::HTTPRequestHandlerFactory {
  public:
    Handlers(Api& api, std::string socket_path) : api_(api), socket_path_(std::move(socket_path)) {}
    net::HTTPRequestHandler* createRequestHandler(const net::HTTPServerRequest&) override {
        return new Handler(api_, socket_path_);
    }

  private:
    Api& api_;
    const std::string socket_path_;
};

/// The connections being served, so that a stop need not wait for what their peers do.
class OpenConnections {
  public:
    void add(int fd) {
        const std::lock_guard lock(mutex_);
        descriptors_.insert(fd);
        if (closing_) endRequests(fd);
    }
    void remove(int fd) {
        const std::lock_guard lock(mutex_);
        descriptors_.erase(fd);
    }
    void endAll() {
        const std::lock_guard lock(mutex_);
        closing_ = true;
        for (const int fd : descriptors_)
            endRequests(fd);
    }

  private:
    /// Nothing more is read; the answer to a request under way may still go out.
    static void endRequests(int fd) { ::shutdown(fd, SHUT_RD); }

    std::mutex mutex_;
    std::set<int> descriptors_;
    bool closing_ = false;
};

class Connection final : public net::HTTPServerConnection {
  public:
    Connection(const net::StreamSocket& connected, net::HTTPServerParams::Ptr params,
               net::HTTPRequestHandlerFactory::Ptr handlers, OpenConnections& open)
        : net::HTTPServerConnection(connected, std::move(params), std::move(handlers)),
          open_(open),
          handle_(::fcntl(connected.impl()->sockfd(), F_DUPFD_CLOEXEC, 0)) {
        socket().setSendTimeout(Poco::Timespan(kPeerTimeoutSeconds, 0));
        open_.add(handle_.get());
    }
    ~Connection() override { open_.remove(handle_.get()); }

    void run() override {
        try {
            net::HTTPServerConnection::run();
        } catch (const Poco::Exception&) {  // NOLINT(bugprone-empty-catch): the peer left, which is its right
        }
    }

  private:
    OpenConnections& open_;
    // A descriptor of its own: the connection's own one may be closed, and its number taken by a mail
    // session, at the moment when another thread wants to end it.
    Descriptor handle_;
};

class Connections final : public net::TCPServerConnectionFactory {
  public:
    Connections(net::HTTPServerParams::Ptr params, net::HTTPRequestHandlerFactory::Ptr handlers,
                OpenConnections& open)
        : params_(std::move(params)), handlers_(std::move(handlers)), open_(open) {}
    net::TCPServerConnection* createConnection(const net::StreamSocket& socket) override {
        return new Connection(socket, params_, handlers_, open_);
    }

  private:
    net::HTTPServerParams::Ptr params_;
    net::HTTPRequestHandlerFactory::Ptr handlers_;
    OpenConnections& open_;
};

net::HTTPServerParams::Ptr serverParams() {
    net::HTTPServerParams::Ptr params = new net::HTTPServerParams;
    params->setMaxThreads(kMaxThreads);
    params->setMaxQueued(kMaxWaitingConnections);
    params->setTimeout(Poco::Timespan(kPeerTimeoutSeconds, 0));
    params->setKeepAlive(false);  // a connection that waits would keep a thread
    params->setThreadIdleTime(Poco::Timespan(1, 0));
    params->setSoftwareVersion("mailgate");
    return params;
}

/// One door: a listening socket, and threads of its own so that the one cannot starve the other.
class HttpDoor {
  public:
    HttpDoor(const net::ServerSocket& socket, Api& api, const std::string& socket_path)
        : socket_(socket),
          params_(serverParams()),
          server_(new Connections(params_, new Handlers(api, socket_path), open_), threads_, socket,
                  params_) {}

    void start() { server_.start(); }

    void stop() {
        server_.stop();
        socket_.close();
        open_.endAll();
        threads_.joinAll();
    }

  private:
    net::ServerSocket socket_;
    OpenConnections open_;
    Poco::ThreadPool threads_{kThreadsAtRest, kMaxThreads};
    net::HTTPServerParams::Ptr params_;
    net::TCPServer server_;
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
            unix_door_.emplace(unix_listener_->socket(), api_, config.socket);
        }
        if (!config.http.empty()) http_door_.emplace(listenOnTcp(config.http), api_, "");
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
