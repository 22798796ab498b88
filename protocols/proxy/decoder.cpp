// SPDX-License-Identifier: Apache-2.0
#include "protocols/proxy/decoder.h"

#include "protocols/proxy/crc32c.h"
#include "protocols/proxy/wire.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <utility>

namespace mailgate::proxy {
namespace {

using Bytes = std::span<const std::uint8_t>;

std::string_view asText(Bytes bytes) noexcept {
    return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

template <typename Number>
Number bigEndian(Bytes bytes) noexcept {
    Number number = 0;
    for (const std::uint8_t byte : bytes.first<sizeof(Number)>()) {
        number = static_cast<Number>(static_cast<std::uint64_t>(number) << 8 | byte);
    }
    return number;
}

std::size_t commonPrefix(std::string_view a, std::string_view b) noexcept {
    return std::mismatch(a.begin(), a.end(), b.begin(), b.end()).first - a.begin();
}

// ---- v1 (specification 2.1) ----

constexpr std::string_view kDecimal = "0123456789";
constexpr std::string_view kDottedDecimal = "0123456789.";
constexpr std::string_view kIpv6Characters = "0123456789abcdefABCDEF:.";

std::optional<std::uint16_t> parsePort(std::string_view digits) noexcept {
    if (digits.empty() || (digits.size() > 1 && digits.front() == '0')) return std::nullopt;
    std::uint16_t port = 0;
    const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), port);
    if (error != std::errc{} || end != digits.data() + digits.size()) return std::nullopt;
    return port;
}

/// Reads the line from left to right. A byte outside its field's alphabet decides at once; what only the
/// whole field can tell (a port of 65536) is decided by the delimiter behind it.
class V1Line {
  public:
    explicit V1Line(std::string_view received) : line_(received.substr(0, kMaxV1HeaderBytes)) {}

    DecodeResult read() {
        std::string_view protocol;
        if (!readProtocol(protocol)) return stopped();
        if (protocol.front() == 'U') return readUnknown();
        return readTcp(protocol == kTcp4);
    }

  private:
    static constexpr std::string_view kTcp4 = "TCP4 ", kTcp6 = "TCP6 ", kUnknown = "UNKNOWN";

    bool readProtocol(std::string_view& protocol) {
        const std::string_view rest = line_.substr(at_);
        std::size_t longest = 0;
        for (const std::string_view candidate : {kTcp4, kTcp6, kUnknown}) {
            const std::size_t common = commonPrefix(candidate, rest);
            longest = std::max(longest, common);
            if (common < candidate.size()) continue;
            protocol = candidate;
            at_ += candidate.size();
            return true;
        }
        return longest == rest.size() ? starve() : fail(at_ + longest + 1);
    }

    DecodeResult readTcp(bool v4) {
        Header header;
        header.family = v4 ? Family::Inet : Family::Inet6;
        header.transport = Transport::Stream;
        if (!readAddress(v4, header.source.address) || !readAddress(v4, header.destination.address) ||
            !readPort(' ', header.source.port) || !readPort('\r', header.destination.port) ||
            !readLineFeed()) {
            return stopped();
        }
        header.size = at_;
        return header;
    }

    /// Everything up to CRLF is to be ignored: addresses, lone CR or LF, any byte.
    DecodeResult readUnknown() {
        const std::string_view next = line_.substr(at_, 2);
        const std::size_t line_end = commonPrefix("\r\n", next);
        if (!next.starts_with(' ') && line_end < next.size()) {
            fail(at_ + line_end + 1);
            return stopped();
        }
        const std::size_t end = line_.find("\r\n", at_);
        if (end == std::string_view::npos) {
            starve();
            return stopped();
        }
        Header header;
        header.size = end + 2;
        return header;
    }

    bool readAddress(bool v4, IpAddress& address) {
        std::string_view text;
        if (!readField(v4 ? kDottedDecimal : kIpv6Characters, ' ', text)) return false;
        const std::optional<IpAddress> parsed = v4 ? IpAddress::parseV4(text) : IpAddress::parseV6(text);
        if (!parsed) return fail(at_);
        address = *parsed;
        return true;
    }

    bool readPort(char delimiter, std::uint16_t& port) {
        std::string_view text;
        if (!readField(kDecimal, delimiter, text)) return false;
        const std::optional<std::uint16_t> parsed = parsePort(text);
        if (!parsed) return fail(at_);
        port = *parsed;
        return true;
    }

