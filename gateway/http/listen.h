// SPDX-License-Identifier: Apache-2.0
/// \file  Listening sockets for HTTP over TCP.
#pragma once

#include <Poco/Net/ServerSocket.h>

#include <cstdint>
#include <string>
#include <string_view>

namespace mailgate::http {

/// `what` names it in the error: "admin.http 127.0.0.1:8025". Throws ListenError.
Poco::Net::ServerSocket listenOn(const std::string& host, std::uint16_t port, std::string_view what);

}  // namespace mailgate::http
