// SPDX-License-Identifier: Apache-2.0
#include "protocols/proxy/encoder.h"

#include "protocols/proxy/crc32c.h"
#include "protocols/proxy/wire.h"

#include <algorithm>
#include <limits>
#include <span>
#include <string_view>
#include <utility>

namespace mailgate::proxy {
namespace {

constexpr std::size_t kCrc32cTlvBytes = wire::kTlvHeadBytes + wire::kCrc32cBytes;
constexpr std::size_t kLengthFieldMax = wire::kV2FixedBytes + std::numeric_limits<std::uint16_t>::max();

bool bothV4(const Connection& connection) noexcept {
    return connection.source.address.isV4() && connection.destination.address.isV4();
}

/// As the line's family wants it: IPv4 between two IPv6 fields is written mapped.
std::string addressText(const IpAddress& address, bool v4_line) {
    return (address.isV4() && !v4_line ? "::ffff:" : "") + address.toString();
}

template <typename Number>
void appendBigEndian(std::string& out, Number number) {
    for (int shift = 8 * (sizeof(Number) - 1); shift >= 0; shift -= 8) {
        out += static_cast<char>(number >> shift & 0xff);
    }
}

void appendFixedPart(std::string& out, Command command, Family family, Transport transport,
                     std::size_t rest_bytes) {
    constexpr std::uint8_t kVersion2 = 0x20;
    out += wire::kV2Signature;
    out += static_cast<char>(kVersion2 | static_cast<std::uint8_t>(command));
    out += static_cast<char>(static_cast<std::uint8_t>(family) << 4 | static_cast<std::uint8_t>(transport));
    appendBigEndian(out, static_cast<std::uint16_t>(rest_bytes));
}

void appendAddress(std::string& out, const IpAddress& address, Family family) {
    const std::size_t skipped = family == Family::Inet ? address.bytes.size() - 4 : 0;
    out.append(reinterpret_cast<const char*>(address.bytes.data()) + skipped, address.bytes.size() - skipped);
}

void appendTlv(std::string& out, std::uint8_t type, std::string_view value) {
    out += static_cast<char>(type);
    appendBigEndian(out, static_cast<std::uint16_t>(value.size()));
    out += value;
}

bool isPassedOn(const Tlv& tlv) noexcept {
    return tlv.type != static_cast<std::uint8_t>(TlvType::Crc32c);
}

struct Fitting {
    std::size_t count = 0;  ///< of the TLVs, from the front
    std::size_t bytes = 0;
};

Fitting fitTlvs(const std::vector<Tlv>& tlvs, std::size_t room) {
    Fitting fitting;
    for (const Tlv& tlv : tlvs) {
        const std::size_t bytes = isPassedOn(tlv) ? wire::kTlvHeadBytes + tlv.value.size() : 0;
        if (bytes > room - fitting.bytes) break;
        fitting.bytes += bytes;
        ++fitting.count;
    }
    return fitting;
}

/// Computed over the final bytes with the field zeroed, then written into it (specification 2.2.3).
void appendChecksum(std::string& header) {
    appendTlv(header, static_cast<std::uint8_t>(TlvType::Crc32c),
              std::string_view("\0\0\0\0", wire::kCrc32cBytes));
    Crc32c crc;
    crc.update({reinterpret_cast<const std::uint8_t*>(header.data()), header.size()});
    header.resize(header.size() - wire::kCrc32cBytes);
    appendBigEndian(header, crc.value());
}

}  // namespace

std::string encodeV1(const Connection& connection) {
    const bool v4 = bothV4(connection);
    std::string line(wire::kV1Signature);
    line += v4 ? "TCP4 " : "TCP6 ";
    line +=
        addressText(connection.source.address, v4) + ' ' + addressText(connection.destination.address, v4);
    line += ' ' + std::to_string(connection.source.port) + ' ' + std::to_string(connection.destination.port) +
            "\r\n";
    return line;
}

std::string encodeV2(const Connection& connection, const std::vector<Tlv>& tlvs, bool checksum,
                     std::size_t max_bytes) {
    const Family family = bothV4(connection) ? Family::Inet : Family::Inet6;
    const std::size_t block_bytes = family == Family::Inet ? wire::kInetBlockBytes : wire::kInet6BlockBytes;
    const std::size_t address_end = wire::kV2FixedBytes + block_bytes;
    const std::size_t room = std::clamp(max_bytes, address_end, kLengthFieldMax) - address_end;
    const std::size_t checksum_bytes = checksum && room >= kCrc32cTlvBytes ? kCrc32cTlvBytes : 0;
    const Fitting fitting = fitTlvs(tlvs, room - checksum_bytes);

    std::string header;
    header.reserve(address_end + fitting.bytes + checksum_bytes);
    appendFixedPart(header, Command::Proxy, family, Transport::Stream,
                    block_bytes + fitting.bytes + checksum_bytes);
    appendAddress(header, connection.source.address, family);
    appendAddress(header, connection.destination.address, family);
    appendBigEndian(header, connection.source.port);
    appendBigEndian(header, connection.destination.port);
    for (const Tlv& tlv : std::span(tlvs).first(fitting.count)) {
        if (isPassedOn(tlv)) appendTlv(header, tlv.type, tlv.value);
    }
    if (checksum_bytes != 0) appendChecksum(header);
    return header;
}

Tlv encodeSsl(const SslInfo& ssl) {
    constexpr std::uint8_t kClientSsl = 0x01, kClientCertificate = 0x02;
    std::string value;
    value +=
        static_cast<char>((ssl.tls ? kClientSsl : 0) | (ssl.certificate_verified ? kClientCertificate : 0));
    appendBigEndian(value, std::uint32_t{ssl.certificate_verified ? 0U : 1U});
    for (const auto& [type, text] : {std::pair<TlvType, const std::string&>{TlvType::SslVersion, ssl.version},
                                     {TlvType::SslCn, ssl.common_name},
                                     {TlvType::SslCipher, ssl.cipher},
                                     {TlvType::SslSigAlg, ssl.signature_algorithm},
                                     {TlvType::SslKeyAlg, ssl.key_algorithm}}) {
        if (!text.empty()) appendTlv(value, static_cast<std::uint8_t>(type), text);
    }
    return {static_cast<std::uint8_t>(TlvType::Ssl), std::move(value)};
}

std::string encodeLocal() {
    std::string header;
    appendFixedPart(header, Command::Local, Family::Unspec, Transport::Unspec, 0);
    return header;
}

}  // namespace mailgate::proxy