    /// Leaves at_ behind the delimiter.
    bool readField(std::string_view alphabet, char delimiter, std::string_view& field) {
        const std::size_t end = std::min(line_.find_first_not_of(alphabet, at_), line_.size());
        if (end == line_.size()) return starve();
        if (line_[end] != delimiter) return fail(end + 1);
        field = line_.substr(at_, end - at_);
        at_ = end + 1;
        return true;
    }

    bool readLineFeed() {
        if (at_ == line_.size()) return starve();
        if (line_[at_++] != '\n') return fail(at_);
        return true;
    }

    DecodeResult stopped() const {
        if (malformed_) return *malformed_;
        return NeedMore{};
    }

    bool fail(std::size_t seen) {
        malformed_ = Malformed{Reason::BadV1, seen};
        return false;
    }

    /// The line goes on behind what was received, unless no byte of it may.
    bool starve() {
        if (line_.size() == kMaxV1HeaderBytes) malformed_ = Malformed{Reason::V1TooLong, kMaxV1HeaderBytes};
        return false;
    }

    std::string_view line_;
    std::size_t at_ = wire::kV1Signature.size();
    std::optional<Malformed> malformed_;
};

// ---- v2 TLVs (specification 2.2.1 to 2.2.9) ----

/// Calls `visit(type, value)` for each TLV. False when they do not fill the area exactly, or as soon as
/// `visit` says so.
template <typename Visit>
bool visitTlvs(Bytes area, Visit&& visit) {
    while (!area.empty()) {
        if (area.size() < wire::kTlvHeadBytes) return false;
        const std::size_t length = bigEndian<std::uint16_t>(area.subspan(1));
        if (length > area.size() - wire::kTlvHeadBytes) return false;
        if (!visit(area[0], area.subspan(wire::kTlvHeadBytes, length))) return false;
        area = area.subspan(wire::kTlvHeadBytes + length);
    }
    return true;
}

void keepFirst(std::optional<std::string>& field, Bytes value) {
    if (!field) field.emplace(asText(value));
}

std::optional<SslInfo> readSsl(Bytes value) {
    constexpr std::size_t kFixedBytes = 5;
    constexpr std::uint8_t kClientSsl = 0x01;
    constexpr std::uint8_t kClientCertificate = 0x02 | 0x04;  // in this connection, or its session
    constexpr auto kFirstText = static_cast<std::size_t>(TlvType::SslVersion);
    if (value.size() < kFixedBytes) return std::nullopt;
    std::array<std::optional<std::string>, 5> texts;  // SslVersion to SslKeyAlg, ordered by number
    const bool whole = visitTlvs(value.subspan(kFixedBytes), [&](std::size_t type, Bytes text) {
        if (type >= kFirstText && type - kFirstText < texts.size()) keepFirst(texts[type - kFirstText], text);
        return true;
    });
    if (!whole) return std::nullopt;
    const bool verified = bigEndian<std::uint32_t>(value.subspan(1)) == 0;
    SslInfo ssl;
    ssl.tls = (value[0] & kClientSsl) != 0;
    ssl.certificate_verified = verified && (value[0] & kClientCertificate) != 0;
    ssl.version = std::move(texts[0]).value_or("");
    ssl.common_name = std::move(texts[1]).value_or("");
    ssl.cipher = std::move(texts[2]).value_or("");
    ssl.signature_algorithm = std::move(texts[3]).value_or("");
    ssl.key_algorithm = std::move(texts[4]).value_or("");
    return ssl;
}

/// Over the whole header, the field of the checksum counted as zeroes.
bool checksumIsRight(Bytes header, Bytes field) {
    constexpr std::array<std::uint8_t, wire::kCrc32cBytes> kZeroes{};
    const std::size_t before = field.data() - header.data();
    Crc32c crc;
    crc.update(header.first(before));
    crc.update(kZeroes);
    crc.update(header.subspan(before + kZeroes.size()));
    return crc.value() == bigEndian<std::uint32_t>(field);
}

/// The cloud balancers share types with anybody's private use, so a value of another form is no error.
void readCloudTlv(TlvType type, Bytes value, Tlvs& tlvs) {
    constexpr std::uint8_t kVpceId = 1, kLinkId = 1;
    if (type == TlvType::Aws && !value.empty() && value[0] == kVpceId) {
        keepFirst(tlvs.aws_vpce_id, value.subspan(1));
    } else if (type == TlvType::Azure && value.size() == 5 && value[0] == kLinkId && !tlvs.azure_link_id) {
        tlvs.azure_link_id =
            value[1] | value[2] << 8 | value[3] << 16 | static_cast<std::uint32_t>(value[4]) << 24;
    } else if (type == TlvType::Gcp && value.size() == 8 && !tlvs.gcp_psc_connection_id) {
        tlvs.gcp_psc_connection_id = bigEndian<std::uint64_t>(value);
    }
}

std::optional<Reason> readTlv(Bytes header, TlvType type, Bytes value, Tlvs& tlvs) {
    constexpr std::size_t kMaxUniqueIdBytes = 128;
    switch (type) {
        case TlvType::Alpn:
            keepFirst(tlvs.alpn, value);
            break;
        case TlvType::Authority:
            keepFirst(tlvs.authority, value);
            break;
        case TlvType::Netns:
            keepFirst(tlvs.netns, value);
            break;
        case TlvType::UniqueId:
            if (value.size() > kMaxUniqueIdBytes) return Reason::BadTlv;
            keepFirst(tlvs.unique_id, value);
            break;
        case TlvType::Crc32c:
            if (value.size() != wire::kCrc32cBytes) return Reason::BadTlv;
            if (!checksumIsRight(header, value)) return Reason::BadChecksum;
            tlvs.crc32c_verified = true;
            break;
        case TlvType::Ssl: {
            std::optional<SslInfo> ssl = readSsl(value);
            if (!ssl) return Reason::BadTlv;
            if (!tlvs.ssl) tlvs.ssl = std::move(ssl);
            break;
        }
        case TlvType::Gcp:
        case TlvType::Aws:
        case TlvType::Azure:
            readCloudTlv(type, value, tlvs);
            break;
        case TlvType::Noop:
        case TlvType::SslVersion:  // these five mean something inside Ssl alone
        case TlvType::SslCn:
        case TlvType::SslCipher:
        case TlvType::SslSigAlg:
        case TlvType::SslKeyAlg:
            break;
    }
    tlvs.all.push_back({static_cast<std::uint8_t>(type), std::string(asText(value))});
    return std::nullopt;
}

std::optional<Reason> readTlvs(Bytes header, std::size_t begin, Tlvs& tlvs) {
    std::optional<Reason> reason;
    const bool whole = visitTlvs(header.subspan(begin), [&](std::uint8_t type, Bytes value) {
        reason = readTlv(header, static_cast<TlvType>(type), value, tlvs);
        return !reason;
    });
    if (!whole && !reason) reason = Reason::BadTlv;
    return reason;
}

// ---- v2 (specification 2.2) ----

/// What the 16 fixed bytes say.
struct Announced {
    Command command;
    Family family;
    Transport transport;
    std::size_t block_bytes;   ///< addresses
    std::size_t header_bytes;  ///< all of the header
};

std::size_t addressBlockBytes(Family family) noexcept {
    switch (family) {
        case Family::Unspec:
            return 0;
        case Family::Inet:
            return wire::kInetBlockBytes;
        case Family::Inet6:
            return wire::kInet6BlockBytes;
        case Family::Unix:
            return wire::kUnixBlockBytes;
    }
    return 0;
}

std::optional<Reason> badCommand(std::uint8_t version_and_command) noexcept {
    if (version_and_command >> 4 != 2) return Reason::BadVersion;
    if ((version_and_command & 0x0f) > static_cast<std::uint8_t>(Command::Proxy)) return Reason::BadCommand;
    return std::nullopt;
}

bool familyIsDefined(std::uint8_t family_and_transport) noexcept {
    return family_and_transport >> 4 <= static_cast<std::uint8_t>(Family::Unix) &&
           (family_and_transport & 0x0f) <= static_cast<std::uint8_t>(Transport::Datagram);
}

/// For PROXY headers alone: the block of a LOCAL header is discarded unread, whatever family it names.
std::optional<Reason> unacceptable(const Announced& announced) noexcept {
    if (announced.family == Family::Unspec || announced.transport == Transport::Unspec) return std::nullopt;
    if (announced.header_bytes < wire::kV2FixedBytes + announced.block_bytes) return Reason::BadLength;
    if (announced.family == Family::Unix || announced.transport == Transport::Datagram) {
        return Reason::UnsupportedFamily;
    }
    return std::nullopt;
}

std::variant<NeedMore, Malformed, Announced> readFixedPart(Bytes input) {
    constexpr std::size_t kCommandAt = 12, kFamilyAt = 13, kLengthAt = 14;
    if (input.size() <= kCommandAt) return NeedMore{};
    if (const auto reason = badCommand(input[kCommandAt])) return Malformed{*reason, kCommandAt + 1};
    if (input.size() <= kFamilyAt) return NeedMore{};
    Announced announced{static_cast<Command>(input[kCommandAt] & 0x0f), Family::Unspec, Transport::Unspec, 0,
                        0};
    if (announced.command == Command::Proxy) {
        if (!familyIsDefined(input[kFamilyAt])) return Malformed{Reason::BadFamily, kFamilyAt + 1};
        announced.family = static_cast<Family>(input[kFamilyAt] >> 4);
        announced.transport = static_cast<Transport>(input[kFamilyAt] & 0x0f);
    }
    if (input.size() < wire::kV2FixedBytes) return NeedMore{wire::kV2FixedBytes - input.size()};
    announced.block_bytes = addressBlockBytes(announced.family);
    announced.header_bytes = wire::kV2FixedBytes + bigEndian<std::uint16_t>(input.subspan(kLengthAt));
    if (announced.header_bytes > kMaxHeaderBytes) return Malformed{Reason::TooLong, wire::kV2FixedBytes};
    if (const auto reason = unacceptable(announced)) return Malformed{*reason, wire::kV2FixedBytes};
    return announced;
}

IpAddress readAddress(Bytes bytes, Family family) noexcept {
    if (family == Family::Inet) return IpAddress::fromV4({bytes[0], bytes[1], bytes[2], bytes[3]});
    IpAddress address;
    std::copy_n(bytes.begin(), address.bytes.size(), address.bytes.begin());
    return address;
}

/// Source address, destination address, source port, destination port.
void readEndpoints(Bytes block, Header& header) noexcept {
    const std::size_t address_bytes = header.family == Family::Inet ? 4 : 16;
    header.source.address = readAddress(block, header.family);
    header.destination.address = readAddress(block.subspan(address_bytes), header.family);
    header.source.port = bigEndian<std::uint16_t>(block.subspan(2 * address_bytes));
    header.destination.port = bigEndian<std::uint16_t>(block.subspan(2 * address_bytes + 2));
}

DecodeResult decodeV2(Bytes input) {
    const auto fixed = readFixedPart(input);
    if (const auto* more = std::get_if<NeedMore>(&fixed)) return *more;
    if (const auto* malformed = std::get_if<Malformed>(&fixed)) return *malformed;
    const Announced& announced = std::get<Announced>(fixed);
    if (input.size() < announced.header_bytes) return NeedMore{announced.header_bytes - input.size()};

    Header header;
    header.version = Version::V2;
    header.command = announced.command;
    header.size = announced.header_bytes;
    if (announced.command == Command::Local) return header;
    // A pair of which one half is unspecified has no defined layout: skipped by its length, like UNSPEC.
    const bool unspecified = announced.family == Family::Unspec;
    if (unspecified != (announced.transport == Transport::Unspec)) return header;
    header.family = announced.family;
    header.transport = announced.transport;
    const Bytes whole = input.first(announced.header_bytes);
    if (!unspecified) readEndpoints(whole.subspan(wire::kV2FixedBytes), header);
    const std::size_t tlvs_at = wire::kV2FixedBytes + announced.block_bytes;
    const auto reason = readTlvs(whole, tlvs_at, header.tlvs);
    if (!reason) return header;
    // Behind UNSPEC there may be anything, an address block too: skipped as behind any unspecified half. Only a
    // checksum that can be read, and is wrong, says that the header is not what was sent.
    if (unspecified && *reason != Reason::BadChecksum) {
        header.tlvs = {};
        return header;
    }
    return Malformed{*reason, header.size};
}

}  // namespace

DecodeResult decode(std::span<const std::uint8_t> input) {
    const std::string_view text = asText(input);
    const std::size_t as_v1 = commonPrefix(wire::kV1Signature, text);
    const std::size_t as_v2 = commonPrefix(wire::kV2Signature, text);
    if (as_v1 == wire::kV1Signature.size()) return V1Line(text).read();
    if (as_v2 == wire::kV2Signature.size()) return decodeV2(input);
    const std::size_t plausible = std::max(as_v1, as_v2);
    if (plausible == input.size()) return NeedMore{};
    return Malformed{Reason::NotProxy, plausible + 1};
}

}  // namespace mailgate::proxy
