// SPDX-License-Identifier: Apache-2.0
/// \file  Reading a request's body, by the thread that serves it.
#pragma once

#include "gateway/http/server.h"

#include <Poco/Net/HTTPServerRequest.h>

#include <chrono>
#include <cstddef>
#include <stdexcept>
#include <string>

namespace mailgate::http {

/// A body that has not come, or not as one: what to answer.
struct BodyError : std::runtime_error {
    BodyError(int the_status, const char* what) : std::runtime_error(what), status(the_status) {}

    int status;  ///< 408: the peer has stopped sending, or sends too slowly; 400: it has ended before, or its chunks are none
};

/// For each block of a body the peer has Server::kPeerLimit, however its bytes come, and for all of it kBodyLimit.
inline constexpr std::size_t kBodyBlock = std::size_t{64} << 10;
inline constexpr std::chrono::minutes kBodyLimit{15};

/// The body of `request`, or its first `most` + 1 bytes: it is too large then. Without a length and chunks there is none
/// (RFC 9112 6.3). Asks for it, where the client wants to be asked. Throws BodyError, and what Poco throws where the connection has failed.
std::string readBody(Poco::Net::HTTPServerRequest& request, std::size_t most, Server& server);

/// Whether the body is a small one (Server::kMaxSmallBody), which was here before a thread was asked for: readBody() waits for
/// nobody then.
bool isBodyHere(const Poco::Net::HTTPServerRequest& request);

}  // namespace mailgate::http
