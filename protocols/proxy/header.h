// SPDX-License-Identifier: Apache-2.0
/// \file  The PROXY protocol header as values (haproxy's doc/proxy-protocol.txt, "the specification" below).
#pragma once

#include "protocols/values/address.h"

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace mailgate::proxy {

inline constexpr std::size_t kMaxHeaderBytes =
    4096;  ///< received: more is rejected (the length field allows 65,551)
inline constexpr std::size_t kMaxV1HeaderBytes = 107;  ///< specification 2.1, CRLF included
inline constexpr std::size_t kSafeSentBytes = 536;     ///< what every mail server takes; Postfix's limit

enum class Version : std::uint8_t { V1 = 1, V2 = 2 };
enum class Command : std::uint8_t { Local, Proxy };
enum class Family : std::uint8_t { Unspec, Inet, Inet6, Unix };
enum class Transport : std::uint8_t { Unspec, Stream, Datagram };

/// Specification 2.2.1 to 2.2.9, and the ranges cloud balancers use.
enum class TlvType : std::uint8_t {
    Alpn = 0x01,
    Authority = 0x02,
    Crc32c = 0x03,
    Noop = 0x04,
    UniqueId = 0x05,
    Ssl = 0x20,
    SslVersion = 0x21,
    SslCn = 0x22,
    SslCipher = 0x23,
    SslSigAlg = 0x24,
    SslKeyAlg = 0x25,
    Netns = 0x30,
    Gcp = 0xe0,
    Aws = 0xea,
    Azure = 0xee,
};

struct Tlv {
    std::uint8_t type = 0;
    std::string value;  ///< hostile bytes: escape before logging
};

/// Specification 2.2.6.
struct SslInfo {
    bool tls = false;                   ///< client & PP2_CLIENT_SSL
    bool certificate_verified = false;  ///< a certificate was presented (client & 6) and verify is 0
    std::string version, common_name, cipher, signature_algorithm, key_algorithm;
};

/// The TLVs of a v2 header. Everything is kept in `all` in order; the named fields are the first of each type.
struct Tlvs {
    std::vector<Tlv> all;
    std::optional<std::string> alpn, authority, unique_id, netns;
    std::optional<std::string> aws_vpce_id;              ///< AWS type 0xEA subtype 1
    std::optional<std::uint32_t> azure_link_id;          ///< Azure type 0xEE subtype 1, little endian
    std::optional<std::uint64_t> gcp_psc_connection_id;  ///< GCP type 0xE0, 8 bytes big endian
    std::optional<SslInfo> ssl;
    bool crc32c_verified = false;  ///< a checksum was there and right (wrong: rejected)
};

struct Header {
    Version version = Version::V1;
    Command command = Command::Proxy;
    Family family = Family::Unspec;
    Transport transport = Transport::Unspec;
    Endpoint source;       ///< canonical; meaningful only when hasClientAddress()
    Endpoint destination;  ///< canonical; as the client saw it
    Tlvs tlvs;             ///< empty for v1
    std::size_t size = 0;  ///< bytes of the header: payload begins here

    /// False for LOCAL, v1 UNKNOWN, v2 UNSPEC: a connection without a client of its own, never to be relayed.
    /// Also false for UDP and UNIX headers, which the decoder rejects on mailgate's TCP listeners.
    bool hasClientAddress() const noexcept {
        return command == Command::Proxy && (family == Family::Inet || family == Family::Inet6) &&
               transport == Transport::Stream;
    }
};

/// Why a header was rejected. The names (see toString) are part of the log's and the counters' contract.
enum class Reason : std::uint8_t {
    NotProxy,           ///< "not_proxy": neither signature
    BadV1,              ///< "bad_v1": the line breaks the grammar of 2.1
    V1TooLong,          ///< "v1_too_long": no CRLF within 107 bytes
    BadVersion,         ///< "bad_version": v2 signature, version nibble is not 2
    BadCommand,         ///< "bad_command"
    BadFamily,          ///< "bad_family": undefined family or transport
    UnsupportedFamily,  ///< "unsupported_family": UDP or UNIX on a TCP listener
    BadLength,          ///< "bad_length": address block shorter than the family needs
    TooLong,            ///< "too_long": more than kMaxHeaderBytes
    BadTlv,             ///< "bad_tlv": TLVs that overrun the header or are malformed
    BadChecksum,        ///< "bad_checksum": CRC32C is there and wrong
};
std::string_view toString(Reason reason) noexcept;
/// A sentence for the log, saying what is wrong in words.
std::string_view describe(Reason reason) noexcept;

}  // namespace mailgate::proxy
