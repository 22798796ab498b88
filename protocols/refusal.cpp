// SPDX-License-Identifier: Apache-2.0
#include "protocols/refusal.h"

#include "protocols/stream/lines.h"
#include "protocols/values/text.h"

#include <algorithm>
#include <array>
#include <utility>

namespace mailgate {

namespace {

constexpr std::string_view kEndOfLine = "\r\n";
constexpr std::size_t kMaxCommandBytes = 1000;
constexpr int kMaxCommands = 10;
// Of all commands together: bounds what never comes to the end of a line.
constexpr std::size_t kMaxHeardBytes = 16 * 1024;

// With these a refusal stays under 512 bytes (RFC 5321 4.5.3.1.5) whatever the configuration says.
constexpr std::size_t kMaxGatewayBytes = 255;
constexpr std::size_t kMaxClientBytes = 64;
constexpr std::size_t kMaxSessionBytes = 64;
constexpr std::size_t kMaxTagBytes = 64;

/// Fit to stand in a reply line and in a quoted string, cut to `limit` bytes.
std::string printable(std::string_view text, std::size_t limit) {
    std::string clean(text.substr(0, limit));
    std::replace_if(
        clean.begin(), clean.end(), [](char c) { return c < 0x20 || c > 0x7e || c == '"' || c == '\\'; },
        '?');
    return clean;
}

/// The texts of RefusalText, cleaned and owned.
struct Names {
    explicit Names(const RefusalText& text)
        : gateway(printable(text.gateway, kMaxGatewayBytes)),
          client(printable(text.client, kMaxClientBytes)),
          session(printable(text.session, kMaxSessionBytes)) {}

    std::string gateway;
    std::string client;
    std::string session;
};

/// One refusal in one protocol: the code in front, and the sentence, in which {} stands for the client.
struct Wording {
    std::string_view code;
    std::string_view sentence;
};

Wording smtpWording(Refusal refusal) noexcept {
    switch (refusal) {
        case Refusal::Rule:
            return {"554 5.7.1", "{} is not allowed to use this service"};
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
        case Refusal::Idle:
            return {"421 4.4.2", "Error: timeout exceeded"};
        case Refusal::Internal:
            return {"421 4.3.0", "Temporary local error, try again later"};
        case Refusal::BareLf:
            return {"521 5.5.2", "Error: bare <LF> received"};
        case Refusal::ForbiddenCommand:
            return {"521 5.5.1", "Error: command not accepted from clients"};
        case Refusal::BadCommand:
            return {"521 5.5.2", "Error: command not recognized, closing connection"};
        case Refusal::ServerViolation:
            return {"421 4.5.0", "Protocol error of the mail server, closing connection"};
    }
    return {};
}

Wording lmtpWording(Refusal refusal) noexcept {
    if (refusal == Refusal::Rule) return {"421 4.7.1", "{} is not allowed to use this service"};
    return smtpWording(refusal);
}

Wording imapWording(Refusal refusal) noexcept {
    switch (refusal) {
        case Refusal::Rule:
            return {"* BYE [CONTACTADMIN]", "{} is not allowed to use this service"};
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
        case Refusal::Idle:
            return {"* BYE", "Disconnected for inactivity."};
        case Refusal::Internal:
            return {"* BYE [UNAVAILABLE]", "Temporary local error, try again later"};
        case Refusal::ForbiddenCommand:
            return {"* BYE", "Command not accepted from clients"};
        case Refusal::BadCommand:
            return {"* BYE", "Command not understood, closing connection"};
        case Refusal::ServerViolation:
            return {"* BYE [UNAVAILABLE]", "Protocol error of the mail server, closing connection"};
        case Refusal::BareLf:
            return {};
    }
    return {};
}

Wording pop3Wording(Refusal refusal) noexcept {
    switch (refusal) {
        case Refusal::Rule:
            return {"-ERR [SYS/PERM]", "{} is not allowed to use this service"};
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
        case Refusal::Idle:
            return {};
        case Refusal::Internal:
            return {"-ERR [SYS/TEMP]", "Temporary local error, try again later"};
        case Refusal::ForbiddenCommand:
            return {"-ERR", "Command not accepted from clients"};
        case Refusal::BadCommand:
            return {"-ERR", "Command not understood, closing connection"};
        case Refusal::ServerViolation:
            return {"-ERR [SYS/TEMP]", "Protocol error of the mail server, closing connection"};
        case Refusal::BareLf:
            return {};
    }
    return {};
}

Wording sieveWording(Refusal refusal) noexcept {
    switch (refusal) {
        case Refusal::Rule:
            return {"BYE", "{} is not allowed to use this service"};
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
        case Refusal::Idle:
            return {"BYE", "Disconnected for inactivity"};
        case Refusal::Internal:
            return {"BYE (TRYLATER)", "Temporary local error, try again later"};
        case Refusal::ForbiddenCommand:
            return {"BYE", "Command not accepted from clients"};
        case Refusal::BadCommand:
            return {"BYE", "Command not understood, closing connection"};
        case Refusal::ServerViolation:
            return {"BYE (TRYLATER)", "Protocol error of the mail server, closing connection"};
        case Refusal::BareLf:
            return {};
    }
    return {};
}

Wording wordingOf(Protocol protocol, Refusal refusal) noexcept {
    switch (protocol) {
        case Protocol::Smtp:
            return smtpWording(refusal);
        case Protocol::Lmtp:
            return lmtpWording(refusal);
        case Protocol::Imap:
            return imapWording(refusal);
        case Protocol::Pop3:
            return pop3Wording(refusal);
        case Protocol::Sieve:
            return sieveWording(refusal);
        case Protocol::Tcp:
            return {};
    }
    return {};
}

/// SMTP's greeting-type replies carry the host's name as their first word (RFC 5321 4.3.1).
std::string worded(Protocol protocol, const Wording& wording, const Names& names) {
    std::string sentence(wording.sentence);
    const std::size_t client = sentence.find("{}");
    if (client != std::string::npos) sentence.replace(client, 2, names.client);

    std::string line(wording.code);
    switch (protocol) {
        case Protocol::Smtp:
        case Protocol::Lmtp:
            line.append(" ").append(names.gateway).append(" ").append(sentence);
            line.append(" [id ").append(names.session).append("]");
            break;
        case Protocol::Imap:
        case Protocol::Pop3:
            line.append(" ").append(sentence).append(" (").append(names.session).append(")");
            break;
        case Protocol::Sieve:
            line.append(" \"").append(sentence).append(" (").append(names.session).append(")\"");
            break;
        case Protocol::Tcp:
            return {};
    }
    return line.append(kEndOfLine);
}

/// What a client that goes on and on hears last.
std::string goodbye(Protocol protocol, const Names& names) {
    switch (protocol) {
        case Protocol::Smtp:
        case Protocol::Lmtp:
            return worded(protocol, {"421 4.7.0", "Too many errors"}, names);
        case Protocol::Imap:
            return worded(protocol, {"* BYE", "Too many invalid IMAP commands."}, names);
        case Protocol::Pop3:
            return worded(protocol, {"-ERR [SYS/TEMP]", "Too many commands"}, names);
        case Protocol::Sieve:
            return worded(protocol, {"BYE", "Too many commands"}, names);
        case Protocol::Tcp:
            return {};
    }
    return {};
}

/// Says one line and is done.
class Farewell final : public Dialogue {
  public:
    explicit Farewell(std::string line) : line_(std::move(line)) {}

