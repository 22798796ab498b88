// SPDX-License-Identifier: Apache-2.0
/// \file  Small SMTP servers that read a stream as well-known ones do, to compare what they took with what
/// a filter saw.
///
/// Only how bytes are cut into commands, messages and chunks is like the originals, in their most tolerant versions and
/// settings; who may send what to whom is not: any sender is good, and any recipient without "refused" in it.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <strings.h>

namespace mailgate::test {

struct TakenMail {
    std::string from;
    std::vector<std::string> recipients;

    bool operator==(const TakenMail&) const = default;
};

class SmtpServer {
  public:
    virtual ~SmtpServer() = default;

    const std::string greeting = "220 mx ESMTP\r\n";
    /// Takes bytes and answers them.
    std::string receive(std::string_view bytes) {
        unread_ += bytes;
        said_.clear();
        while (readOn()) {
        }
        return std::move(said_);
    }
    const std::vector<TakenMail>& taken() const { return taken_; }
    /// XCLIENT or XFORWARD was taken for a command.
    bool sawForeign() const { return foreign_; }

  protected:
    explicit SmtpServer(bool lmtp = false) : lmtp_(lmtp) {}

    static constexpr std::size_t kNone = std::string_view::npos;

    /// Takes a command off the front of `unread`, as it reads it. False: not whole yet.
    virtual bool takeCommand(std::string& unread, std::string& command) = 0;
    /// Where the message at the front of `unread` ends, its end included; kNone: not yet.
    virtual std::size_t endOfMessage(std::string_view unread) const = 0;
    /// The size in `BDAT size LAST`; kNone: refused, and its octets are commands.
    virtual std::size_t chunkSize(const std::string& number) const = 0;

    /// The end of a message whose lines end in LF, with `crs` CRs before it at the most.
    static std::size_t endAtLf(std::string_view unread, std::size_t crs) {
        for (std::size_t begin = 0;;) {
            const std::size_t lf = unread.find('\n', begin);
            if (lf == kNone) return kNone;
            std::string_view line = unread.substr(begin, lf - begin);
            for (std::size_t cr = 0; cr < crs && line.ends_with('\r'); ++cr)
                line.remove_suffix(1);
            if (line == ".") return lf + 1;
            begin = lf + 1;
        }
    }

  private:
    static bool is(const std::string& word, const char* verb) {
        return word.size() == std::char_traits<char>::length(verb) && strcasecmp(word.c_str(), verb) == 0;
    }
    void say(std::string_view reply) { said_.append(reply).append("\r\n"); }

    bool readOn() {
        if (in_message_) {
            const std::size_t end = endOfMessage(unread_);
            if (end == kNone) return false;
            unread_.erase(0, end);
            in_message_ = false;
            takeMessage();
            return true;
        }
        if (chunk_left_ > 0) {
            const std::size_t taken = std::min(chunk_left_, unread_.size());
            unread_.erase(0, taken);
            chunk_left_ -= taken;
            if (chunk_left_ > 0) return false;
            endChunk();
            return true;
        }
        std::string command;
        if (!takeCommand(unread_, command)) return false;
        if (std::exchange(in_auth_, false))
            say(command == "*" ? "501 5.7.0 Cancelled" : "235 2.7.0 Ok");
        else
            obey(command);
        return true;
    }

    static std::string nextWord(std::string& text) {
        constexpr const char* kSpace = " \t\v\f\r";
        text.erase(0, std::min(text.find_first_not_of(kSpace), text.size()));
        std::string word = text.substr(0, text.find_first_of(kSpace));
        text.erase(0, word.size());
        text.erase(0, std::min(text.find_first_not_of(kSpace), text.size()));
        return word;
    }

