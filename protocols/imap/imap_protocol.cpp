// SPDX-License-Identifier: Apache-2.0
#include "protocols/imap/imap_protocol.h"

#include "protocols/imap/imap_filter.h"
#include "protocols/stream/lines.h"
#include "protocols/values/text.h"

namespace mailgate::imap {

namespace {

constexpr std::size_t kMaxTagBytes = 64;

Greeting judgeGreeting(std::string_view line) noexcept {
    if (takeWord(line) != "*") return Greeting::Foreign;
    const std::string_view status = takeWord(line);
    if (equalsIgnoreCase(status, "OK") || equalsIgnoreCase(status, "PREAUTH")) return Greeting::Welcome;
    if (!equalsIgnoreCase(status, "BYE")) return Greeting::Foreign;
    return startsWithIgnoreCase(line, "[UNAVAILABLE]") ? Greeting::Unavailable : Greeting::Refused;
}

/// RFC 9051 6.1.3: LOGOUT is answered with BYE and the tagged OK.
bool endsReply(std::string_view line) noexcept {
    return !line.starts_with('*');
}

/// What the server says of itself unasked: Dovecot greets once more as soon as it can check passwords.
bool goesBeforeAnswer(std::string_view line) noexcept {
    return beginsWithWords(line, "* OK") || beginsWithWords(line, "* CAPABILITY");
}

/// Without the capabilities of before TLS: a client that is told none asks for them (RFC 9051 6.1.1). Whoever is logged in
/// has no STARTTLS (6.2.1): PREAUTH, in the clear, is nobody's to say but an intruder's.
std::optional<std::string> greetingWithin(std::string_view greeting) {
    std::string_view text = greeting;
    takeWord(text);
    if (!equalsIgnoreCase(withoutLineEnd(takeWord(text)), "OK")) return std::nullopt;
    const std::size_t end = text.find(']');
    if (!startsWithIgnoreCase(text, "[CAPABILITY ") || end == std::string_view::npos)
        return std::string(greeting);
    const std::string_view before = greeting.substr(0, greeting.size() - text.size());
    text.remove_prefix(end + 1);
    skipSpaces(text);
    return std::string(before).append(text);
}

Wording wordingOf(Refusal refusal) noexcept {
    switch (refusal) {
        case Refusal::Rule:
            return {"* BYE [CONTACTADMIN]", "{} is not allowed to use this service", "* BYE [UNAVAILABLE]"};
        case Refusal::TooMany:
            return {"* BYE [LIMIT]", "Too many connections from {}"};
        case Refusal::GatewayFull:
            return {"* BYE [UNAVAILABLE]", "Server busy, try again later"};
        case Refusal::NoServer:
            return {"* BYE [UNAVAILABLE]", "Mail store temporarily unavailable"};
        case Refusal::ServerLost:
            return {"* BYE [UNAVAILABLE]", "Backend connection lost"};
        case Refusal::ShuttingDown:
            return {"* BYE", "Server shutting down."};
        case Refusal::Killed:
            return {"* BYE", "Session closed by the administrator."};
        case Refusal::Idle:
            return {"* BYE", "Disconnected for inactivity."};
        case Refusal::Internal:
            return {"* BYE [UNAVAILABLE]", "Temporary local error, try again later"};
        case Refusal::ForbiddenCommand:
            return {"* BYE", "Command not accepted from clients", "* BYE [UNAVAILABLE]"};
        case Refusal::BadCommand:
            return {"* BYE", "Command not understood, closing connection", "* BYE [UNAVAILABLE]"};
        case Refusal::PlaintextAfterStartTls:
            return {"* BYE", "Data after STARTTLS, closing connection", "* BYE [UNAVAILABLE]"};
        case Refusal::TlsRequired:
            return {"* BYE", "Too many commands without TLS", "* BYE [UNAVAILABLE]"};
        case Refusal::ServerViolation:
            return {"* BYE [UNAVAILABLE]", "Protocol error of the mail server, closing connection"};
        case Refusal::BareLf:
            return {};
    }
    return {};
}

class ProbeDialogue final : public Conversation {
  public:
    explicit ProbeDialogue(const RefusalNames& names)
        : Conversation("* OK [CAPABILITY IMAP4rev1] " + names.gateway + " ready\r\n",
                       unquotedReplyLine({"* BYE", "Too many invalid IMAP commands."}, names)) {}

  private:
    Step answer(std::string_view line) const override {
        const std::string tag = cleaned(takeWord(line), kMaxTagBytes);
        const std::string_view verb = takeWord(line);
        if (equalsIgnoreCase(verb, "NOOP")) return {.reply = tag + " OK NOOP completed\r\n", .done = false};
        if (equalsIgnoreCase(verb, "CAPABILITY")) {
            return {.reply = "* CAPABILITY IMAP4rev1\r\n" + tag + " OK CAPABILITY completed\r\n",
                    .done = false};
        }
        if (equalsIgnoreCase(verb, "LOGOUT")) {
            return {.reply = "* BYE Logging out\r\n" + tag + " OK LOGOUT completed\r\n", .done = true};
        }
        return {.reply = (tag.empty() ? "*" : tag) + " BAD Unknown command\r\n", .done = false};
    }
};

std::unique_ptr<Dialogue> makeProbeDialogue(const RefusalNames& names) {
    return std::make_unique<ProbeDialogue>(names);
}

std::unique_ptr<StreamFilter> makeFilter(SessionFacts& facts, const ScreenConfig& screen,
                                         MailSink* /*sink*/) {
    return std::make_unique<ImapFilter>(facts, screen);
}

constexpr std::uint16_t kPorts[] = {143};
constexpr std::uint16_t kTlsPorts[] = {993};

}  // namespace

constinit const ProtocolTraits kImap{
    .protocol = Protocol::Imap,
    .idle_floor = std::chrono::minutes(30),
    .idle_source = "RFC 9051 5.4",
    .idle_default = std::chrono::minutes(31),
    .ports = kPorts,
    .tls_ports = kTlsPorts,
    .alpn = "imap",
    .dovecot_service = "imap-login",
    .health = {.goodbye = "a LOGOUT\r\n", .ends_reply = endsReply},
    .starttls = {.command = "G0 STARTTLS\r\n",
                 .accepted = "G0 OK",
                 .within = greetingWithin,
                 .ask = "G0 CAPABILITY\r\n",
                 .answered = "G0 OK",
                 .goes_before = goesBeforeAnswer},
    .balancer = {.greeting = "^\\* OK", .goodbye = "a LOGOUT", .answer = "BYE"},
    .tls_first = ImapFilter::kTlsFirst,
    .make_filter = makeFilter,
    .judge_greeting = judgeGreeting,
    .wording = wordingOf,
    .reply_line = unquotedReplyLine,
    .make_probe_dialogue = makeProbeDialogue,
};

}  // namespace mailgate::imap
