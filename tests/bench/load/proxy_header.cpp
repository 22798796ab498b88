// SPDX-License-Identifier: Apache-2.0
#include "tests/bench/load/proxy_header.h"

#include <arpa/inet.h>

#include <fstream>
#include <stdexcept>

namespace mailgate::load {

namespace {

using namespace std::string_view_literals;

constexpr auto kSignature = "\r\n\r\n\0\r\nQUIT\n"sv;
constexpr std::size_t kFixedPart = 16;
constexpr std::size_t kLongestVersion1 = 107;

void appendNumber(std::string& out, std::uint32_t value, int bytes) {
    for (int shift = 8 * (bytes - 1); shift >= 0; shift -= 8)
        out.push_back(static_cast<char>(value >> shift));
}

HeaderFound findVersion2(std::string_view bytes) {
    if (bytes.size() < kFixedPart) return {HeaderKind::Incomplete};
    const auto octet = [&](std::size_t at) { return static_cast<unsigned char>(bytes[at]); };
    const std::size_t length = kFixedPart + (octet(14) << 8 | octet(15));
    if (bytes.size() < length) return {HeaderKind::Incomplete};
    constexpr unsigned char kLocal = 0x20, kProxy = 0x21, kTcp4 = 0x11, kTcp6 = 0x21;
    if (octet(12) == kLocal) return {HeaderKind::Local, length};
    if (octet(12) != kProxy || (octet(13) != kTcp4 && octet(13) != kTcp6) || length == kFixedPart)
        return {HeaderKind::Invalid};
    const bool loopback = octet(13) == kTcp4 && octet(16) == 127;
    return {loopback ? HeaderKind::Loopback : HeaderKind::Client, length};
}

HeaderFound findVersion1(std::string_view bytes) {
    const std::size_t end = bytes.substr(0, kLongestVersion1).find("\r\n");
    if (end == bytes.npos)
        return {bytes.size() < kLongestVersion1 ? HeaderKind::Incomplete : HeaderKind::Invalid};
    const auto line = bytes.substr(0, end);
    if (line.starts_with("PROXY UNKNOWN")) return {HeaderKind::Local, end + 2};
    return {line.starts_with("PROXY TCP4 127.") ? HeaderKind::Loopback : HeaderKind::Client, end + 2};
}

/// Whether `bytes` could still begin with `word`.
bool agrees(std::string_view bytes, std::string_view word) {
    return bytes.substr(0, word.size()) == word.substr(0, bytes.size());
}

}  // namespace

std::string proxyHeader(std::uint32_t client, std::uint16_t client_port, std::uint32_t destination,
                        std::uint16_t destination_port) {
    std::string header(kSignature);
    header += "\x21\x11\x00\x0c"sv;  // version 2 PROXY, TCP over IPv4, twelve octets of addresses
    appendNumber(header, client, 4);
    appendNumber(header, destination, 4);
    appendNumber(header, client_port, 2);
    appendNumber(header, destination_port, 2);
    return header;
}

HeaderFound findProxyHeader(std::string_view bytes) {
    if (agrees(bytes, kSignature)) return findVersion2(bytes);
    if (agrees(bytes, "PROXY "sv)) return findVersion1(bytes);
    return {HeaderKind::Invalid};
}

ClientAddresses::Network ClientAddresses::parse(const std::string& text) {
    const std::size_t slash = text.find('/');
    in_addr address{};
    if (inet_pton(AF_INET, text.substr(0, slash).c_str(), &address) != 1)
        throw std::runtime_error("not an IPv4 network: " + text);
    const int prefix = slash == text.npos ? 32 : std::stoi(text.substr(slash + 1));
    return {ntohl(address.s_addr), std::uint64_t{1} << (32 - prefix)};
}

ClientAddresses::ClientAddresses() : networks_{parse("198.51.100.0/24")} {}

ClientAddresses ClientAddresses::fromFile(const std::string& path) {
    ClientAddresses result;
    result.networks_.clear();
    std::ifstream file(path);
    for (std::string line; std::getline(file, line);)
        if (!line.empty() && line.front() != '#') result.networks_.push_back(parse(line));
    if (result.networks_.empty()) throw std::runtime_error("no networks in " + path);
    return result;
}

std::uint32_t ClientAddresses::at(std::uint64_t n) const {
    const Network& network = networks_[n % networks_.size()];
    return network.first + static_cast<std::uint32_t>(n / networks_.size() % network.size);
}

}  // namespace mailgate::load
