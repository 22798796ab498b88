// SPDX-License-Identifier: Apache-2.0
#include "protocols/pop3/pop3_protocol.h"

#include "protocols/pop3/pop3_filter.h"
#include "protocols/values/text.h"

namespace mailgate::pop3 {

namespace {

Greeting judgeGreeting(std::string_view line) noexcept {
    const std::string_view status = takeWord(line);
    if (equalsIgnoreCase(status, "+OK")) return Greeting::Welcome;
    if (!equalsIgnoreCase(status, "-ERR")) return Greeting::Foreign;
    return startsWithIgnoreCase(line, "[SYS/") ? Greeting::Unavailable : Greeting::Refused;
}

Wording wordingOf(Refusal refusal) noexcept {
    switch (refusal) {
        case Refusal::Rule:
            return {"-ERR [SYS/PERM]", "{} is not allowed to use this service", "-ERR [SYS/TEMP]"};
        case Refusal::TooMany:
            return {"-ERR [IN-USE]", "Too many connections from {}"};
        case Refusal::GatewayFull:
            return {"-ERR [SYS/TEMP]", "Server busy, try again later"};
        case Refusal::NoServer:
            return {"-ERR [SYS/TEMP]", "Mail store temporarily unavailable"};
        case Refusal::ServerLost:
            return {"-ERR [SYS/TEMP]", "Backend connection lost"};
        case Refusal::ShuttingDown:
            return {"-ERR [SYS/TEMP]", "Server shutting down."};
        case Refusal::Killed:
            return {"-ERR [SYS/TEMP]", "Session closed by the administrator."};
        case Refusal::Idle:  // RFC 1939 3: without a word
            return {};
        case Refusal::Internal:
            return {"-ERR [SYS/TEMP]", "Temporary local error, try again later"};
        case Refusal::ForbiddenCommand:
            return {"-ERR", "Command not accepted from clients", "-ERR [SYS/TEMP]"};
        case Refusal::BadCommand:
            return {"-ERR", "Command not understood, closing connection", "-ERR [SYS/TEMP]"};
        case Refusal::PlaintextAfterStartTls:
            return {"-ERR", "Data after STLS, closing connection", "-ERR [SYS/TEMP]"};
        case Refusal::TlsRequired:
            return {"-ERR", "Too many commands without TLS", "-ERR [SYS/TEMP]"};
        case Refusal::ServerViolation:
            return {"-ERR [SYS/TEMP]", "Protocol error of the mail server, closing connection"};
        case Refusal::BareLf:
            return {};
    }
    return {};
}

class ProbeDialogue final : public Conversation {
  public:
    explicit ProbeDialogue(const RefusalNames& names)
        : Conversation("+OK " + names.gateway + " ready\r\n",
                       unquotedReplyLine({"-ERR [SYS/TEMP]", "Too many commands"}, names)) {}

  private:
    Step answer(std::string_view line) const override {
        const std::string_view verb = takeWord(line);
        if (equalsIgnoreCase(verb, "QUIT")) return {.reply = "+OK Bye\r\n", .done = true};
        if (equalsIgnoreCase(verb, "NOOP")) return {.reply = "+OK\r\n", .done = false};
        if (equalsIgnoreCase(verb, "CAPA")) {
            return {.reply = "+OK\r\nIMPLEMENTATION mailgate\r\n.\r\n", .done = false};
        }
        return {.reply = "-ERR Unknown command\r\n", .done = false};
    }
};

std::unique_ptr<Dialogue> makeProbeDialogue(const RefusalNames& names) {
    return std::make_unique<ProbeDialogue>(names);
}

std::unique_ptr<StreamFilter> makeFilter(SessionFacts& facts, const ScreenConfig& screen,
                                         MailSink* /*sink*/) {
    return std::make_unique<Pop3Filter>(facts, screen);
}

constexpr std::uint16_t kPorts[] = {110};
constexpr std::uint16_t kTlsPorts[] = {995};

}  // namespace

constinit const ProtocolTraits kPop3{
    .protocol = Protocol::Pop3,
    .idle_floor = std::chrono::minutes(10),
    .idle_source = "RFC 1939 3",
    .idle_default = std::chrono::minutes(11),
    .ports = kPorts,
    .tls_ports = kTlsPorts,
    .alpn = "pop3",
    .dovecot_service = "pop3-login",
    .health = {.goodbye = "QUIT\r\n"},
    .starttls = {.command = "STLS\r\n", .accepted = "+OK"},
    .balancer = {.greeting = "^\\+OK", .goodbye = "QUIT", .answer = "^\\+OK"},
    .tls_first = Pop3Filter::kTlsFirst,
    .make_filter = makeFilter,
    .judge_greeting = judgeGreeting,
    .wording = wordingOf,
    .reply_line = unquotedReplyLine,
    .make_probe_dialogue = makeProbeDialogue,
};

}  // namespace mailgate::pop3