    /// As tok822 has it, near enough: quotes and escapes are gone, comments and space outside of quotes as well.
    static bool address(std::string& text, std::string_view keyword, std::string& address) {
        if (text.size() < keyword.size() || strncasecmp(text.data(), keyword.data(), keyword.size()) != 0)
            return false;
        std::string rest = text.substr(keyword.size());
        rest.erase(0, std::min(rest.find_first_not_of(" \t\v\f\r"), rest.size()));
        if (!rest.starts_with('<')) {
            address = nextWord(rest);
            return !address.empty();
        }
        bool quoted = false;
        int comment = 0;
        for (std::size_t at = 1; at < rest.size(); ++at) {
            const char c = rest[at];
            if (c == '\\' && at + 1 < rest.size()) {
                address += rest[++at];
            } else if (c == '"' && comment == 0) {
                quoted = !quoted;
            } else if (c == '(' && !quoted) {
                ++comment;
            } else if (c == ')' && !quoted && comment > 0) {
                --comment;
            } else if (c == '>' && !quoted && comment == 0) {
                if (address.starts_with('@'))
                    address.erase(0, std::min(address.find(':'), address.size() - 1) + 1);
                return true;
            } else if (comment == 0 && (quoted || std::string_view(" \t\v\f\r").find(c) == kNone)) {
                address += c;
            }
        }
        return false;
    }

    void obey(std::string text) {
        const std::string verb = nextWord(text);
        if (is(verb, "XCLIENT") || is(verb, "XFORWARD")) {
            foreign_ = true;
            return say("250 2.0.0 Ok");
        }
        if (is(verb, "EHLO") || is(verb, "LHLO")) {
            reset();
            return say("250-mx\r\n250-XCLIENT NAME ADDR\r\n250-CHUNKING\r\n250 XFORWARD NAME");
        }
        if (is(verb, "HELO") || is(verb, "RSET")) {
            reset();
            return say("250 2.0.0 Ok");
        }
        if (is(verb, "MAIL")) return mail(text);
        if (is(verb, "RCPT")) return rcpt(text);
        if (is(verb, "DATA")) {
            if (mail_.recipients.empty()) return say("554 5.5.1 No valid recipients");
            in_message_ = true;
            return say("354 End data with <CR><LF>.<CR><LF>");
        }
        if (is(verb, "BDAT")) return bdat(text);
        if (is(verb, "AUTH")) {
            const std::string mechanism = nextWord(text);
            in_auth_ = text.empty();
            return say(in_auth_ ? "334 " : is(mechanism, "PLAIN") ? "235 2.7.0 Ok" : "535 5.7.8 No");
        }
        if (is(verb, "STARTTLS")) return say("454 4.7.0 Not now");
        if (is(verb, "QUIT")) return say("221 2.0.0 Bye");
        say(is(verb, "NOOP") ? "250 2.0.0 Ok" : "500 5.5.2 What");
    }

    void mail(std::string& text) {
        std::string from;
        if (open_) return say("503 5.5.1 Nested MAIL");
        if (!address(text, "FROM:", from)) return say("501 5.5.4 Syntax");
        open_ = true;
        mail_.from = from;
        say("250 2.1.0 Ok");
    }

    void rcpt(std::string& text) {
        std::string to;
        if (!open_) return say("503 5.5.1 Need MAIL");
        if (!address(text, "TO:", to)) return say("501 5.5.4 Syntax");
        if (to.find("refused") != kNone) return say("550 5.1.1 No");
        mail_.recipients.push_back(to);
        say("250 2.1.5 Ok");
    }

    void bdat(std::string& text) {
        const std::string number = nextWord(text);
        const std::size_t size = chunkSize(number);
        if (size == kNone) return say("501 5.5.4 Syntax");
        chunk_last_ = is(nextWord(text), "LAST");
        chunk_left_ = size;
        if (size == 0) endChunk();
    }

    void endChunk() {
        if (mail_.recipients.empty()) return say("554 5.5.1 No valid recipients");
        if (chunk_last_) return takeMessage();
        say("250 2.0.0 Ok");
    }

