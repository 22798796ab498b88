// SPDX-License-Identifier: Apache-2.0
/// \file  PROXY protocol headers for the load tool: written by the client side, recognised by the sink.
///
/// Written apart from protocols/proxy on purpose: what measures the gateway must not share its mistakes.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace mailgate::load {

/// A version 2 header for TCP over IPv4. Addresses and ports in host byte order.
std::string proxyHeader(std::uint32_t client, std::uint16_t client_port, std::uint32_t destination,
                        std::uint16_t destination_port);

enum class HeaderKind : std::uint8_t {
    Incomplete,  ///< more bytes are needed
    Invalid,     ///< no header
    Local,       ///< a header without a client address: a health check
    Loopback,    ///< a client address in 127.0.0.0/8: the gateway did not pass on the original one
    Client,      ///< a header with an original client address
};

struct HeaderFound {
    HeaderKind kind;
    std::size_t length = 0;  ///< bytes of the header, for the last three kinds
};

/// Version 1 or 2, at the start of `bytes`.
HeaderFound findProxyHeader(std::string_view bytes);

/// Addresses to claim, spread over the networks of a list.
class ClientAddresses {
  public:
    /// One IPv4 network in CIDR notation a line, as an allowlist has them. Throws std::runtime_error.
    static ClientAddresses fromFile(const std::string& path);
    /// 198.51.100.0/24
    ClientAddresses();

    /// A host of the n-th network, another one each time round; host byte order.
    std::uint32_t at(std::uint64_t n) const;

  private:
    struct Network {
        std::uint32_t first;
        std::uint64_t size;
    };
    static Network parse(const std::string& text);
    std::vector<Network> networks_;
};

}  // namespace mailgate::load
