// SPDX-License-Identifier: Apache-2.0
// What the conformance vectors do not pin: reasons, policy, typed TLVs, limits. See vectors_test.cpp for the grammar.

#include "protocols/proxy/crc32c.h"
#include "proxy_testing.h"

#include <gmock/gmock.h>

#include <set>

namespace mailgate::proxy {
namespace {

using namespace std::string_literals;
using testing::Optional;

constexpr std::uint8_t kLocal = 0x20, kProxy = 0x21;
const std::string kTcp4Block = "\xc0\0\2\x0a\xc6\x33\x64\x19\xc0\0\0\x19"s;

std::string v2(std::uint8_t command, std::uint8_t family, const std::string& rest) {
    std::string header = "\r\n\r\n\0\r\nQUIT\n"s;
    header += static_cast<char>(command);
    header += static_cast<char>(family);
    header += static_cast<char>(rest.size() >> 8);
    header += static_cast<char>(rest.size() & 0xff);
    return header + rest;
}

std::string tlv(TlvType type, const std::string& value) {
    return std::string{static_cast<char>(type), static_cast<char>(value.size() >> 8),
                       static_cast<char>(value.size() & 0xff)} +
           value;
}

std::string tcp4With(const std::string& tlvs) {
    return v2(kProxy, 0x11, kTcp4Block + tlvs);
}

Malformed malformed(std::string_view received) {
    const DecodeResult result = decodeText(received);
    EXPECT_TRUE(std::holds_alternative<Malformed>(result));
    const auto* found = std::get_if<Malformed>(&result);
    return found != nullptr ? *found : Malformed{Reason::NotProxy, 0};
}

std::uint32_t crc32c(std::string_view text) {
    Crc32c crc;
    crc.update({reinterpret_cast<const std::uint8_t*>(text.data()), text.size()});
    return crc.value();
}

/// Writes the right checksum into the four zero bytes at `field`.
std::string withChecksum(std::string header, std::size_t field) {
    const std::uint32_t crc = crc32c(header);
    for (std::size_t i = 0; i < 4; ++i)
        header[field + i] = static_cast<char>(crc >> (24 - 8 * i));
    return header;
}

TEST(Crc32c, MatchesThePublishedCheckValues) {
    EXPECT_EQ(crc32c("123456789"), 0xe3069283u);
    EXPECT_EQ(crc32c(std::string(32, '\0')), 0x8a9136aau);  // RFC 3720 B.4
    EXPECT_EQ(crc32c(std::string(32, '\xff')), 0x62a8ab43u);
    EXPECT_EQ(crc32c(""), 0u);
}

TEST(ProxyDecoder, NamesTheReasonAndTheByteThatDecided) {
    const std::string too_long_v1 = "PROXY UNKNOWN " + std::string(100, 'x') + "\r\n";
    const struct {
        std::string received;
        Reason reason;
        std::size_t offset;
    } cases[] = {
        {"EHLO mx.example.net\r\n", Reason::NotProxy, 1},
        {"PROXX", Reason::NotProxy, 5},
        {"PROXY\tTCP4", Reason::NotProxy, 6},
        {"\r\n\r\n\0\r\nQUIX"s, Reason::NotProxy, 11},
        {"PROXY TCP5 ", Reason::BadV1, 10},
        {"PROXY UNKNOWN\rX", Reason::BadV1, 15},
        {"PROXY TCP4 192.0.2.010 ", Reason::BadV1, 23},
        {"PROXY TCP4 192.0.2.1 192.0.2.2 1 65536\r", Reason::BadV1, 39},
        {"PROXY TCP4 192.0.2.1 192.0.2.2 1 2\rX", Reason::BadV1, 36},
        {"PROXY TCP6 ::1%lo ::1 1 2\r\n", Reason::BadV1, 15},
        {"PROXY TCP6 [::1] ::1 1 2\r\n", Reason::BadV1, 12},
        {too_long_v1, Reason::V1TooLong, 107},
        {"PROXY TCP4 " + std::string(96, '1'), Reason::V1TooLong, 107},
        {v2(0x11, 0x11, kTcp4Block), Reason::BadVersion, 13},
        {v2(0x22, 0x11, kTcp4Block), Reason::BadCommand, 13},
        {v2(kProxy, 0x41, kTcp4Block), Reason::BadFamily, 14},
        {v2(kProxy, 0x13, kTcp4Block), Reason::BadFamily, 14},
        {v2(kProxy, 0x12, kTcp4Block), Reason::UnsupportedFamily, 16},
        {v2(kProxy, 0x22, std::string(36, 'x')), Reason::UnsupportedFamily, 16},
        {v2(kProxy, 0x31, std::string(216, 'x')), Reason::UnsupportedFamily, 16},
        {v2(kProxy, 0x11, kTcp4Block.substr(1)), Reason::BadLength, 16},
        {v2(kProxy, 0x21, std::string(35, 'x')), Reason::BadLength, 16},
        {v2(kProxy, 0x31, std::string(215, 'x')), Reason::BadLength, 16},
        {v2(kProxy, 0x11, std::string(4081, '\0')), Reason::TooLong, 16},
        {v2(kLocal, 0x00, std::string(4081, '\0')), Reason::TooLong, 16},
        {tcp4With("\x02"), Reason::BadTlv, 29},
        {tcp4With(tlv(TlvType::Ssl, "\1\0\0\0"s)), Reason::BadTlv, 35},
        {tcp4With(tlv(TlvType::Crc32c, "\0\0\0\0"s)), Reason::BadChecksum, 35},
    };
    for (const auto& c : cases) {
        SCOPED_TRACE(testing::PrintToString(c.received.substr(0, 60)));
        std::size_t decided_at = 0;
        ASSERT_TRUE(std::holds_alternative<Malformed>(decodeByteByByte(c.received, decided_at)));
        const Malformed got = malformed(c.received);
        EXPECT_EQ(toString(got.reason), toString(c.reason));
        EXPECT_EQ(got.offset, c.offset);
        EXPECT_EQ(decided_at, c.offset);
    }
}

TEST(ProxyDecoder, AsksForWhatIsMissing) {
    const std::string header = tcp4With(tlv(TlvType::Noop, std::string(30, 'x')));
    const auto atLeast = [&](std::size_t size) {
        return std::get<NeedMore>(decodeText(header.substr(0, size))).at_least;
    };
    EXPECT_EQ(atLeast(0), 1u);
    EXPECT_EQ(atLeast(12), 1u);
    EXPECT_EQ(atLeast(14), 2u);
    EXPECT_EQ(atLeast(16), header.size() - 16);
    EXPECT_EQ(atLeast(header.size() - 1), 1u);
}

TEST(ProxyDecoder, LongestV1LineFits) {
    const std::string full = "PROXY UNKNOWN " + std::string(91, 'x') + "\r\n";
    ASSERT_EQ(full.size(), kMaxV1HeaderBytes);
    EXPECT_EQ(decodedHeader(full).size, kMaxV1HeaderBytes);
    const std::string tcp6 =
        "PROXY TCP6 ffff:ffff:ffff:ffff:ffff:ffff:255.255.255.255 ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff "
        "65535 1\r\n";
    EXPECT_TRUE(decodedHeader(tcp6).hasClientAddress());
}

TEST(ProxyDecoder, LargestHeaderFits) {
    const std::string header = tcp4With(tlv(TlvType::Noop, std::string(4096 - 28 - 3, 'x')));
    ASSERT_EQ(header.size(), kMaxHeaderBytes);
    EXPECT_EQ(decodedHeader(header + "EHLO").size, kMaxHeaderBytes);
}

TEST(ProxyDecoder, HeaderWithoutAClientIsLocalWhateverItCarries) {
    const std::string junk = "\xff\xff\xff"s;
    for (const std::uint8_t family : {0x00, 0x11, 0x22, 0x31, 0x41, 0x99, 0xff}) {
        EXPECT_FALSE(decodedHeader(v2(kLocal, family, junk)).hasClientAddress()) << int{family};
    }
    for (const std::uint8_t half : {0x01, 0x02, 0x10, 0x20, 0x30}) {
        EXPECT_FALSE(decodedHeader(v2(kProxy, half, junk)).hasClientAddress()) << int{half};
    }
}

TEST(ProxyDecoder, PlainUnspecIsLocalWhateverItCarries) {
    const Header header = decodedHeader(v2(kProxy, 0x00, tlv(TlvType::UniqueId, "id-1")));
    EXPECT_FALSE(header.hasClientAddress());
    EXPECT_THAT(header.tlvs.unique_id, Optional("id-1"s));
    // An address block, as some balancers leave it there, or half a TLV: skipped, as behind 0x01 or 0x10.
    const std::string block = "\xc0\0\2\x0a\xc6\x33\x64\x19\xc0\0\0\x19"s;
    for (const std::string& skipped : {block, block + tlv(TlvType::UniqueId, "id-1"), std::string(36, '\x20'),
                                       "\2\0\5mail"s, tlv(TlvType::UniqueId, "id-1") + "x"}) {
        const Header unread = decodedHeader(v2(kProxy, 0x00, skipped));
        EXPECT_FALSE(unread.hasClientAddress());
        EXPECT_EQ(unread.size, 16 + skipped.size());
        EXPECT_TRUE(unread.tlvs.all.empty());
    }
    EXPECT_EQ(malformed(v2(kProxy, 0x00, tlv(TlvType::Crc32c, "\0\0\0\0"s))).reason, Reason::BadChecksum);
}

TEST(ProxyDecoder, FoldsMappedAddresses) {
    const Header v1 = decodedHeader("PROXY TCP6 ::ffff:192.0.2.10 2001:db8::25 49152 25\r\n");
    EXPECT_EQ(v1.source, endpoint("192.0.2.10", 49152));
    EXPECT_EQ(v1.family, Family::Inet6);
    const std::string mapped(10, '\0');
    const Header v2_header = decodedHeader(v2(
        kProxy, 0x21, mapped + "\xff\xff\xc0\0\2\x0a"s + mapped + "\xff\xff\xc6\x33\x64\x19\xc0\0\0\x19"s));
    EXPECT_EQ(v2_header.source.address.toString(), "192.0.2.10");
    EXPECT_EQ(v2_header.destination, endpoint("198.51.100.25", 25));
}

TEST(ProxyDecoder, TypesTheKnownTlvs) {
    const Tlvs tlvs =
        decodedHeader(tcp4With(tlv(TlvType::Alpn, "imap") + tlv(TlvType::Authority, "mail.example") +
                               tlv(TlvType::UniqueId, std::string(128, 'u')) + tlv(TlvType::Netns, "blue") +
                               tlv(TlvType::Noop, "padding")))
            .tlvs;
    EXPECT_THAT(tlvs.alpn, Optional("imap"s));
    EXPECT_THAT(tlvs.authority, Optional("mail.example"s));
    EXPECT_THAT(tlvs.unique_id, Optional(std::string(128, 'u')));
    EXPECT_THAT(tlvs.netns, Optional("blue"s));
    EXPECT_FALSE(tlvs.ssl);
    EXPECT_FALSE(tlvs.crc32c_verified);
    EXPECT_EQ(tlvs.all.size(), 5u);
}

TEST(ProxyDecoder, KeepsDuplicatesAndTypesTheFirst) {
    const Tlvs tlvs =
        decodedHeader(tcp4With(tlv(TlvType::Authority, "") + tlv(TlvType::Authority, "second.example") +
                               tlv(TlvType::Ssl, "\1\0\0\0\1"s) + tlv(TlvType::Ssl, "\0\0\0\0\1"s)))
            .tlvs;
    EXPECT_THAT(tlvs.authority, Optional(""s));
    ASSERT_TRUE(tlvs.ssl);
    EXPECT_TRUE(tlvs.ssl->tls);
    EXPECT_EQ(tlvs.all.size(), 4u);
}

TEST(ProxyDecoder, KeepsHostileBytesWhole) {
    const std::string hostile = "a\0b\r\n\x1b[31m\xff"s;
    EXPECT_THAT(decodedHeader(tcp4With(tlv(TlvType::Authority, hostile))).tlvs.authority, Optional(hostile));
}

TEST(ProxyDecoder, ReadsTheCloudBalancersOwnTypes) {
    const Tlvs tlvs =
        decodedHeader(tcp4With(tlv(TlvType::Aws, "\2other") + tlv(TlvType::Aws, "\1vpce-0123") +
                               tlv(TlvType::Azure, "\2\1\1\1\1"s) + tlv(TlvType::Azure, "\1\xc1\x45\0\xf1"s) +
                               tlv(TlvType::Gcp, "short") + tlv(TlvType::Gcp, "\xff\1\2\3\4\5\6\7")))
            .tlvs;
    EXPECT_THAT(tlvs.aws_vpce_id, Optional("vpce-0123"s));
    EXPECT_THAT(tlvs.azure_link_id, Optional(0xf10045c1u));
    EXPECT_THAT(tlvs.gcp_psc_connection_id, Optional(std::uint64_t{0xff01020304050607}));
    EXPECT_EQ(tlvs.all.size(), 6u);
}

TEST(ProxyDecoder, BelievesACertificateOnlyWhenPresentedAndVerified) {
    const struct {
        std::string client_and_verify;
        bool want_tls, want_certificate;
    } cases[] = {
        {"\0\0\0\0\0"s, false, false},   {"\1\0\0\0\0"s, true, false}, {"\3\0\0\0\0"s, true, true},
        {"\5\0\0\0\0"s, true, true},     {"\7\0\0\0\1"s, true, false}, {"\7\1\0\0\0"s, true, false},
        {"\xf8\0\0\0\0"s, false, false},
    };
    for (const auto& c : cases) {
        const auto ssl = decodedHeader(tcp4With(tlv(TlvType::Ssl, c.client_and_verify))).tlvs.ssl;
        ASSERT_TRUE(ssl);
        EXPECT_EQ(ssl->tls, c.want_tls) << testing::PrintToString(c.client_and_verify);
        EXPECT_EQ(ssl->certificate_verified, c.want_certificate)
            << testing::PrintToString(c.client_and_verify);
    }
}

TEST(ProxyDecoder, ReadsSslTextsInsideSslAlone) {
    const Tlvs inside =
        decodedHeader(
            tcp4With(tlv(TlvType::Ssl,
                         "\1\0\0\0\1"s + tlv(TlvType::SslCn, "first") + tlv(TlvType::SslCn, "second") +
                             tlv(TlvType::SslVersion, "TLSv1.3") + tlv(TlvType::Authority, "not here"))))
            .tlvs;
    EXPECT_EQ(inside.ssl->common_name, "first");
    EXPECT_EQ(inside.ssl->version, "TLSv1.3");
    EXPECT_FALSE(inside.authority);
    EXPECT_FALSE(decodedHeader(tcp4With(tlv(TlvType::SslCn, "outside"))).tlvs.ssl);
}

TEST(ProxyDecoder, RejectsWhatATlvMayNotBe) {
    for (const std::string& bad :
         {tlv(TlvType::UniqueId, std::string(129, 'u')), tlv(TlvType::Ssl, ""),
          tlv(TlvType::Ssl, "\1\0\0\0\0\x21\0"s), tlv(TlvType::Ssl, "\1\0\0\0\0\x21\0\2x"s),
          tlv(TlvType::Ssl, "\1\0\0\0\0"s) + tlv(TlvType::Ssl, "\1"), tlv(TlvType::Crc32c, "abc"),
          tlv(TlvType::Crc32c, "abcde"), "\4\0"s, "\4\0\1"s, "\4\xff\xff"s}) {
        EXPECT_EQ(malformed(tcp4With(bad)).reason, Reason::BadTlv) << testing::PrintToString(bad);
    }
}

TEST(ProxyDecoder, ChecksumCoversEveryByteOfTheHeader) {
    const std::string header = withChecksum(
        tcp4With(tlv(TlvType::Crc32c, "\0\0\0\0"s) + tlv(TlvType::Authority, "mail.example")), 31);
    EXPECT_TRUE(decodedHeader(header + "payload").tlvs.crc32c_verified);
    // Behind the length field, and not in a TLV's own length: flipped bits there break the header in other ways.
    for (const std::size_t at : {16u, 23u, 27u, 31u, 34u, 38u, 49u}) {
        std::string flipped = header;
        flipped[at] = static_cast<char>(flipped[at] ^ 1);
        EXPECT_EQ(malformed(flipped).reason, Reason::BadChecksum) << at;
    }
}

TEST(ProxyDecoder, EveryReasonHasAnOwnNameAndSentence) {
    std::set<std::string_view> names, sentences;
    for (std::uint8_t i = 0; i <= static_cast<std::uint8_t>(Reason::BadChecksum); ++i) {
        names.insert(toString(Reason{i}));
        sentences.insert(describe(Reason{i}));
    }
    EXPECT_EQ(names.size(), static_cast<std::size_t>(Reason::BadChecksum) + 1);
    EXPECT_EQ(sentences.size(), names.size());
    EXPECT_FALSE(names.contains(""));
    EXPECT_EQ(toString(Reason::V1TooLong), "v1_too_long");
}

}  // namespace
}  // namespace mailgate::proxy
