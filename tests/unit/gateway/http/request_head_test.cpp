// SPDX-License-Identifier: Apache-2.0
#include "gateway/http/request_head.h"

#include <gtest/gtest.h>

#include <string>

namespace mailgate::http {
namespace {

constexpr std::size_t kMost = 1'000;

TEST(RequestHead, EndsWithAnEmptyLine) {
    const std::string head = "GET / HTTP/1.1\r\nHost: x\r\n\r\n";
    for (std::size_t size = 0; size < head.size(); ++size)
        EXPECT_FALSE(isWholeRequest(head.substr(0, size), kMost)) << size;
    EXPECT_TRUE(isWholeRequest(head, kMost));
    EXPECT_TRUE(isWholeRequest("GET / HTTP/1.1\nHost: x\n\n", kMost));
}

TEST(RequestHead, IsFollowedByASmallBody) {
    const std::string head = "POST / HTTP/1.1\r\ncontent-LENGTH: 5\r\n\r\n";
    EXPECT_FALSE(isWholeRequest(head, kMost));
    EXPECT_FALSE(isWholeRequest(head + "1234", kMost));
    EXPECT_TRUE(isWholeRequest(head + "12345", kMost));
    EXPECT_TRUE(isWholeRequest(head + "123456", kMost));
}

TEST(RequestHead, IsNotKeptWaitingForMoreThanThereIsRoomFor) {
    const auto head = [](const std::string& field) { return "POST / HTTP/1.1\r\n" + field + "\r\n\r\n"; };
    EXPECT_TRUE(isWholeRequest(head("Content-Length: 1000"), kMost));
    EXPECT_TRUE(isWholeRequest(head("Content-Length: 18446744073709551615"), kMost));
    EXPECT_TRUE(isWholeRequest(head("Content-Length: 99999999999999999999"), kMost)) << "no number";
    EXPECT_TRUE(isWholeRequest(head("Content-Length: x"), kMost));
    EXPECT_TRUE(isWholeRequest(head("Content-Length: 5\r\nExpect: 100-continue"), kMost));
    EXPECT_TRUE(isWholeRequest(head("Transfer-Encoding: chunked"), kMost));
    EXPECT_TRUE(isWholeRequest(head("X: " + std::string(2 * kMost, 'x')), kMost));
}

TEST(RequestHead, ThatMeansTwoThingsIsMalformed) {
    const auto with = [](const std::string& field) { return "POST / HTTP/1.1\r\n" + field + "\r\n\r\n"; };
    for (const char* line : {"GET / HTTP/1.1", "OPTIONS * HTTP/1.0", "M-SEARCH http://x/ HTTP/1.1"})
        EXPECT_FALSE(isMalformed(std::string(line) + "\r\nHost: x\r\n\r\n")) << line;
    for (const char* line : {"", "GET", "GET /", "GET / ", " / HTTP/1.1", "GET  HTTP/1.1", "GET / HTTP/2.0",
                             "GET /  HTTP/1.1", "GET / HTTP/1.1 ", "GET / http/1.1", "\r"})
        EXPECT_TRUE(isMalformed(std::string(line) + "\r\nHost: x\r\n\r\n")) << line;
    EXPECT_TRUE(isMalformed("GET /\n\n"));
    EXPECT_TRUE(isMalformed("\n\n"));
    EXPECT_TRUE(isMalformed(""));
    for (const char* field : {"A: b", "A:", "A:b:c", "Content-Length: 0", "Content-Length:\t5 ",
                              "content-length:5", "Content-Length: 123456789012345678"})
        EXPECT_FALSE(isMalformed(with(field))) << field;
    for (const char* field :
         {"A", ": b", "A : b", "Content-Length : 5", " A: b", "A: b\r\n c", "Content-Length: 0x2",
          "Content-Length: +2", "Content-Length: 2,2", "Content-Length: ", "Content-Length: 2 2",
          "Content-Length: 9223372036854775808"})
        EXPECT_TRUE(isMalformed(with(field))) << field;
}

TEST(RequestHead, IsFollowedByABodyWhateverTheSpace) {
    EXPECT_FALSE(isWholeRequest("POST / HTTP/1.1\r\nContent-Length:\t5\r\n\r\n", kMost));
}

}  // namespace
}  // namespace mailgate::http
