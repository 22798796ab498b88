// SPDX-License-Identifier: Apache-2.0
#include "protocols/values/byte_words.h"

#include <gtest/gtest.h>

#include <string>

namespace mailgate::byte_words {
namespace {

/// Each value that a byte can have, in each place, among others that are not wanted.
template <typename Wanted, typename Search>
void expectFinds(Wanted wanted, Search search) {
    for (unsigned value = 0; value < 0x100; ++value) {
        const char byte = static_cast<char>(value);
        for (std::size_t at = 0; at < 8; ++at) {
            std::string text(8, 'x');
            text[at] = byte;
            EXPECT_EQ(any(search(load(text, 0))), wanted(byte)) << value << " at " << at;
        }
    }
}

TEST(ByteWords, FindSmallBytes) {
    expectFinds([](char c) { return static_cast<unsigned char>(c) < 0x20; },
                [](std::uint64_t word) { return below(word, 0x20); });
}

TEST(ByteWords, FindAByte) {
    for (const char byte : {'"', '\\', '\0', '\x7F', '\xFF'})
        expectFinds([&](char c) { return c == byte; }, [&](std::uint64_t word) { return equal(word, byte); });
}

TEST(ByteWords, BeginWhereTheyAreAsked) {
    EXPECT_TRUE(any(equal(load("123456789", 1), '9')));
    EXPECT_FALSE(any(equal(load("123456789", 1), '1')));
}

}  // namespace
}  // namespace mailgate::byte_words
