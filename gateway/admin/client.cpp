// SPDX-License-Identifier: Apache-2.0
#include "gateway/admin/client.h"

#include <Poco/JSON/ParseHandler.h>
#include <Poco/JSON/Parser.h>
#include <Poco/Net/HTTPClientSession.h>
#include <Poco/Net/HTTPRequest.h>
#include <Poco/Net/HTTPResponse.h>
#include <Poco/Net/NetException.h>
#include <Poco/Net/SocketAddress.h>
#include <Poco/Net/StreamSocket.h>
#include <Poco/StreamCopier.h>
#include <Poco/URI.h>
#include <fmt/format.h>

#include <cerrno>
#include <cstring>
#include <sstream>

namespace mailgate::admin {
namespace {

using Poco::Net::HTTPRequest;
using Poco::Net::HTTPResponse;

using Kind = ClientError::Kind;

ClientError unreachable(const std::string& path, int error) {
    switch (error) {
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

Poco::Net::StreamSocket connectTo(const std::string& path, std::chrono::milliseconds patience) {
    if (path.empty())
        throw ClientError(Kind::NotListening,
                          "the configuration has no admin.socket: a running gateway cannot be reached");
    Poco::Net::StreamSocket socket;
    try {
        socket.connect(Poco::Net::SocketAddress(Poco::Net::SocketAddress::UNIX_LOCAL, path));
        const Poco::Timespan timeout(std::chrono::microseconds(patience).count());
        socket.setReceiveTimeout(timeout);
        socket.setSendTimeout(timeout);
    } catch (const Poco::Exception& error) {
        throw unreachable(path, error.code());
    }
    return socket;
}

Poco::JSON::Object::Ptr parseObject(const std::string& text) {
    constexpr bool kPreserveOrder = true;
    try {
        Poco::JSON::Parser parser(new Poco::JSON::ParseHandler(kPreserveOrder));
        return parser.parse(text).extract<Poco::JSON::Object::Ptr>();
    } catch (const Poco::Exception&) {
        return nullptr;
    }
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

Poco::JSON::Object::Ptr Client::ask(const std::string& method, const std::string& target,
                                    const std::string& body) const {
    Poco::Net::StreamSocket socket = connectTo(socket_path_, patience_);
    HTTPResponse response;
    std::string answer;
    try {
        Poco::Net::HTTPClientSession session(socket);
        session.setTimeout(Poco::Timespan(std::chrono::microseconds(patience_).count()));
        HTTPRequest request(method, target, HTTPRequest::HTTP_1_1);
        request.setHost("mailgate");
        if (method == HTTPRequest::HTTP_POST) {
            request.setContentType("application/json");
            request.setContentLength64(static_cast<Poco::Int64>(body.size()));
        }
        session.sendRequest(request) << body;
        Poco::StreamCopier::copyToString(session.receiveResponse(response), answer);
    } catch (const Poco::Exception& error) {
        throw ClientError(Kind::Silent, fmt::format("no answer from mailgate on {}: {}", socket_path_,
                                                    error.displayText()));
    }
    Poco::JSON::Object::Ptr object = parseObject(answer);
    const int status = response.getStatus();
    if (status >= 400)
        throw ClientError(status, object ? object->optValue<std::string>("error", response.getReason())
                                         : response.getReason());
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
