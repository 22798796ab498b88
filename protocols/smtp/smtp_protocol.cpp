// SPDX-License-Identifier: Apache-2.0
#include "protocols/smtp/smtp_protocol.h"

#include "protocols/smtp/reply.h"
#include "protocols/smtp/smtp_filter.h"
#include "protocols/values/text.h"

namespace mailgate::smtp {

namespace {

/// RFC 3463: the second number of an enhanced status, 3, is the system's own state. A permanent one (RFC 7504: "does
/// not accept mail") is policy, which the client has to hear.
bool blamesSystem(std::string_view text) noexcept {
    return text.starts_with("4.3.");
}

Greeting judgeGreeting(std::string_view line) noexcept {
    const std::optional<int> code = smtpReplyCode(line);
    if (!code) return Greeting::Foreign;
    if (*code == 220) return Greeting::Welcome;
    if (*code < 400) return Greeting::Foreign;
    return line.size() > 4 && blamesSystem(line.substr(4)) ? Greeting::Unavailable : Greeting::Refused;
}

/// RFC 5321 4.2.1: a code without the hyphen.
bool endsReply(std::string_view line) noexcept {
    return !isContinued(line);
}

// ---- refusals

Wording wordingOf(Refusal refusal) noexcept {
    switch (refusal) {
        case Refusal::Rule:
            return {"554 5.7.1", "{} is not allowed to use this service", "450 4.7.1"};
        case Refusal::TooMany:
            return {"421 4.7.0", "Too many connections from {}"};
        case Refusal::GatewayFull:
            return {"421 4.3.2", "Service busy, try again later"};
        case Refusal::NoServer:
            return {"421 4.4.1", "Mail service temporarily unavailable"};
        case Refusal::ServerLost:
            return {"421 4.4.2", "Lost connection to mail server"};
        case Refusal::ShuttingDown:
            return {"421 4.3.2", "Service shutting down"};
        case Refusal::Killed:
            return {"421 4.7.0", "Session closed by the administrator"};
        case Refusal::Idle:
            return {"421 4.4.2", "Error: timeout exceeded"};
        case Refusal::Internal:
            return {"421 4.3.0", "Temporary local error, try again later"};
        case Refusal::BareLf:
            return {"521 5.5.2", "Error: bare <LF> received", "421 4.5.2"};
        case Refusal::ForbiddenCommand:
            return {"521 5.5.1", "Error: command not accepted from clients", "421 4.5.1"};
        case Refusal::BadCommand:
            return {"521 5.5.2", "Error: command not recognized, closing connection", "421 4.5.2"};
        case Refusal::PlaintextAfterStartTls:
            return {"521 5.5.1", "Error: data after STARTTLS, closing connection", "421 4.5.1"};
        case Refusal::TlsRequired:
            return {"421 4.7.0", "Error: too many commands without TLS"};
        case Refusal::ServerViolation:
            return {"421 4.5.0", "Protocol error of the mail server, closing connection"};
    }
    return {};
}

/// The peers are the site's own mail servers: never 5xx for a rule.
Wording lmtpWordingOf(Refusal refusal) noexcept {
    if (refusal == Refusal::Rule) return {"421 4.7.1", "{} is not allowed to use this service"};
    return wordingOf(refusal);
}

/// Greeting-type replies carry the host's name as their first word (RFC 5321 4.3.1).
std::string replyLine(const Wording& wording, const RefusalNames& names) {
    return std::string(wording.code) + " " + names.gateway + " " + sentenceOf(wording, names) + " [id " +
           names.session + "]" + endOf(names) + "\r\n";
}

std::string tooManyErrors(const RefusalNames& names) {
    return replyLine({"421 4.7.0", "Too many errors"}, names);
}

// ---- dialogues

Dialogue::Step bye() {
    return {.reply = "221 2.0.0 Bye\r\n", .done = true};
}

/// RFC 5321 3.1: after a 554 greeting the server waits for QUIT and answers 503 to the rest. After a 450 the rest gets
/// 450 too: a client that goes on must not take the reply to its MAIL for a permanent one.
class RefusalDialogue final : public Conversation {
  public:
    RefusalDialogue(std::string line, std::string_view code, const RefusalNames& names)
        : Conversation(std::move(line), tooManyErrors(names)), code_(code), client_(names.client) {}

  private:
    Step answer(std::string_view line) const override {
        if (equalsIgnoreCase(takeWord(line), "QUIT")) return bye();
        return {.reply = std::string(code_) + " Error: access denied for " + client_ + "\r\n", .done = false};
    }

    const std::string_view code_;
    const std::string client_;
};

class ProbeDialogue final : public Conversation {
  public:
    ProbeDialogue(bool lmtp, const RefusalNames& names)
        : Conversation("220 " + names.gateway + (lmtp ? " LMTP" : " ESMTP") + "\r\n", tooManyErrors(names)),
          gateway_(names.gateway),
          lmtp_(lmtp) {}

