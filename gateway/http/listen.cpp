// SPDX-License-Identifier: Apache-2.0
#include "gateway/http/listen.h"

#include "gateway/io/listen_error.h"

#include <Poco/Net/NetException.h>
#include <Poco/Net/SocketAddress.h>
#include <fmt/format.h>

namespace mailgate::http {

Poco::Net::ServerSocket listenOn(const std::string& host, std::uint16_t port, std::string_view what) {
    // Poco's shorter ways set SO_REUSEPORT as well: two gateways would share the address.
    constexpr bool kReuseAddress = true, kReusePort = false;
    try {
        Poco::Net::ServerSocket socket;
        socket.bind(Poco::Net::SocketAddress(host, port), kReuseAddress, kReusePort);
        socket.listen();
        return socket;
    } catch (const Poco::Exception& error) {
        throw ListenError(fmt::format("{}: cannot listen: {}", what, error.displayText()));
    }
}

}  // namespace mailgate::http
