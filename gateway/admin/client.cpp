// SPDX-License-Identifier: Apache-2.0
#include "gateway/admin/client.h"

#include "gateway/admin/acting_user.h"
#include "gateway/base/descriptor.h"

#include <Poco/JSON/ParseHandler.h>
#include <Poco/JSON/Parser.h>
#include <Poco/Net/HTTPClientSession.h>
#include <Poco/Net/HTTPRequest.h>
#include <Poco/Net/HTTPResponse.h>
#include <Poco/Net/NetException.h>
#include <Poco/Net/StreamSocket.h>
#include <Poco/Net/StreamSocketImpl.h>
#include <Poco/StreamCopier.h>
#include <Poco/URI.h>
#include <fmt/format.h>

#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <sstream>
#include <string_view>

namespace mailgate::admin {
namespace {

using Poco::Net::HTTPRequest;
using Poco::Net::HTTPResponse;

using Kind = ClientError::Kind;

ClientError hangs(const std::string& path, bool is_order) {
    return {Kind::Silent, fmt::format("the gateway on {} does not answer: it is stopped, or hangs{}", path,
                                      is_order ? "; the order was not given" : "")};
}

ClientError exhausted(const std::string& path) {
    constexpr int kUnavailable = 503;
    return {
        kUnavailable,
        fmt::format("the gateway on {} has hardly any descriptors left for now, and answers nothing (503): "
                    "raise LimitNOFILE",
                    path)};
}

ClientError unreachable(const std::string& path, int error) {
    switch (error) {
        case EAGAIN:  // in time
            return hangs(path, false);
        case ENOENT:
        case ECONNREFUSED:
            return {Kind::NotListening,
                    fmt::format("no gateway is listening on {}: is it running, and with this configuration?",
                                path)};
        case EACCES:
        case EPERM:
            return {Kind::NotPermitted,
                    fmt::format("permission denied on {}: only root, the gateway's user and members of the "
                                "socket's group may use it",
                                path)};
        default:
            return {Kind::Silent, fmt::format("cannot connect to {}: {}", path, std::strerror(error))};
    }
}

void limit(int fd, int option, std::chrono::milliseconds patience) {
    const auto microseconds = std::chrono::microseconds(patience).count();
    const timeval limit{microseconds / 1'000'000, microseconds % 1'000'000};
    ::setsockopt(fd, SOL_SOCKET, option, &limit, sizeof limit);
}

/// Where the queue of those that nobody accepts is full, connecting waits too, and not Poco's for a limit.
Poco::Net::StreamSocket connectTo(const std::string& path, std::chrono::milliseconds patience) {
    if (path.empty())
        throw ClientError(Kind::NotListening,
                          "the configuration has no admin.socket: a running gateway cannot be reached");
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    if (path.size() >= sizeof address.sun_path) throw unreachable(path, ENAMETOOLONG);
    path.copy(address.sun_path, path.size());
    Descriptor fd(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
    limit(fd.get(), SO_SNDTIMEO, patience);
    limit(fd.get(), SO_RCVTIMEO, patience);
    int result = 0;
    do {
        result = ::connect(fd.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address);
    } while (result != 0 && errno == EINTR);
    if (result != 0) throw unreachable(path, errno);
    return Poco::Net::StreamSocket(new Poco::Net::StreamSocketImpl(fd.release()));
}

struct Answer {
    HTTPResponse head;
    std::string body;
};

Poco::JSON::Object::Ptr parseObject(const std::string& text) {
    constexpr bool kPreserveOrder = true;
    try {
        Poco::JSON::Parser parser(new Poco::JSON::ParseHandler(kPreserveOrder));
        return parser.parse(text).extract<Poco::JSON::Object::Ptr>();
    } catch (const Poco::Exception&) {
        return nullptr;
    }
}

/// Throws what Poco throws, or a ClientError.
Answer exchange(const std::string& path, const std::string& method, const std::string& target,
                const std::string& body, std::chrono::milliseconds patience) {
    Poco::Net::StreamSocket socket = connectTo(path, patience);
    Poco::Net::HTTPClientSession session(socket);
    session.setTimeout(Poco::Timespan(std::chrono::microseconds(patience).count()));
    HTTPRequest request(method, target, HTTPRequest::HTTP_1_1);
    request.setHost("mailgate");
    if (method != HTTPRequest::HTTP_GET) request.set(kActingUserHeader, actingUser());
    if (method == HTTPRequest::HTTP_POST) {
        request.setContentType("application/json");
        request.setContentLength64(static_cast<Poco::Int64>(body.size()));
    }
    Answer answer;
    // Poco closes what it cannot send to.
    const Descriptor same(::dup(socket.impl()->sockfd()));
    try {
        session.sendRequest(request) << body;
        Poco::StreamCopier::copyToString(session.receiveResponse(answer.head), answer.body);
    } catch (const Poco::Exception&) {
        // One that has no descriptors left does not wait for the request.
        constexpr std::string_view kUnavailable = "HTTP/1.1 503 ";
        std::array<char, kUnavailable.size()> head{};
        const ssize_t got = ::recv(same.get(), head.data(), head.size(), MSG_DONTWAIT);
        if (std::string_view(head.data(), static_cast<std::size_t>(std::max<ssize_t>(got, 0))) ==
            kUnavailable)
            throw exhausted(path);
        throw;
    }
    // Whoever refuses an order does so in JSON.
    if (answer.head.getStatus() == HTTPResponse::HTTP_SERVICE_UNAVAILABLE && !parseObject(answer.body))
        throw exhausted(path);
    return answer;
}

}  // namespace

Poco::JSON::Object::Ptr Client::get(const std::string& target) const {
    return ask(HTTPRequest::HTTP_GET, target, {});
}

Poco::JSON::Object::Ptr Client::post(const std::string& target, const Poco::JSON::Object& body) const {
    std::ostringstream text;
    body.stringify(text);
    return ask(HTTPRequest::HTTP_POST, target, text.str());
}

Poco::JSON::Object::Ptr Client::del(const std::string& target) const {
    return ask(HTTPRequest::HTTP_DELETE, target, {});
}

void Client::reach(bool is_order) const {
    try {
        exchange(socket_path_, HTTPRequest::HTTP_GET, "/healthz", {}, reach_patience_);
    } catch (const Poco::Exception&) {
        throw hangs(socket_path_, is_order);
    }
}

Poco::JSON::Object::Ptr Client::ask(const std::string& method, const std::string& target,
                                    const std::string& body) const {
    const bool is_order = method != HTTPRequest::HTTP_GET;
    if (is_order || patience_ > reach_patience_) reach(is_order);
    Answer answer;
    try {
        answer = exchange(socket_path_, method, target, body, patience_);
    } catch (const Poco::Exception& error) {
        throw ClientError(
            Kind::Silent,
            fmt::format(
                "no answer from mailgate on {}: {}{}", socket_path_, error.displayText(),
                is_order ? ": whether the order was carried out is not known (mailgate status)" : ""));
    }
    Poco::JSON::Object::Ptr object = parseObject(answer.body);
    const int status = answer.head.getStatus();
    if (status >= 400)
        throw ClientError(status, object ? object->optValue<std::string>("error", answer.head.getReason())
                                         : answer.head.getReason());
    if (!object)
        throw ClientError(
            status,
            fmt::format("the process that answers on {} is not mailgate: its answer is not a JSON object",
                        socket_path_));
    return object;
}

std::string percentEncoded(const std::string& text) {
    std::string encoded;
    Poco::URI::encode(text, "/?&=#+", encoded);
    return encoded;
}

}  // namespace mailgate::admin
