// SPDX-License-Identifier: Apache-2.0
#include "tests/bench/load/script.h"

#include <fmt/format.h>

#include <charconv>

namespace mailgate::load {

namespace {

constexpr std::uint16_t kSmtpPort = 25;
constexpr std::uint16_t kImapPort = 143;
constexpr int kAnswers = 250;  // of a session of imap-answers

/// A message of about that many octets, with the dot that ends it.
std::string message(std::uint64_t octets) {
    std::string text =
        "From: <alice@partner.example>\r\nTo: <bob@example.net>\r\nSubject: load\r\n"
        "Message-ID: <load@partner.example>\r\n\r\n";
    const std::string line = std::string(70, 'm') + "\r\n";
    while (text.size() + line.size() <= octets)
        text += line;
    return text + ".\r\n";
}

Script smtpSession(std::uint64_t octets) {
    return {{{"220 ", "220-", "EHLO client.partner.example\r\n"},
             {"250 ", "250-", "MAIL FROM:<alice@partner.example>\r\n"},
             {"250 ", "250-", "RCPT TO:<bob@example.net>\r\n"},
             {"250 ", "250-", "DATA\r\n"},
             {"354 ", "354-", message(octets)},
             {"250 ", "250-", "QUIT\r\n"},
             {"221 ", "221-", ""}},
            kSmtpPort};
}

Script connectQuit() {
    return {{{"220 ", "220-", "QUIT\r\n"}, {"221 ", "221-", ""}}, kSmtpPort};
}

Script imapBulk(std::uint64_t octets) {
    return {{{"* OK ", "* ", "a1 LOGIN bob secret\r\n"},
             {"a1 OK ", "* ", "a2 SELECT INBOX\r\n"},
             {"a2 OK ", "* ", fmt::format("a3 FETCH 1 BODY.PEEK[]<0.{}>\r\n", octets)},
             {"a3 OK ", "* ", "a4 LOGOUT\r\n"},
             {"a4 OK ", "* BYE", ""}},
            kImapPort};
}

Script imapIdle() {
    return {{{"* OK ", "* ", "a1 LOGIN bob secret\r\n"},
             {"a1 OK ", "* ", "a2 SELECT INBOX\r\n"},
             {"a2 OK ", "* ", "a3 IDLE\r\n"},
             {"+ ", "* ", "DONE\r\n", true},
             {"a3 OK ", "* ", "a4 LOGOUT\r\n"},
             {"a4 OK ", "* BYE", ""}},
            kImapPort};
}

Script imapLogout() {
    return {{{"* OK ", "* ", "a1 LOGOUT\r\n"}, {"a1 OK ", "* BYE", ""}}, kImapPort};
}

/// All sessions log in and wait for each other; then each asks again and again.
Script imapAnswers() {
    Script script{{{"* OK ", "* ", "a1 LOGIN bob secret\r\n"}, {"a1 OK ", "* ", "a2 NOOP\r\n", true}},
                  kImapPort};
    for (int i = 0; i < kAnswers; ++i)
        script.steps.push_back({"a2 OK ", "* ", "a2 NOOP\r\n", false, true});
    script.steps.push_back({"a2 OK ", "* ", "a3 LOGOUT\r\n"});
    script.steps.push_back({"a3 OK ", "* BYE", ""});
    return script;
}

}  // namespace

Script scriptFor(Workload workload, std::uint64_t octets) {
    switch (workload) {
        case Workload::SmtpSessions:
        case Workload::SmtpSerial:
            return smtpSession(octets);
        case Workload::ConnectQuit:
            return connectQuit();
        case Workload::ImapBulk:
            return imapBulk(octets);
        case Workload::ImapIdle:
            return imapIdle();
        case Workload::ImapLogout:
            return imapLogout();
        case Workload::ImapAnswers:
            return imapAnswers();
    }
    __builtin_unreachable();
}

std::optional<std::uint64_t> literalSize(std::string_view line) {
    const std::size_t brace = line.rfind('{');
    std::uint64_t size = 0;
    if (!line.ends_with('}') || brace == line.npos ||
        std::from_chars(line.data() + brace + 1, line.data() + line.size() - 1, size).ec != std::errc{})
        return std::nullopt;
    return size;
}

}  // namespace mailgate::load
