// SPDX-License-Identifier: Apache-2.0
/// \file  The command line's side of the admin socket: one request, one answer, as JSON.
///
/// The requests are those of docs/admin-api.md. A gateway that hangs is told from one that has much to do: nothing is asked of one
/// that does not answer /healthz first, which any that runs does at once. So an order to one that hangs is not given, and none
/// is carried out when it goes on.
#pragma once

#include <Poco/JSON/Object.h>

#include <chrono>
#include <cstdint>
#include <stdexcept>
#include <string>
#include <utility>

namespace mailgate::admin {

/// There was no response (nobody listens, no permission, time-out), or an error response. what() is a sentence
/// for the operator.
class ClientError : public std::runtime_error {
  public:
    /// Why there was no answer.
    enum class Kind : std::uint8_t {
        Answered,      ///< there was one: that it cannot be done
        NotListening,  ///< nobody is there
        NotPermitted,  ///< to this user
        Silent,        ///< somebody is there, and says nothing in time, or breaks off
    };

    ClientError(int status, const std::string& message)
        : std::runtime_error(message), kind_(Kind::Answered), status_(status) {}
    ClientError(Kind kind, const std::string& message)
        : std::runtime_error(message), kind_(kind), status_(0) {}
    Kind kind() const noexcept { return kind_; }
    int status() const noexcept { return status_; }  ///< HTTP status; 0: there was no answer

  private:
    Kind kind_;
    int status_;
};

/// Each call opens connections of its own and blocks, for so long at most. For one thread.
class Client {
  public:
    /// A reload resolves the servers' names before it answers.
    static constexpr std::chrono::seconds kPatience{60};
    /// How long one that runs may take to say that it does, on a machine that is busy.
    static constexpr std::chrono::seconds kReachPatience{5};

    /// `socket_path` is AdminConfig::socket. Connects to nothing yet.
    explicit Client(std::string socket_path, std::chrono::milliseconds patience = kPatience,
                    std::chrono::milliseconds reach_patience = kReachPatience)
        : socket_path_(std::move(socket_path)), patience_(patience), reach_patience_(reach_patience) {}

    /// `target` is path and query, percent-encoded ("/v1/sessions?client=192.0.2.0%2F24"). The answer's keys
    /// keep their order. Throw ClientError.
    Poco::JSON::Object::Ptr get(const std::string& target) const;
    Poco::JSON::Object::Ptr post(const std::string& target,
                                 const Poco::JSON::Object& body = Poco::JSON::Object()) const;
    Poco::JSON::Object::Ptr del(const std::string& target) const;

  private:
    void reach(bool is_order) const;
    Poco::JSON::Object::Ptr ask(const std::string& method, const std::string& target,
                                const std::string& body) const;

    std::string socket_path_;
    std::chrono::milliseconds patience_, reach_patience_;
};

/// A name or value as one segment of a path or one value of a query.
std::string percentEncoded(const std::string& text);

}  // namespace mailgate::admin