    Step open() override { return {.say = line_, .done = true}; }
    Step hear(std::string_view) override { return {.say = {}, .done = true}; }

  private:
    std::string line_;
};

/// Says nothing and hears nothing.
class Silence final : public Dialogue {
  public:
    Step open() override { return {}; }
    Step hear(std::string_view) override { return {}; }
};

/// Opens with a line, then answers commands, a bounded number of them.
class Conversation : public Dialogue {
  public:
    Conversation(Protocol protocol, const RefusalText& text) : names_(text), protocol_(protocol) {}

    Step hear(std::string_view bytes) final {
        Step step;
        bytes = bytes.substr(0, kMaxHeardBytes - heard_);
        heard_ += bytes.size();
        while (!done_) {
            const auto line = lines_.next(bytes);
            if (!line) break;
            Step reply = line->size() > kMaxCommandBytes ? answer({}) : answer(*line);
            step.say += reply.say;
            done_ = reply.done;
            if (++commands_ == kMaxCommands) break;
        }
        if (!done_ && (commands_ == kMaxCommands || heard_ == kMaxHeardBytes)) {
            step.say += goodbye(protocol_, names_);
            done_ = true;
        }
        step.done = done_;
        return step;
    }

  protected:
    /// The reply to one command; an overlong one comes as an empty line.
    virtual Step answer(std::string_view line) const = 0;

    Names names_;

  private:
    LineReader lines_;
    const Protocol protocol_;
    int commands_ = 0;
    std::size_t heard_ = 0;
    bool done_ = false;
};

Dialogue::Step smtpBye() {
    return {.say = "221 2.0.0 Bye\r\n", .done = true};
}

/// RFC 5321 3.1: after a 554 greeting the server waits for QUIT and answers 503 to the rest.
class SmtpRefusal final : public Conversation {
  public:
    SmtpRefusal(std::string line, const RefusalText& text)
        : Conversation(Protocol::Smtp, text), line_(std::move(line)) {}

    Step open() override { return {.say = line_, .done = false}; }

  private:
    Step answer(std::string_view line) const override {
        if (equalsIgnoreCase(takeWord(line), "QUIT")) return smtpBye();
        return {.say = "503 5.5.1 Error: access denied for " + names_.client + "\r\n", .done = false};
    }

    std::string line_;
};

class SmtpCheck final : public Conversation {
  public:
    SmtpCheck(Protocol protocol, const RefusalText& text)
        : Conversation(protocol, text), lmtp_(protocol == Protocol::Lmtp) {}

    Step open() override {
        return {.say = "220 " + names_.gateway + (lmtp_ ? " LMTP" : " ESMTP") + "\r\n", .done = false};
    }

