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

}  // namespace
}  // namespace mailgate::http
