// SPDX-License-Identifier: Apache-2.0
#include "gateway/http/listen.h"

#include "gateway/io/listen_error.h"

#include <Poco/Net/NetException.h>
#include <Poco/Net/SocketAddress.h>
#include <fmt/format.h>

#include <sys/socket.h>

#include <cstring>
#include <utility>

namespace mailgate::http {

Poco::Net::ServerSocket listenOn(const std::string& host, std::uint16_t port, std::string_view what) {
    // Poco's shorter ways set SO_REUSEPORT as well: two gateways would share the address.
    constexpr bool kReuseAddress = true, kReusePort = false;
    try {
        Poco::Net::ServerSocket socket;
        socket.bind(Poco::Net::SocketAddress(host, port), kReuseAddress, kReusePort);
        socket.listen(SOMAXCONN);
        return socket;
    } catch (const Poco::Exception& error) {
        throw ListenError(fmt::format("{}: cannot listen: {}", what, error.displayText()));
    }
}

std::function<void()> tellOfExhaustion(EventSink* log, std::string listener, std::string address) {
    return [log, listener = std::move(listener), address = std::move(address)] {
        if (log == nullptr) return;
        LogLine line = log->line(LogLevel::Critical, "listener.exhausted");
        log->write(line.text("listener", listener).text("address", address));
    };
}

std::function<void(int error)> tellOfPause(EventSink* log, std::string listener, std::string address) {
    return [log, listener = std::move(listener), address = std::move(address)](int error) {
        if (log == nullptr) return;
        const bool is_paused = error != 0;
        LogLine line = log->line(is_paused ? LogLevel::Critical : LogLevel::Warning,
                                 is_paused ? "listener.paused" : "listener.resumed");
        line.text("listener", listener).text("address", address);
        if (is_paused) line.text("reason", std::strerror(error));
        log->write(line);
    };
}

}  // namespace mailgate::http
