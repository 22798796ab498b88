// SPDX-License-Identifier: Apache-2.0
/// \file  Listening sockets for HTTP over TCP, and what the log has of them.
#pragma once

#include "gateway/log/event_sink.h"

#include <Poco/Net/ServerSocket.h>

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>

namespace mailgate::http {

/// `what` names it in the error: "admin.http 127.0.0.1:8025". Throws ListenError.
Poco::Net::ServerSocket listenOn(const std::string& host, std::uint16_t port, std::string_view what);

/// For Server::Options::on_exhausted: `listener.exhausted`. `log` may be null.
std::function<void()> tellOfExhaustion(EventSink* log, std::string listener, std::string address);

/// For Server::Options::on_paused: `listener.paused`, `listener.resumed`. `log` may be null.
std::function<void(int error)> tellOfPause(EventSink* log, std::string listener, std::string address);

}  // namespace mailgate::http
