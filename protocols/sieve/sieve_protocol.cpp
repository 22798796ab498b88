// SPDX-License-Identifier: Apache-2.0
#include "protocols/sieve/sieve_protocol.h"

#include "protocols/sieve/sieve_filter.h"
#include "protocols/values/text.h"

namespace mailgate::sieve {

namespace {

Greeting judgeGreeting(std::string_view line) noexcept {
    if (line.starts_with('"')) return Greeting::Welcome;
    const std::string_view status = takeWord(line);
    if (equalsIgnoreCase(status, "OK")) return Greeting::Welcome;
    if (!equalsIgnoreCase(status, "BYE") && !equalsIgnoreCase(status, "NO")) return Greeting::Foreign;
    return startsWithIgnoreCase(line, "(TRYLATER") ? Greeting::Unavailable : Greeting::Refused;
}

/// RFC 5804 1.7: the capabilities end with OK, and so does the answer to LOGOUT.
bool endsReply(std::string_view line) noexcept {
    return startsWithIgnoreCase(line, "OK") || startsWithIgnoreCase(line, "NO") ||
           startsWithIgnoreCase(line, "BYE");
}

Wording wordingOf(Refusal refusal) noexcept {
    switch (refusal) {
        case Refusal::Rule:
            return {"BYE", "{} is not allowed to use this service", "BYE (TRYLATER)"};
        case Refusal::TooMany:
            return {"BYE (TRYLATER)", "Too many connections from {}"};
        case Refusal::GatewayFull:
            return {"BYE (TRYLATER)", "Server busy, try again later"};
        case Refusal::NoServer:
            return {"BYE (TRYLATER)", "Temporarily unavailable, try again later"};
        case Refusal::ServerLost:
            return {"BYE (TRYLATER)", "Backend connection lost"};
        case Refusal::ShuttingDown:
            return {"BYE", "Server shutting down."};
        case Refusal::Killed:
            return {"BYE", "Session closed by the administrator."};
        case Refusal::Idle:
            return {"BYE", "Disconnected for inactivity"};
        case Refusal::Internal:
            return {"BYE (TRYLATER)", "Temporary local error, try again later"};
        case Refusal::ForbiddenCommand:
            return {"BYE", "Command not accepted from clients", "BYE (TRYLATER)"};
        case Refusal::BadCommand:
            return {"BYE", "Command not understood, closing connection", "BYE (TRYLATER)"};
        case Refusal::PlaintextAfterStartTls:
            return {"BYE", "Data after STARTTLS, closing connection", "BYE (TRYLATER)"};
        case Refusal::TlsRequired:
            return {"BYE", "Too many commands without TLS", "BYE (TRYLATER)"};
        case Refusal::ServerViolation:
            return {"BYE (TRYLATER)", "Protocol error of the mail server, closing connection"};
        case Refusal::BareLf:
            return {};
    }
    return {};
}

std::string replyLine(const Wording& wording, const RefusalNames& names) {
    return std::string(wording.code) + " \"" + sentenceOf(wording, names) + " (" + names.session + ")" +
           endOf(names) + "\"\r\n";
}

/// RFC 5804 1.7: these four are required.
std::string capabilities(const RefusalNames& names) {
    return "\"IMPLEMENTATION\" \"mailgate\"\r\n\"SASL\" \"\"\r\n\"SIEVE\" \"\"\r\n\"VERSION\" "
           "\"1.0\"\r\nOK \"" +
           names.gateway + " ready\"\r\n";
}

class ProbeDialogue final : public Conversation {
  public:
    explicit ProbeDialogue(const RefusalNames& names)
        : Conversation(capabilities(names), replyLine({"BYE", "Too many commands"}, names)) {}

  private:
    Step answer(std::string_view line) const override {
        const std::string_view verb = takeWord(line);
        if (equalsIgnoreCase(verb, "LOGOUT")) return {.reply = "OK \"Bye\"\r\n", .done = true};
        if (equalsIgnoreCase(verb, "NOOP")) return {.reply = "OK \"NOOP completed\"\r\n", .done = false};
        if (equalsIgnoreCase(verb, "CAPABILITY")) return {.reply = opening(), .done = false};
        return {.reply = "NO \"Unknown command\"\r\n", .done = false};
    }
};

std::unique_ptr<Dialogue> makeProbeDialogue(const RefusalNames& names) {
    return std::make_unique<ProbeDialogue>(names);
}

std::unique_ptr<StreamFilter> makeFilter(SessionFacts& facts, const ScreenConfig& screen,
                                         MailSink* /*sink*/) {
    return std::make_unique<SieveFilter>(facts, screen);
}

constexpr std::uint16_t kPorts[] = {4190};

}  // namespace

constinit const ProtocolTraits kSieve{
    .protocol = Protocol::Sieve,
    .idle_floor = std::chrono::minutes(30),
    .idle_source = "RFC 5804 1.2",
    .idle_default = std::chrono::minutes(31),
    .ports = kPorts,
    .tls_ports = kPorts,
    .alpn = "managesieve",
    .dovecot_service = "managesieve-login",
    .health = {.goodbye = "LOGOUT\r\n", .ends_greeting = endsReply, .ends_reply = endsReply},
    .starttls = {.command = "STARTTLS\r\n", .accepted = "OK", .greets_again = true},
    .balancer = {.greeting = "OK", .goodbye = "LOGOUT", .answer = "^OK"},
    .tls_first = SieveFilter::kTlsFirst,
    .make_filter = makeFilter,
    .judge_greeting = judgeGreeting,
    .wording = wordingOf,
    .reply_line = replyLine,
    .make_probe_dialogue = makeProbeDialogue,
};

}  // namespace mailgate::sieve
