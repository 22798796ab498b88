// SPDX-License-Identifier: Apache-2.0
#include "gateway/http/request_head.h"

#include <gtest/gtest.h>

#include <optional>
#include <string>
#include <string_view>

namespace mailgate::http {
namespace {

constexpr std::size_t kMostHead = 1'000, kMostBody = 100;

RequestState stateOf(std::string_view text) {
    return readHead(text, kMostHead, kMostBody).state;
}

std::string headWith(const std::string& fields) {
    return "POST / HTTP/1.1\r\n" + fields + "\r\n\r\n";
}

TEST(RequestHead, EndsWithAnEmptyLine) {
    for (const std::string head : {"GET / HTTP/1.1\r\nHost: x\r\n\r\n", "GET / HTTP/1.0\n\n"}) {
        for (std::size_t size = 0; size < head.size(); ++size)
            EXPECT_EQ(stateOf(head.substr(0, size)), RequestState::Incomplete) << size;
        EXPECT_EQ(stateOf(head), RequestState::Whole);
        EXPECT_EQ(stateOf(head + "and more"), RequestState::Whole);
    }
}

TEST(RequestHead, IsRefusedOnceItsFirstLineIsNone) {
    for (const char* line :
         {"", "GET", "GET /", "GET / ", "GET / HTTP/0.9", "GET / HTTP/2.0", "GET / HTTP/1.1 ",
          "GET / HTTP/1.1x", "GET /a b HTTP/1.1", "GET  HTTP/1.1", "G(T / HTTP/1.1", "GET /\x01 HTTP/1.1",
          "GET /\xff HTTP/1.1", "GET  / HTTP/1.1", "GET /  HTTP/1.1", " GET / HTTP/1.1", "GET / HTTP/1.1 x",
          "GET\t/ HTTP/1.1", "GET / HTTP/1.1\r"}) {
        EXPECT_EQ(stateOf(std::string(line) + "\r\n"), RequestState::Malformed) << line;
        EXPECT_EQ(stateOf(std::string(line) + "\n"), line[0] == 'G' && std::string(line).ends_with("1.1\r")
                                                         ? RequestState::Incomplete
                                                         : RequestState::Malformed)
            << line;
    }
}

TEST(RequestHead, HasItsParts) {
    const std::string text =
        "POST http://gw.example:8026/login?a HTTP/1.1\r\nHost: x\r\nX-Forwarded-For: a, "
        "b\r\nx-forwarded-for:c\r\n"
        "Content-Length: 2\r\n\r\nabc";
    const RequestHead head = readHead(text, kMostHead, kMostBody);
    ASSERT_EQ(head.state, RequestState::Whole);
    EXPECT_EQ(head.method, "POST");
    EXPECT_EQ(head.target, "/login?a");
    EXPECT_EQ(head.body, "ab");
    EXPECT_EQ(fieldIn(head.fields, "X-Forwarded-For"), "a, b,c");
    EXPECT_EQ(fieldIn(head.fields, "Content-Length"), "2");
    EXPECT_EQ(fieldIn(head.fields, "abc"), "") << "that is of the body";
    EXPECT_EQ(fieldIn(head.fields, "Cookie"), "");
}

TEST(RequestHead, NamesAHostAsToAProxy) {
    const auto check = [](std::string_view target, std::optional<std::string_view> authority,
                          std::string_view path) {
        EXPECT_EQ(targetOf(target).authority, authority) << target;
        EXPECT_EQ(targetOf(target).path, path) << target;
    };
    check("/a?b", std::nullopt, "/a?b");
    check("http://gw.example/a?b", "gw.example", "/a?b");
    check("HTTPS://gw.example:1/", "gw.example:1", "/");
    check("http://gw.example", "gw.example", "/");
    check("http://gw.example?x", "gw.example", "/");
    check("http:///a", "", "/a");
    check("ftp://gw.example/a", std::nullopt, "ftp://gw.example/a");
    check("*", std::nullopt, "*");
    EXPECT_TRUE(isProbe(readHead("GET http://gw.example/readyz HTTP/1.1\r\n\r\n", kMostHead, kMostBody)));
}

TEST(RequestHead, IsRefusedWhereAFieldCanBeReadInTwoWays) {
    using namespace std::string_literals;
    for (const std::string& fields :
         {"Content-Length : 5"s, "Host: x\r\n Content-Length: 5"s, "Host: x\r\n\tmore"s, " Host: x"s, "Host"s,
          ": x"s, "Ho st: x"s, "X: a\rContent-Length: 5"s, "X: a\0b"s, "Content-Length: x"s,
          "Content-Length: +5"s, "Content-Length: -5"s, "Content-Length: 0x2"s, "Content-Length: 5, 5"s,
          "Content-Length:"s, "Content-Length: 9223372036854775808"s, "Content-Length: 99999999999999999999"s,
          "X: \x7f"s, "H\xc3\xb6st: x"s})
        EXPECT_EQ(stateOf(headWith(fields)), RequestState::Malformed) << fields;
    EXPECT_EQ(stateOf(headWith("X: h\xc3\xb6\tst\r\nY:")), RequestState::Whole);
}

TEST(RequestHead, IsFollowedByASmallBody) {
    for (const char* field :
         {"content-LENGTH: 5", "Content-Length:5", "Content-Length:\t5", "Content-Length:  5 \t"}) {
        const std::string head = headWith(field);
        EXPECT_EQ(stateOf(head), RequestState::Unaccompanied) << field;
        EXPECT_EQ(stateOf(head + "1234"), RequestState::Unaccompanied) << field;
        EXPECT_EQ(stateOf(head + "12345"), RequestState::Whole) << field;
        EXPECT_EQ(stateOf(head + "123456"), RequestState::Whole) << field;
    }
    EXPECT_EQ(stateOf(headWith("Content-Length: 100")), RequestState::Unaccompanied)
        << "as much as there is room for";
}

TEST(RequestHead, IsNotKeptWaitingForWhatIsNoSmallBody) {
    for (const char* fields :
         {"Content-Length: 101", "Content-Length: 4611686018427387904",
          "Content-Length: 5\r\nContent-Length: 5", "Content-Length: 5\r\nExpect: 100-continue",
          "Content-Length: 5\r\nTransfer-Encoding: chunked", "Transfer-Encoding: chunked", "X: y"})
        EXPECT_EQ(stateOf(headWith(fields)), RequestState::Whole) << fields;
}

TEST(RequestHead, HasALimit) {
    const std::string head = headWith("X: " + std::string(kMostHead - 24, 'x'));
    ASSERT_EQ(head.size(), kMostHead);
    EXPECT_EQ(stateOf(head), RequestState::Whole);
    EXPECT_EQ(stateOf(headWith("X: " + std::string(kMostHead - 23, 'x'))), RequestState::TooLong);
    EXPECT_EQ(stateOf(head.substr(0, kMostHead - 1)), RequestState::Incomplete);
    EXPECT_EQ(stateOf(std::string(kMostHead, 'x')), RequestState::TooLong) << "without an end";
}

TEST(RequestHead, TellsWhetherThereIsABody) {
    const auto hasBody = [](const std::string& fields) {
        return readHead(headWith(fields), kMostHead, kMostBody).has_body;
    };
    EXPECT_FALSE(hasBody("Host: x"));
    for (const char* fields : {"Content-Length: 0", "Content-Length: 101", "Transfer-Encoding: chunked",
                               "Host: x\r\nExpect: 100-continue"})
        EXPECT_TRUE(hasBody(fields)) << fields;
    const RequestHead request = readHead("PUT /a?b HTTP/1.1\r\n\r\n", kMostHead, kMostBody);
    EXPECT_EQ(request.method, "PUT");
    EXPECT_EQ(request.target, "/a?b");
}

TEST(RequestHead, OfAProbeHasNothingBehindIt) {
    const auto isProbeWith = [](const std::string& line, const std::string& fields = "Host: x\r\n") {
        return isProbe(readHead(line + "\r\n" + fields + "\r\n", kMostHead, kMostBody));
    };
    EXPECT_TRUE(isProbeWith("GET /readyz HTTP/1.1"));
    EXPECT_TRUE(isProbeWith("HEAD /healthz HTTP/1.0", ""));
    EXPECT_TRUE(isProbeWith("GET /readyz?listener=mx HTTP/1.1"));
    EXPECT_FALSE(isProbeWith("GET /readyz?x HTTP/1.1"));
    EXPECT_FALSE(isProbeWith("GET /metrics HTTP/1.1"));
    EXPECT_FALSE(isProbeWith("POST /readyz HTTP/1.1"));
    for (const char* field :
         {"Content-Length: 0\r\n", "transfer-encoding: chunked\r\n", "EXPECT: 100-continue\r\n"})
        EXPECT_FALSE(isProbeWith("GET /readyz HTTP/1.1", field)) << field;
}

}  // namespace
}  // namespace mailgate::http
