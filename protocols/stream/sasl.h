// SPDX-License-Identifier: Apache-2.0
/// \file  Reads the user name in a SASL exchange between a client and its server.
///
/// Knows PLAIN (RFC 4616), LOGIN, CRAM-MD5 (RFC 2195), SCRAM (RFC 5802), XOAUTH2 and OAUTHBEARER (RFC 7628); in any
/// other mechanism the responses are told apart from commands and not looked into. Of a response only the bytes up to
/// the name's end are decoded, so that no password or token is ever held in the clear.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace mailgate {

class SaslExchange {
  public:
    /// The client chose a mechanism.
    void start(std::string_view mechanism) noexcept;
    /// The server accepted or refused: the client's next line is a command again.
    void end() noexcept { mechanism_ = Mechanism::None; }

    /// The client's response in the same line as the command. Returns the name it offers, or nothing. Throws
    /// std::bad_alloc.
    std::string initial(std::string_view base64);
    /// A response in a line of its own, to a prompt.
    std::string respond(std::string_view base64);
    /// The server asks for the next response.
    void prompt() noexcept { prompted_ = true; }

    bool active() const noexcept { return mechanism_ != Mechanism::None; }
    /// The server waits for a response: the client's next line is one.
    bool prompted() const noexcept { return prompted_; }
    bool named() const noexcept { return named_; }  ///< a name was offered
    /// The client has sent credentials, and has not cancelled the exchange.
    bool tried() const noexcept { return responses_ > 0 && !aborted_; }

  private:
    enum class Mechanism : std::uint8_t { None, Plain, Login, CramMd5, Scram, XOauth2, OauthBearer, Other };

    std::string userIn(std::string_view base64) const;

    Mechanism mechanism_ = Mechanism::None;
    bool prompted_ = false;
    bool named_ = false;
    bool aborted_ = false;
    std::uint8_t responses_ = 0;  ///< saturates
};

/// The name that a login offers in the command itself, with the `response` in the same line; empty: not seen. Throws
/// std::bad_alloc.
std::string initialName(std::string_view mechanism, std::string_view response);

}  // namespace mailgate