  private:
    Step answer(std::string_view line) const override {
        const std::string_view verb = takeWord(line);
        if (equalsIgnoreCase(verb, "QUIT")) return smtpBye();
        for (const auto& [known, reply] : kReplies) {
            if (equalsIgnoreCase(verb, known)) return {.say = std::string(reply), .done = false};
        }
        const bool hello = lmtp_ ? equalsIgnoreCase(verb, "LHLO")
                                 : equalsIgnoreCase(verb, "EHLO") || equalsIgnoreCase(verb, "HELO");
        if (hello) return {.say = "250 " + names_.gateway + "\r\n", .done = false};
        return {.say = "502 5.5.2 Error: command not recognized\r\n", .done = false};
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

    const bool lmtp_;
};

class ImapCheck final : public Conversation {
  public:
    explicit ImapCheck(const RefusalText& text) : Conversation(Protocol::Imap, text) {}

    Step open() override {
        return {.say = "* OK [CAPABILITY IMAP4rev1] " + names_.gateway + " ready\r\n", .done = false};
    }

  private:
    Step answer(std::string_view line) const override {
        const std::string tag = printable(takeWord(line), kMaxTagBytes);
        const std::string_view verb = takeWord(line);
        if (equalsIgnoreCase(verb, "NOOP")) return {.say = tag + " OK NOOP completed\r\n", .done = false};
        if (equalsIgnoreCase(verb, "CAPABILITY")) {
            return {.say = "* CAPABILITY IMAP4rev1\r\n" + tag + " OK CAPABILITY completed\r\n",
                    .done = false};
        }
        if (equalsIgnoreCase(verb, "LOGOUT")) {
            return {.say = "* BYE Logging out\r\n" + tag + " OK LOGOUT completed\r\n", .done = true};
        }
        return {.say = (tag.empty() ? "*" : tag) + " BAD Unknown command\r\n", .done = false};
    }
};

class Pop3Check final : public Conversation {
  public:
    explicit Pop3Check(const RefusalText& text) : Conversation(Protocol::Pop3, text) {}

    Step open() override { return {.say = "+OK " + names_.gateway + " ready\r\n", .done = false}; }

  private:
    Step answer(std::string_view line) const override {
        const std::string_view verb = takeWord(line);
        if (equalsIgnoreCase(verb, "QUIT")) return {.say = "+OK Bye\r\n", .done = true};
        if (equalsIgnoreCase(verb, "NOOP")) return {.say = "+OK\r\n", .done = false};
        if (equalsIgnoreCase(verb, "CAPA")) {
            return {.say = "+OK\r\nIMPLEMENTATION mailgate\r\n.\r\n", .done = false};
        }
        return {.say = "-ERR Unknown command\r\n", .done = false};
    }
};

class SieveCheck final : public Conversation {
  public:
    explicit SieveCheck(const RefusalText& text) : Conversation(Protocol::Sieve, text) {}

    Step open() override { return {.say = capabilities(), .done = false}; }

  private:
    Step answer(std::string_view line) const override {
        const std::string_view verb = takeWord(line);
        if (equalsIgnoreCase(verb, "LOGOUT")) return {.say = "OK \"Bye\"\r\n", .done = true};
        if (equalsIgnoreCase(verb, "NOOP")) return {.say = "OK \"NOOP completed\"\r\n", .done = false};
        if (equalsIgnoreCase(verb, "CAPABILITY")) return {.say = capabilities(), .done = false};
        return {.say = "NO \"Unknown command\"\r\n", .done = false};
    }

    /// RFC 5804 1.7: these four are required.
    std::string capabilities() const {
        return "\"IMPLEMENTATION\" \"mailgate\"\r\n\"SASL\" \"\"\r\n\"SIEVE\" \"\"\r\n\"VERSION\" "
               "\"1.0\"\r\nOK \"" +
               names_.gateway + " ready\"\r\n";
    }
};

}  // namespace

std::string refusalLine(Protocol protocol, Refusal refusal, const RefusalText& text) {
    const Wording wording = wordingOf(protocol, refusal);
    return wording.code.empty() ? std::string() : worded(protocol, wording, Names(text));
}

std::unique_ptr<Dialogue> makeRefusalDialogue(Protocol protocol, Refusal refusal, const RefusalText& text) {
    std::string line = refusalLine(protocol, refusal, text);
    if (line.starts_with("554")) return std::make_unique<SmtpRefusal>(std::move(line), text);
    return std::make_unique<Farewell>(std::move(line));
}

std::unique_ptr<Dialogue> makeCheckDialogue(Protocol protocol, bool up, const RefusalText& text) {
    if (!up) return makeRefusalDialogue(protocol, Refusal::NoServer, text);
    switch (protocol) {
        case Protocol::Smtp:
        case Protocol::Lmtp:
            return std::make_unique<SmtpCheck>(protocol, text);
        case Protocol::Imap:
            return std::make_unique<ImapCheck>(text);
        case Protocol::Pop3:
            return std::make_unique<Pop3Check>(text);
        case Protocol::Sieve:
            return std::make_unique<SieveCheck>(text);
        case Protocol::Tcp:
            return std::make_unique<Silence>();
    }
    return nullptr;
}

}  // namespace mailgate
