// SPDX-License-Identifier: Apache-2.0
#include "protocols/proxy/encoder.h"

#include "proxy_testing.h"

#include <gmock/gmock.h>

namespace mailgate::proxy {
namespace {

using namespace std::string_literals;

constexpr std::size_t kInetBytes = 28, kInet6Bytes = 52;
const Endpoint kV4Client = endpoint("192.0.2.10", 49152);
const Endpoint kV4Server = endpoint("198.51.100.25", 25);
const Endpoint kV6Client = endpoint("2001:db8::a:10", 65535);
const Endpoint kV6Server = endpoint("2001:db8:ffff::25", 0);

const Connection kConnections[] = {
    {kV4Client, kV4Server},
    {kV6Client, kV6Server},
    {kV4Client, kV6Server},
    {kV6Client, kV4Server},
    {endpoint("0.0.0.0", 0), endpoint("255.255.255.255", 65535)},
    {endpoint("::", 1), endpoint("ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", 2)},
};

Tlv makeTlv(TlvType type, std::string value) {
    return {static_cast<std::uint8_t>(type), std::move(value)};
}

std::vector<std::uint8_t> typesIn(const std::string& header) {
    std::vector<std::uint8_t> types;
    for (const Tlv& tlv : decodedHeader(header).tlvs.all)
        types.push_back(tlv.type);
    return types;
}

TEST(ProxyEncoder, WritesV1Lines) {
    EXPECT_EQ(encodeV1({kV4Client, kV4Server}), "PROXY TCP4 192.0.2.10 198.51.100.25 49152 25\r\n");
    EXPECT_EQ(encodeV1({kV6Client, kV6Server}), "PROXY TCP6 2001:db8::a:10 2001:db8:ffff::25 65535 0\r\n");
}

TEST(ProxyEncoder, PromotesIpv4NextToIpv6) {
    EXPECT_EQ(encodeV1({kV4Client, kV6Server}), "PROXY TCP6 ::ffff:192.0.2.10 2001:db8:ffff::25 49152 0\r\n");
    EXPECT_EQ(encodeV1({kV6Client, kV4Server}),
              "PROXY TCP6 2001:db8::a:10 ::ffff:198.51.100.25 65535 25\r\n");
    const std::string header = encodeV2({kV4Client, kV6Server});
    EXPECT_EQ(header.size(), kInet6Bytes);
    EXPECT_EQ(header[13], '\x21');
    EXPECT_EQ(header.substr(16, 16), "\0\0\0\0\0\0\0\0\0\0\xff\xff\xc0\0\2\x0a"s);
}

TEST(ProxyEncoder, DemotesMappedAddresses) {
    const Connection mapped{endpoint("::ffff:192.0.2.10", 49152), endpoint("::ffff:198.51.100.25", 25)};
    EXPECT_EQ(encodeV1(mapped), encodeV1({kV4Client, kV4Server}));
    EXPECT_EQ(encodeV2(mapped), encodeV2({kV4Client, kV4Server}));
}

TEST(ProxyEncoder, WritesV2Bytes) {
    EXPECT_EQ(encodeV2({kV4Client, kV4Server}),
              "\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c\xc0\0\2\x0a\xc6\x33\x64\x19\xc0\0\0\x19"s);
}

TEST(ProxyEncoder, WritesLocalWithoutAnything) {
    EXPECT_EQ(encodeLocal(), "\r\n\r\n\0\r\nQUIT\n\x20\0\0\0"s);
    const Header header = decodedHeader(encodeLocal());
    EXPECT_EQ(header.command, Command::Local);
    EXPECT_FALSE(header.hasClientAddress());
}

TEST(ProxyEncoder, WhatItWritesTheDecoderReads) {
    for (const Connection& connection : kConnections) {
        for (const std::string& encoded :
             {encodeV1(connection), encodeV2(connection), encodeV2(connection, {}, true)}) {
            SCOPED_TRACE(testing::PrintToString(encoded));
            const Header header = decodedHeader(encoded + "220 mx.example");
            EXPECT_TRUE(header.hasClientAddress());
            EXPECT_EQ(header.size, encoded.size());
            EXPECT_EQ(header.source, connection.source);
            EXPECT_EQ(header.destination, connection.destination);
        }
    }
}

TEST(ProxyEncoder, V1LineNeverExceedsItsLimit) {
    const Endpoint longest = endpoint("ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", 65535);
    EXPECT_LE(encodeV1({longest, longest}).size(), kMaxV1HeaderBytes);
}

TEST(ProxyEncoder, WritesTlvsInOrder) {
    const std::string header = encodeV2(
        {kV6Client, kV6Server},
        {makeTlv(TlvType::Authority, "mail.example"), makeTlv(TlvType::UniqueId, ""), {0x7f, "\0\xff"s}});
    const Tlvs tlvs = decodedHeader(header).tlvs;
    ASSERT_EQ(tlvs.all.size(), 3u);
    EXPECT_EQ(tlvs.all[0].value, "mail.example");
    EXPECT_EQ(tlvs.all[1].value, "");
    EXPECT_EQ(tlvs.all[2].type, 0x7f);
    EXPECT_EQ(tlvs.all[2].value, "\0\xff"s);
}

TEST(ProxyEncoder, LeavesOutFromTheEndWhatDoesNotFit) {
    const std::vector<Tlv> tlvs{makeTlv(TlvType::Authority, std::string(7, 'a')),
                                makeTlv(TlvType::UniqueId, std::string(17, 'u')), makeTlv(TlvType::Noop, "")};
    const struct {
        std::size_t max_bytes, want_count, want_bytes;
    } cases[] = {
        {kInetBytes + 33, 3, kInetBytes + 33}, {kInetBytes + 32, 2, kInetBytes + 30},
        {kInetBytes + 30, 2, kInetBytes + 30}, {kInetBytes + 29, 1, kInetBytes + 10},
        {kInetBytes + 10, 1, kInetBytes + 10}, {kInetBytes + 9, 0, kInetBytes},
        {kInetBytes, 0, kInetBytes},           {0, 0, kInetBytes},
    };
    for (const auto& c : cases) {
        const std::string header = encodeV2({kV4Client, kV4Server}, tlvs, false, c.max_bytes);
        EXPECT_EQ(header.size(), c.want_bytes) << c.max_bytes;
        EXPECT_EQ(decodedHeader(header).tlvs.all.size(), c.want_count) << c.max_bytes;
    }
}

TEST(ProxyEncoder, StaysBelowWhatEveryServerTakesUnlessTold) {
    const std::vector<Tlv> tlvs(8, makeTlv(TlvType::Noop, std::string(100, 'x')));
    EXPECT_LE(encodeV2({kV6Client, kV6Server}, tlvs, true).size(), kSafeSentBytes);
    EXPECT_GT(encodeV2({kV6Client, kV6Server}, tlvs, true, 1500).size(), kSafeSentBytes);
}

TEST(ProxyEncoder, NeverAnnouncesMoreThanTheLengthFieldHolds) {
    const std::vector<Tlv> tlvs{makeTlv(TlvType::Noop, std::string(40000, 'x')),
                                makeTlv(TlvType::Noop, std::string(40000, 'y'))};
    const std::string header = encodeV2({kV4Client, kV4Server}, tlvs, false, 1'000'000);
    EXPECT_EQ(header.size(), kInetBytes + 3 + 40000);
    const auto length = static_cast<std::uint8_t>(header[14]) * 256u + static_cast<std::uint8_t>(header[15]);
    EXPECT_EQ(16 + length, header.size());
}

TEST(ProxyEncoder, ChecksumComesLastAndIsRight) {
    for (const Connection& connection : kConnections) {
        const std::string header = encodeV2(connection, {makeTlv(TlvType::Authority, "mail.example")}, true);
        EXPECT_THAT(typesIn(header), testing::ElementsAre(0x02, 0x03));
        EXPECT_TRUE(decodedHeader(header).tlvs.crc32c_verified);
    }
}

TEST(ProxyEncoder, ChecksumKeepsItsRoomBeforeTheTlvs) {
    const std::vector<Tlv> tlvs{makeTlv(TlvType::Authority, "1234567")};
    EXPECT_THAT(typesIn(encodeV2({kV4Client, kV4Server}, tlvs, true, kInetBytes + 17)),
                testing::ElementsAre(2, 3));
    EXPECT_THAT(typesIn(encodeV2({kV4Client, kV4Server}, tlvs, true, kInetBytes + 16)),
                testing::ElementsAre(3));
    EXPECT_THAT(typesIn(encodeV2({kV4Client, kV4Server}, {}, true, kInetBytes + 6)), testing::IsEmpty());
}

TEST(ProxyEncoder, TellsOfTheClientsTls) {
    SslInfo ssl;
    ssl.tls = true;
    EXPECT_EQ(encodeSsl(ssl).value, "\x01\0\0\0\x01"s);
    ssl.certificate_verified = true;
    ssl.version = "TLSv1.3";
    ssl.cipher = "TLS_AES_256_GCM_SHA384";
    ssl.common_name = "bob";
    const Tlv encoded = encodeSsl(ssl);
    EXPECT_EQ(encoded.type, 0x20);
    EXPECT_EQ(encoded.value,
              "\x03\0\0\0\0\x21\0\x07TLSv1.3\x22\0\x03"
              "bob\x23\0\x16TLS_AES_256_GCM_SHA384"s);
    const auto decoded = decodedHeader(encodeV2(kConnections[0], {encoded})).tlvs.ssl;
    ASSERT_TRUE(decoded);
    EXPECT_TRUE(decoded->tls);
    EXPECT_TRUE(decoded->certificate_verified);
    EXPECT_EQ(decoded->common_name, "bob");
}

TEST(ProxyEncoder, PassesOnNoChecksumOfAnotherHeader) {
    const std::vector<Tlv> tlvs{makeTlv(TlvType::Crc32c, "\1\2\3\4"),
                                makeTlv(TlvType::Authority, "mail.example")};
    EXPECT_THAT(typesIn(encodeV2({kV4Client, kV4Server}, tlvs)), testing::ElementsAre(2));
    EXPECT_THAT(typesIn(encodeV2({kV4Client, kV4Server}, tlvs, true)), testing::ElementsAre(2, 3));
}

}  // namespace
}  // namespace mailgate::proxy
