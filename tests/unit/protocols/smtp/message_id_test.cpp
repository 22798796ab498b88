// SPDX-License-Identifier: Apache-2.0
#include "protocols/smtp/message_id.h"

#include "protocols/stream/session_facts.h"

#include <gtest/gtest.h>

#include <string>

namespace mailgate::smtp {
namespace {

using Dots = MessageIdReader::Dots;

/// The same however the bytes come.
std::string messageIdIn(const std::string& message, Dots dots = Dots::Stuffed) {
    MessageIdReader reader;
    reader.start(dots);
    reader.read(message);
    std::string id = reader.take();
    for (const std::size_t piece : {1U, 2U, 7U}) {
        reader.start(dots);
        for (std::size_t at = 0; at < message.size(); at += piece)
            reader.read(std::string_view(message).substr(at, piece));
        EXPECT_EQ(reader.take(), id) << piece << " bytes at a time: " << message;
    }
    return id;
}

struct MessageIdCase {
    const char* message;
    const char* want;
};
class MessageId : public ::testing::TestWithParam<MessageIdCase> {};

TEST_P(MessageId, IsTheHeaders) {
    EXPECT_EQ(messageIdIn(GetParam().message), GetParam().want) << GetParam().message;
}

INSTANTIATE_TEST_SUITE_P(
    Forms, MessageId,
    ::testing::Values(
        MessageIdCase{"Message-ID: <1@a.example>\r\n\r\n", "1@a.example"},
        MessageIdCase{"Message-ID: <1@a.example>", "1@a.example"},
        MessageIdCase{"Subject: x\r\n y\r\nmessage-id:<1@a.example>\r\n\r\nbody", "1@a.example"},
        MessageIdCase{"MESSAGE-ID \t: <1@a.example>\r\n", "1@a.example"},
        MessageIdCase{"Message-ID:\r\n <1@a.example>\r\n", "1@a.example"},
        MessageIdCase{"Message-ID:\r\n\t<1@a.exa\r\n mple>\r\nSubject: <2@x>\r\n", "1@a.exa mple"},
        MessageIdCase{"Message-ID: <1@a.example>\n\nbody", "1@a.example"},
        MessageIdCase{"Message-ID: (a (b) \\) <c@d>) <1@a.example> (e)\r\n", "1@a.example"},
        MessageIdCase{"Message-ID: 1234.abc \r\n", "1234.abc"},
        MessageIdCase{"Message-ID: <1@a.example\r\n", "1@a.example"},
        MessageIdCase{"Message-ID: <a\x01\x1b[2Jb@c>\r\n", "a  [2Jb@c"},
        MessageIdCase{"Message-ID: <1@x>\r\nMessage-ID: <2@x>\r\n", "1@x"},
        MessageIdCase{".Message-ID: <1@x>\r\n", "1@x"},
        // None, and no more than there is.
        MessageIdCase{"", ""}, MessageIdCase{"\r\nMessage-ID: <1@x>\r\n", ""},
        MessageIdCase{"\nMessage-ID: <1@x>\r\n", ""}, MessageIdCase{".\r\n", ""},
        MessageIdCase{"Subject: x\r\n\r\nMessage-ID: <1@x>\r\n", ""},
        MessageIdCase{"Dear Bob\r\nMessage-ID: <1@x>\r\n", ""},
        MessageIdCase{"Resent-Message-ID: <1@x>\r\nMessage-IDs: <2@x>\r\n", ""},
        MessageIdCase{"X: y\r\n Message-ID: <1@x>\r\n", ""},
        MessageIdCase{"Message-ID\r\nMessage-ID: <1@x>\r\n", ""},
        MessageIdCase{"Message-ID: \r\nSubject: x\r\n", ""},
        MessageIdCase{"Message-ID: (never closed <1@x>\r\n", ""}));

TEST(MessageIdReader, KeepsTheDotsOfAChunk) {
    EXPECT_EQ(messageIdIn("..: y\r\nMessage-ID: <1@x>\r\n", Dots::AsTheyAre), "1@x");
    EXPECT_EQ(messageIdIn(".Message-ID: <1@x>\r\n", Dots::AsTheyAre), "") << "the name of another field";
}

TEST(MessageIdReader, KeepsNoMoreThanItsBounds) {
    const std::string id(10'000, 'i');
    EXPECT_EQ(messageIdIn("Message-ID: <" + id + "@x>\r\n"), id.substr(0, kMaxMessageIdBytes));
    std::string header;
    while (header.size() < 200'000)
        header += "X-Padding: " + std::string(900, 'p') + "\r\n";
    EXPECT_EQ(messageIdIn(header.substr(0, 913 * 50) + "Message-ID: <1@x>\r\n"), "1@x");
    EXPECT_EQ(messageIdIn(header + "Message-ID: <1@x>\r\n"), "") << "nobody has a header of 200,000 bytes";
}

TEST(MessageIdReader, ReadsNothingBeforeAMessageBegins) {
    MessageIdReader reader;
    reader.read("Message-ID: <1@x>\r\n");
    EXPECT_EQ(reader.take(), "");
    reader.start(Dots::Stuffed);
    reader.read("Message-ID: <1@x>\r\n\r\n");
    reader.start(Dots::Stuffed);
    EXPECT_EQ(reader.take(), "") << "another has begun";
}

}  // namespace
}  // namespace mailgate::smtp
