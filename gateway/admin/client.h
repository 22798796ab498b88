// SPDX-License-Identifier: Apache-2.0
/// \file  The command line's side of the admin socket: one request, one answer, as JSON.
///
/// The requests are those of docs/admin-api.md.
#pragma once

#include <Poco/JSON/Object.h>

#include <stdexcept>
#include <string>

namespace mailgate::admin {

/// There was no response (nobody listens, no permission, time-out), or an error response. what() is a sentence
/// for the operator.
class ClientError : public std::runtime_error {
  public:
    ClientError(int status, const std::string& message) : std::runtime_error(message), status_(status) {}
    int status() const noexcept { return status_; }  ///< HTTP status; 0: there was no answer

  private:
    int status_;
};

/// Each call opens a connection of its own and blocks, for a minute at most. For one thread.
class Client {
  public:
    /// `socket_path` is AdminConfig::socket. Connects to nothing yet.
    explicit Client(std::string socket_path) : socket_path_(std::move(socket_path)) {}

    /// `target` is path and query, percent-encoded ("/v1/sessions?client=192.0.2.0%2F24"). The answer's keys
    /// keep their order. Throw ClientError.
    Poco::JSON::Object::Ptr get(const std::string& target) const;
    Poco::JSON::Object::Ptr post(const std::string& target,
                                 const Poco::JSON::Object& body = Poco::JSON::Object()) const;
    Poco::JSON::Object::Ptr del(const std::string& target) const;

  private:
    Poco::JSON::Object::Ptr ask(const std::string& method, const std::string& target,
                                const std::string& body) const;

    std::string socket_path_;
};

/// A name or value as one segment of a path or one value of a query.
std::string percentEncoded(const std::string& text);

}  // namespace mailgate::admin
