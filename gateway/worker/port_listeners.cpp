// SPDX-License-Identifier: Apache-2.0
#include "gateway/worker/port_listeners.h"

#include <array>
#include <cerrno>
#include <cstddef>
#include <cstdio>
#include <cstring>
#include <fstream>
#include <string>

namespace mailgate {
namespace {

/// Words of 32 bits in the machine's order, as proc_pid_net(5) has them: one for IPv4, four for IPv6.
IpAddress addressOf(const std::string& hex) {
    IpAddress address;
    std::array<std::uint8_t, 16> bytes{};
    for (std::size_t word = 0; word < hex.size() / 8; ++word) {
        const auto value = static_cast<std::uint32_t>(std::stoul(hex.substr(word * 8, 8), nullptr, 16));
        std::memcpy(bytes.data() + word * 4, &value, sizeof value);
    }
    if (hex.size() == 8) return IpAddress::fromV4({bytes[0], bytes[1], bytes[2], bytes[3]});
    address.bytes = bytes;
    return address;
}

/// False: it cannot be read.
bool addListening(const char* table, std::uint16_t port, std::vector<IpAddress>& found) {
    constexpr unsigned kListen = 0x0A;
    std::ifstream lines(table);
    std::string line;
    if (!std::getline(lines, line)) return false;  // the heading
    while (std::getline(lines, line)) {
        std::array<char, 33> local{};
        unsigned at = 0, state = 0;
        if (std::sscanf(line.c_str(), " %*d: %32[0-9A-F]:%4X %*s %2X", local.data(), &at, &state) != 3)
            return false;
        if (state != kListen) break;  // those that listen come first, and there may be very many others
        if (at == port) found.push_back(addressOf(local.data()));
    }
    return true;
}

}  // namespace

std::optional<std::vector<IpAddress>> addressesListening(std::uint16_t port) {
    std::vector<IpAddress> found;
    if (!addListening("/proc/self/net/tcp", port, found)) return std::nullopt;
    // A machine without IPv6 has no such table.
    errno = 0;
    if (!addListening("/proc/self/net/tcp6", port, found) && errno != ENOENT) return std::nullopt;
    return found;
}

}  // namespace mailgate