    void takeMessage() {
        const std::string id = "250 2.0.0 Ok: queued as Q" + std::to_string(taken_.size());
        for (std::size_t reply = 0; reply < (lmtp_ ? mail_.recipients.size() : 1); ++reply)
            say(id);
        taken_.push_back(mail_);
        reset();
    }

    void reset() {
        mail_ = {};
        open_ = false;
    }

    const bool lmtp_;
    std::string unread_;
    std::string said_;
    TakenMail mail_;
    std::vector<TakenMail> taken_;
    std::size_t chunk_left_ = 0;
    bool chunk_last_ = false;
    bool open_ = false;
    bool in_message_ = false;
    bool in_auth_ = false;
    bool foreign_ = false;
};

/// smtpd of Postfix 3.7 with smtpd_forbid_bare_newline = no: any number of CRs before an LF, a command ends at its
/// first NUL, of a long line the first 2,048 bytes count.
class PostfixLike final : public SmtpServer {
    bool takeCommand(std::string& unread, std::string& command) override {
        const std::size_t lf = unread.find('\n');
        if (lf == kNone) return false;
        command = unread.substr(0, std::min<std::size_t>(lf, 2048));
        unread.erase(0, lf + 1);
        while (command.ends_with('\r'))
            command.pop_back();
        command.resize(std::min(command.find('\0'), command.size()));
        return true;
    }
    std::size_t endOfMessage(std::string_view unread) const override { return endAtLf(unread, kNone); }
    std::size_t chunkSize(const std::string& number) const override {
        return number.empty() || number.find_first_not_of("0123456789") != kNone || number.size() > 18
                   ? kNone
                   : std::strtoul(number.c_str(), nullptr, 10);
    }
};

/// Exim 4.96: sizes modulo 2^32, lines split at 16,384 bytes. In messages a CR alone ends a line as well, which
/// some gateways think.
class EximLike final : public SmtpServer {
    bool takeCommand(std::string& unread, std::string& command) override {
        constexpr std::size_t kBuffer = 16384;
        const std::size_t lf = unread.find('\n');
        if (lf == kNone && unread.size() < kBuffer) return false;
        const std::size_t end = std::min(lf, kBuffer);
        command = unread.substr(0, end);
        unread.erase(0, end == lf ? end + 1 : end);
        command.resize(command.find_last_not_of(" \t\v\f\r") + 1);
        return true;
    }
    std::size_t endOfMessage(std::string_view unread) const override {
        for (std::size_t begin = 0;;) {
            const std::size_t end = unread.find_first_of("\r\n", begin);
            // Whether an LF follows a CR at the end has yet to be seen.
            if (end == kNone || (unread[end] == '\r' && end + 1 == unread.size())) return kNone;
            const std::size_t next = end + (unread.substr(end, 2) == "\r\n" ? 2 : 1);
            if (unread.substr(begin, end - begin) == ".") return next;
            begin = next;
        }
    }
    std::size_t chunkSize(const std::string& number) const override {
        return number.find_first_of("0123456789") == kNone
                   ? kNone
                   : static_cast<std::uint32_t>(std::strtoull(number.c_str(), nullptr, 10));
    }
};

/// Dovecot's LMTP: LF or CRLF ends any line; a reply for each recipient.
class DovecotLike final : public SmtpServer {
  public:
    DovecotLike() : SmtpServer(true) {}

  private:
    bool takeCommand(std::string& unread, std::string& command) override {
        const std::size_t lf = unread.find('\n');
        if (lf == kNone) return false;
        command = unread.substr(0, lf);
        unread.erase(0, lf + 1);
        if (command.ends_with('\r')) command.pop_back();
        return true;
    }
    std::size_t endOfMessage(std::string_view unread) const override { return endAtLf(unread, 1); }
    std::size_t chunkSize(const std::string& number) const override {
        return number.empty() || number.find_first_not_of("0123456789") != kNone || number.size() > 18
                   ? kNone
                   : std::strtoul(number.c_str(), nullptr, 10);
    }
};

}  // namespace mailgate::test
