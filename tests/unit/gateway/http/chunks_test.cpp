// SPDX-License-Identifier: Apache-2.0
#include "gateway/http/chunks.h"

#include <gtest/gtest.h>

#include <string>
#include <utility>

namespace mailgate::http {
namespace {

using State = ChunkDecoder::State;

std::pair<State, std::string> decoded(std::string_view bytes, std::size_t piece) {
    ChunkDecoder decoder;
    std::string body;
    State state = State::Incomplete;
    for (; !bytes.empty() && state == State::Incomplete; bytes.remove_prefix(std::min(piece, bytes.size())))
        state = decoder.take(bytes.substr(0, piece), body);
    return {state, body};
}

TEST(Chunks, AreABodyHoweverTheyCome) {
    for (const std::size_t piece : {1U, 2U, 3U, 100U}) {
        EXPECT_EQ(decoded("3\r\nabc\r\n00B;x=\"y\"\r\n\r\n0123456\r\n\r\n0\r\n\r\n", piece),
                  std::pair(State::Complete, std::string("abc\r\n0123456\r\n")));
        EXPECT_EQ(decoded("1\r\na\r\n0;last\r\nExpires: never\r\nX:\r\n\r\n", piece),
                  std::pair(State::Complete, std::string("a")));
        EXPECT_EQ(decoded("0\r\n\r\n", piece).first, State::Complete);
        for (const char* part : {"", "3", "3\r\nab", "3\r\nabc\r\n", "3\r\nabc\r\n0\r\n", "0\r\nX: y\r\n"})
            EXPECT_EQ(decoded(part, piece).first, State::Incomplete) << part;
    }
}

TEST(Chunks, AreTakenToTheLetter) {
    for (const char* bytes : {"3c\n", "3\nabc\n0\n\n", "3\r\nabc\n0\r\n\r\n", "3\r\nabc\r\n0\n", "0\r\n\n",
                              "0\r\nX: y\n\r\n", "\r\n", "x\r\n", "-1\r\n", "+1\r\n", "0x1\r\n", " 1\r\n",
                              "1 \r\n", "1;x\n\r\n", "1\r\r\n", "3\r\nabcd\r\n", "1000000000000000\r\n"})
        EXPECT_EQ(decoded(bytes, 1).first, State::Malformed) << bytes;
    const std::string much(ChunkDecoder::kMostBeside, 'x');
    EXPECT_EQ(decoded("1;" + much + "\r\na\r\n", 100).first, State::Malformed);
    EXPECT_EQ(decoded("0\r\nX" + much + "\r\n", 100).first, State::Malformed);
}

}  // namespace
}  // namespace mailgate::http