  private:
    Step answer(std::string_view line) const override {
        const std::string_view verb = takeWord(line);
        if (equalsIgnoreCase(verb, "QUIT")) return bye();
        for (const auto& [known, reply] : kReplies) {
            if (equalsIgnoreCase(verb, known)) return {.reply = std::string(reply), .done = false};
        }
        const bool hello = lmtp_ ? equalsIgnoreCase(verb, "LHLO")
                                 : equalsIgnoreCase(verb, "EHLO") || equalsIgnoreCase(verb, "HELO");
        if (hello) return {.reply = "250 " + gateway_ + "\r\n", .done = false};
        return {.reply = "502 5.5.2 Error: command not recognized\r\n", .done = false};
    }

    /// RFC 5321 4.5.1's minimum; a probe sends no mail.
    static constexpr std::pair<std::string_view, std::string_view> kReplies[] = {
        {"NOOP", "250 2.0.0 Ok\r\n"},
        {"RSET", "250 2.0.0 Ok\r\n"},
        {"VRFY", "252 2.0.0 Cannot verify, will not try\r\n"},
        {"HELP", "214 2.0.0 A load balancer's probe: NOOP RSET VRFY HELP QUIT\r\n"},
        {"MAIL", "550 5.7.1 Error: no mail in a load balancer's probe\r\n"},
        {"RCPT", "503 5.5.1 Error: need MAIL command\r\n"},
        {"DATA", "503 5.5.1 Error: need MAIL command\r\n"},
    };

    const std::string gateway_;
    const bool lmtp_;
};

std::unique_ptr<Dialogue> makeRefusalDialogue(std::string line, const RefusalNames& names) {
    if (line.starts_with("554"))
        return std::make_unique<RefusalDialogue>(std::move(line), "503 5.5.1", names);
    if (line.starts_with("450"))
        return std::make_unique<RefusalDialogue>(std::move(line), "450 4.7.1", names);
    return std::make_unique<Farewell>(std::move(line));
}

template <Protocol protocol>
std::unique_ptr<Dialogue> makeProbeDialogue(const RefusalNames& names) {
    return std::make_unique<ProbeDialogue>(protocol == Protocol::Lmtp, names);
}

template <Protocol protocol>
std::unique_ptr<StreamFilter> makeFilter(SessionFacts& facts, const ScreenConfig& screen, MailSink* sink) {
    return std::make_unique<SmtpFilter>(protocol, facts, screen, sink);
}

// ---- what both have in common

constexpr std::chrono::minutes kIdleFloor{5};
constexpr std::chrono::minutes kIdleDefault{6};
constexpr std::string_view kIdleSource = "RFC 5321 4.5.3.2";
constexpr BalancerScript kBalancer{.greeting = "^220", .goodbye = "QUIT", .answer = "^221"};

/// `hello`: the verb, a blank behind it.
constexpr HealthScript healthScript(std::string_view hello) noexcept {
    return {.hello = hello,
            .hello_accepted = "250",
            .goodbye = "QUIT\r\n",
            .refusal_before_goodbye = "5",  // RFC 5321 3.1
            .ends_greeting = endsReply,
            .ends_reply = endsReply};
}

constexpr StartTlsScript kStartTls{.command = "STARTTLS\r\n", .accepted = "220"};

constexpr std::uint16_t kSmtpPorts[] = {25, 587};
constexpr std::uint16_t kSmtpTlsPorts[] = {465};
constexpr std::uint16_t kLmtpPorts[] = {24};

}  // namespace

constinit const ProtocolTraits kSmtp{
    .protocol = Protocol::Smtp,
    .idle_floor = kIdleFloor,
    .idle_source = kIdleSource,
    .idle_default = kIdleDefault,
    .ports = kSmtpPorts,
    .tls_ports = kSmtpTlsPorts,
    .health = healthScript("EHLO "),
    .starttls = kStartTls,
    .balancer = kBalancer,
    .tls_first = SmtpFilter::kTlsFirst,
    .make_filter = makeFilter<Protocol::Smtp>,
    .judge_greeting = judgeGreeting,
    .wording = wordingOf,
    .reply_line = replyLine,
    .make_refusal_dialogue = makeRefusalDialogue,
    .make_probe_dialogue = makeProbeDialogue<Protocol::Smtp>,
};

constinit const ProtocolTraits kLmtp{
    .protocol = Protocol::Lmtp,
    .idle_floor = kIdleFloor,
    .idle_source = kIdleSource,
    .idle_default = kIdleDefault,
    .ports = kLmtpPorts,
    .tls_ports = kLmtpPorts,
    .dovecot_service = "lmtp",
    .health = healthScript("LHLO "),
    .starttls = kStartTls,
    .balancer = kBalancer,
    .tls_first = SmtpFilter::kTlsFirst,
    .make_filter = makeFilter<Protocol::Lmtp>,
    .judge_greeting = judgeGreeting,
    .wording = lmtpWordingOf,
    .reply_line = replyLine,
    .make_probe_dialogue = makeProbeDialogue<Protocol::Lmtp>,
};

}  // namespace mailgate::smtp
