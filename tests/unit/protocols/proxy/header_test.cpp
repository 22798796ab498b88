// SPDX-License-Identifier: Apache-2.0
#include "protocols/proxy/header.h"

#include <gtest/gtest.h>

#include <set>
#include <string_view>

namespace mailgate::proxy {
namespace {

TEST(Header, HasAClientOnlyWhereItNamesOneOverTcp) {
    Header header;
    header.command = Command::Proxy;
    header.family = Family::Inet;
    header.transport = Transport::Stream;
    EXPECT_TRUE(header.hasClientAddress());
    header.family = Family::Inet6;
    EXPECT_TRUE(header.hasClientAddress());

    Header local = header;
    local.command = Command::Local;
    EXPECT_FALSE(local.hasClientAddress());
    for (const Family family : {Family::Unspec, Family::Unix}) {
        Header other = header;
        other.family = family;
        EXPECT_FALSE(other.hasClientAddress());
    }
    for (const Transport transport : {Transport::Unspec, Transport::Datagram}) {
        Header other = header;
        other.transport = transport;
        EXPECT_FALSE(other.hasClientAddress());
    }
}

TEST(Reason, HasANameAndASentenceOfItsOwn) {
    std::set<std::string_view> names, sentences;
    for (int number = 0; number <= static_cast<int>(Reason::BadChecksum); ++number) {
        const auto reason = static_cast<Reason>(number);
        EXPECT_FALSE(toString(reason).empty()) << number;
        EXPECT_EQ(toString(reason).find_first_not_of("abcdefghijklmnopqrstuvwxyz0123456789_"),
                  std::string_view::npos);
        EXPECT_TRUE(names.insert(toString(reason)).second) << toString(reason);
        EXPECT_FALSE(describe(reason).empty()) << number;
        EXPECT_TRUE(sentences.insert(describe(reason)).second) << describe(reason);
    }
}

}  // namespace
}  // namespace mailgate::proxy
