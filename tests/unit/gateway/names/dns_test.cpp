// SPDX-License-Identifier: Apache-2.0
#include "gateway/names/dns.h"

#include "tests/support/networks.h"

#include <fmt/format.h>
#include <gmock/gmock.h>

namespace mailgate::names {
namespace {

using testing::ElementsAre;
using Kind = DnsAnswer::Kind;

/// A response (RFC 1035 section 4.1) about "a.b" with records, of the same name if no other is given.
class Response {
  public:
    Response& record(unsigned type, std::uint32_t ttl, const std::string& data,
                     const std::string& name = std::string("\xC0\x0C", 2)) {
        ++records_;
        body_ += name + number(type) + number(1) + number(ttl >> 16) + number(ttl & 0xFFFF) +
                 number(static_cast<unsigned>(data.size())) + data;
        return *this;
    }
    std::vector<std::uint8_t> bytes() const {
        const std::string text = number(1) + number(0x8180) + number(1) + number(records_) + number(0) +
                                 number(0) + std::string("\1a\1b\0", 5) + number(1) + number(1) + body_;
        return {text.begin(), text.end()};
    }

  private:
    static std::string number(unsigned value) {
        return {static_cast<char>(value >> 8 & 0xFF), static_cast<char>(value & 0xFF)};
    }

    unsigned records_ = 0;
    std::string body_;
};

constexpr unsigned kA = 1, kCname = 5, kMx = 15, kTxt = 16, kAaaa = 28;

TEST(DnsResponse, RecordsOfTheTypeAreReadAndTheLeastTimeToLive) {
    const auto bytes = Response()
                           .record(kCname, 20, std::string("\xC0\x0C", 2))
                           .record(kA, 60, std::string("\xC0\x00\x02\x01", 4))
                           .record(kA, 90, std::string("\xC0\x00\x02\x02", 4))
                           .record(kTxt, 1, std::string("\1x", 2))
                           .bytes();
    const auto answer = readResponse(bytes, DnsType::A);
    EXPECT_EQ(answer.kind, Kind::Found);
    ASSERT_EQ(answer.addresses.size(), 2u);
    EXPECT_EQ(answer.addresses[1].bytes, address("192.0.2.2"));
    EXPECT_EQ(answer.ttl, 20u);
}

TEST(DnsResponse, WhatIsSaidOfAnotherNameIsNoAnswer) {
    const std::string address_1("\xC0\x00\x02\x01", 4), address_2("\xC0\x00\x02\x02", 4);
    const std::string other("\1c\1D\0", 5);
    EXPECT_EQ(readResponse(Response().record(kA, 60, address_1, other).bytes(), DnsType::A).kind,
              Kind::Nothing);
    const auto led = readResponse(Response()
                                      .record(kA, 60, address_2, other)
                                      .record(kCname, 60, std::string("\1C\1d\0", 5))
                                      .record(kA, 60, address_1, other)
                                      .record(kA, 60, address_2)
                                      .bytes(),
                                  DnsType::A);
    ASSERT_EQ(led.addresses.size(), 1u);
    EXPECT_EQ(led.addresses[0].bytes, address("192.0.2.1"));
}

TEST(DnsResponse, StringsOfATextAreJoined) {
    const auto bytes =
        Response().record(kTxt, 60, std::string("\3v=s\0\4pf1 ", 10)).record(kTxt, 60, "\1y").bytes();
    EXPECT_THAT(readResponse(bytes, DnsType::Txt).texts, ElementsAre("v=spf1 ", "y"));
}

TEST(DnsResponse, HostsOfMail) {
    const auto bytes = Response().record(kMx, 60, std::string("\0\12\1m\xC0\x0C", 6)).bytes();
    EXPECT_THAT(readResponse(bytes, DnsType::Mx).texts, ElementsAre("m.a.b"));
}

TEST(DnsResponse, NothingOfTheTypeIsNothing) {
    EXPECT_EQ(readResponse(Response().bytes(), DnsType::A).kind, Kind::Nothing);
    EXPECT_EQ(readResponse(Response().record(kAaaa, 60, "short").bytes(), DnsType::Aaaa).kind, Kind::Nothing);
    EXPECT_EQ(readResponse(Response().record(kMx, 60, std::string("\0\12", 2)).bytes(), DnsType::Mx).kind,
              Kind::Nothing);
}

TEST(DnsResponse, SilenceIsToldFromAServerThatCannotSay) {
    const auto why = [](const std::vector<std::uint8_t>& message) {
        return whyFailed(message, "a.b", DnsType::A);
    };
    std::vector<std::uint8_t> message(512);  // as before the question
    EXPECT_EQ(why(message), "the name servers do not answer for A a.b");
    EXPECT_EQ(why({}), "the name servers do not answer for A a.b");
    message = Response().bytes();
    for (const auto& [code, words] : {std::pair(2, "SERVFAIL"), {5, "REFUSED"}, {11, "with code 11"}}) {
        message[3] = static_cast<std::uint8_t>(0x80 | code);
        EXPECT_EQ(why(message), fmt::format("the name servers answer {} for A a.b", words));
    }
}

TEST(DnsResponse, CutsAndLiesDoNoHarm) {
    auto bytes =
        Response().record(kTxt, 60, "\377cut").record(kMx, 60, std::string("\0\12\xC0\xFF", 4)).bytes();
    for (const DnsType type : {DnsType::Txt, DnsType::Mx, DnsType::A})
        for (std::size_t length = 0; length <= bytes.size(); ++length)
            readResponse({bytes.begin(), bytes.begin() + static_cast<std::ptrdiff_t>(length)}, type);
    EXPECT_EQ(readResponse({}, DnsType::A).kind, Kind::Failed);
    bytes[7] = 200;  // records that are not there
    EXPECT_EQ(readResponse(bytes, DnsType::Txt).kind, Kind::Failed);
}

}  // namespace
}  // namespace mailgate::names
