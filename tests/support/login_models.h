// SPDX-License-Identifier: Apache-2.0
/// \file  Small servers that read like Dovecot before the login: what they were asked is what the facts must name.
///
/// Written from Dovecot's parsers and not from ours: byte by byte, lenient where it is lenient. Who may log in
/// depends on the length of the name.
#pragma once

#include <algorithm>
#include <cctype>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace mailgate::test {

class LoginModel {
  public:
    virtual ~LoginModel() = default;

    /// Takes what a client sent and returns what the server answers.
    std::string receive(std::string_view bytes) {
        in_ += bytes;
        std::string answers;
        out_.swap(answers);
        while (!over_ && step()) {
        }
        out_.swap(answers);
        return answers;
    }
    virtual std::string greeting() const = 0;

    const std::optional<std::string>& accepted() const { return accepted_; }
    const std::vector<std::string>& failed() const { return failed_; }
    bool claimed() const { return claimed_; }  ///< it was told who the client is

  protected:
    enum class Verdict : std::uint8_t { Good, Wrong, Later, Malformed };

    /// False: it needs more.
    virtual bool step() = 0;

    Verdict judge(const std::string& name) {
        switch (name.size() % 4) {
            case 0:
                accepted_ = name;
                over_ = true;
                return Verdict::Good;
            case 3:
                return Verdict::Later;
            default:
                failed_.push_back(name);
                return Verdict::Wrong;
        }
    }

    /// The next line, without its end.
    std::optional<std::string> line() {
        const std::size_t end = in_.find('\n');
        if (end == std::string::npos) return std::nullopt;
        std::string text = in_.substr(0, end);
        in_.erase(0, end + 1);
        if (text.ends_with('\r')) text.pop_back();
        return text;
    }

    static std::string upper(std::string text) {
        for (char& c : text)
            c = static_cast<char>(std::toupper(static_cast<unsigned char>(c)));
        return text;
    }

    static std::optional<std::string> decode(const std::string& base64) {
        constexpr std::string_view kDigits =
            "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
        if (base64.size() % 4 != 0) return std::nullopt;
        std::string bytes;
        std::uint32_t bits = 0;
        int count = 0;
        const std::size_t end = std::min(base64.find('='), base64.size());
        if (base64.size() - end > 2 || base64.find_first_not_of('=', end) != std::string::npos)
            return std::nullopt;
        for (const char c : base64.substr(0, end)) {
            const std::size_t digit = kDigits.find(c);
            if (digit == std::string_view::npos) return std::nullopt;
            bits = (bits << 6) | static_cast<std::uint32_t>(digit);
            count += 6;
            if (count < 8) continue;
            count -= 8;
            bytes.push_back(static_cast<char>((bits >> count) & 0xff));
        }
        return bytes;
    }

    // PLAIN and LOGIN.
    bool knows(const std::string& mechanism) {
        mechanism_ = upper(mechanism);
        login_name_.reset();
        return mechanism_ == "PLAIN" || mechanism_ == "LOGIN";
    }
    /// A mechanism that it does not know; `response` came with it, so that the client did try to log in.
    void unknownMechanism(std::string_view response) {
        if (response.find_first_not_of(' ') != std::string_view::npos) failed_.emplace_back();
    }
    /// Nothing: the server asks for more.
    std::optional<Verdict> response(const std::string& base64) {
        const auto bytes = decode(base64);
        if (!bytes) return Verdict::Malformed;
        if (mechanism_ == "LOGIN") {
            if (login_name_) return judge(*login_name_);
            if (bytes->empty()) return Verdict::Malformed;
            login_name_ = bytes;
            return std::nullopt;
        }
        const std::size_t first = bytes->find('\0');
        const std::size_t second = first == std::string::npos ? first : bytes->find('\0', first + 1);
        // No password: Dovecot would look for one in vain.
        if (second == std::string::npos || second == first + 1 || second + 1 == bytes->size())
            return Verdict::Malformed;
        return judge(bytes->substr(first + 1, second - first - 1));
    }

    std::string in_;
    std::string out_;
    bool over_ = false;
    bool claimed_ = false;

  private:
    std::optional<std::string> accepted_;
    std::vector<std::string> failed_;
    std::string mechanism_;
    std::optional<std::string> login_name_;
};

/// Arguments as imap-parser.c and managesieve-parser.c read them.
class ArgumentModel : public LoginModel {
  protected:
    enum class Read : std::uint8_t { More, Good, Bad };

    /// Reads arguments from `at` on to the end of the line.
    Read arguments(std::size_t& at, bool imap) {
        words_.clear();
        int asked = 0;
        while (true) {
            while (at < in_.size() && (in_[at] == ' ' || (imap && (in_[at] == '(' || in_[at] == ')'))))
                ++at;
            if (at == in_.size()) return Read::More;
            if (in_[at] == '\r' || in_[at] == '\n') return endOfLine(at);
            const Read read = in_[at] == '"'   ? quoted(at)
                              : in_[at] == '{' ? literal(at, imap, asked)
                                               : atom(at, imap);
            if (read != Read::Good) return read;
        }
    }
    Read endOfLine(std::size_t& at) {
        if (in_[at] == '\r') ++at;
        if (at == in_.size()) return Read::More;
        if (in_[at] != '\n') return Read::Bad;
        ++at;
        return Read::Good;
    }
    /// After a mistake the rest of the line is skipped.
    bool skipLine(std::size_t at) {
        const std::size_t end = in_.find('\n', at);
        if (end == std::string::npos) return false;
        in_.erase(0, end + 1);
        asked_before_ = 0;
        return true;
    }

    std::vector<std::string> words_;
    int asked_before_ = 0;  ///< literals of this command that leave was given for

  private:
    Read quoted(std::size_t& at) {
        std::string word;
        for (++at; at < in_.size(); ++at) {
            if (in_[at] == '"') {
                ++at;
                words_.push_back(word);
                return Read::Good;
            }
            if (in_[at] == '\\' && ++at == in_.size()) break;
            if (in_[at] == '\r' || in_[at] == '\n' || in_[at] == '\0') return Read::Bad;
            word.push_back(in_[at]);
        }
        return Read::More;
    }
    Read literal(std::size_t& at, bool imap, int& asked) {
        std::size_t size = 0;
        std::size_t digits = 0;
        for (++at; at < in_.size() && std::isdigit(static_cast<unsigned char>(in_[at])); ++at, ++digits)
            size = std::min<std::size_t>(size * 10 + static_cast<std::size_t>(in_[at] - '0'), 1000000);
        const bool plus = at < in_.size() && in_[at] == '+';
        if (plus) ++at;
        if (at == in_.size()) return Read::More;
        if (in_[at] != '}' || digits == 0 || size > 8192 || (!plus && !imap)) return Read::Bad;
        if (++at == in_.size()) return Read::More;
        if (const Read end = endOfLine(at); end != Read::Good) return end;
        if (!plus && ++asked > asked_before_) {
            asked_before_ = asked;
            out_ += "+ OK\r\n";
        }
        if (in_.size() - at < size) return Read::More;
        words_.push_back(in_.substr(at, size));
        at += size;
        return Read::Good;
    }
    Read atom(std::size_t& at, bool imap) {
        std::string word;
        for (; at < in_.size(); ++at) {
            const char c = in_[at];
            if (c == ' ' || (imap && c == ')') || c == '\r' || c == '\n') {
                words_.push_back(word);
                return Read::Good;
            }
            if (static_cast<unsigned char>(c) < 0x20 || c == '"' || c == '{') return Read::Bad;
            word.push_back(c);
        }
        return Read::More;
    }
};

class ImapModel final : public ArgumentModel {
  public:
    std::string greeting() const override { return "* OK Dovecot ready.\r\n"; }

  private:
    bool step() override {
        if (in_exchange_) return exchange();
        std::size_t at = 0;
        const auto tag = word(at);
        const auto verb = tag ? word(at) : std::nullopt;
        if (!tag || !verb) return false;
        tag_ = tag->empty() ? "*" : *tag;
        if (upper(*verb) == "AUTHENTICATE") return authenticate(at);
        const Read read = arguments(at, true);
        if (read == Read::More) return false;
        if (read == Read::Bad) {
            if (!skipLine(at)) return false;
            reply("BAD");
            return true;
        }
        in_.erase(0, at);
        asked_before_ = 0;
        execute(upper(*verb));
        return true;
    }
    /// Up to a space or the line's end; takes the space.
    std::optional<std::string> word(std::size_t& at) {
        const std::size_t end = in_.find_first_of(" \r\n", at);
        if (end == std::string::npos) return std::nullopt;
        std::string text = in_.substr(at, end - at);
        at = in_[end] == ' ' ? end + 1 : end;
        return text;
    }
    void execute(const std::string& verb) {
        if (verb == "LOGIN") {
            if (words_.size() != 2) return reply("BAD");
            return verdict(judge(words_[0]));
        }
        if (verb == "ID") {
            for (const std::string& field : words_) {
                claimed_ = claimed_ || upper(field).starts_with("X-ORIGINATING-") ||
                           upper(field).starts_with("X-FORWARD-");
            }
            out_ += "* ID (\"name\" {7}\r\nDovecot)\r\n";
        }
        if (verb == "CAPABILITY") out_ += "* CAPABILITY IMAP4rev1 LITERAL+ SASL-IR\r\n";
        const bool known = verb == "ID" || verb == "CAPABILITY" || verb == "NOOP";
        reply(known ? "OK" : verb == "STARTTLS" ? "NO" : "BAD");
    }
    bool authenticate(std::size_t at) {
        const std::size_t start = at;
        const auto text = line();
        if (!text) return false;
        const std::string rest = text->size() > start ? text->substr(start) : std::string();
        const std::size_t space = rest.find(' ');
        if (space == 0) {  // it does not look further than the space too many
            reply("BAD");
        } else if (!knows(rest.substr(0, space))) {
            unknownMechanism(rest.substr(std::min(space, rest.size())));
            reply("NO");
        } else if (space == std::string::npos) {
            in_exchange_ = true;
            out_ += "+ \r\n";
        } else {
            respond(rest.substr(space + 1));
        }
        return true;
    }
    bool exchange() {
        const auto text = line();
        if (!text) return false;
        in_exchange_ = false;
        respond(*text);
        return true;
    }
    void respond(const std::string& text) {
        if (text == "*") return reply("BAD");
        const auto judged = response(text);
        if (judged) return verdict(*judged);
        in_exchange_ = true;
        out_ += "+ UGFzc3dvcmQ6\r\n";
    }
    void verdict(Verdict judged) {
        reply(judged == Verdict::Good    ? "OK"
              : judged == Verdict::Later ? "NO [UNAVAILABLE]"
              : judged == Verdict::Wrong ? "NO [AUTHENTICATIONFAILED]"
                                         : "BAD");
    }
    void reply(std::string_view status) { out_ += tag_ + " " + std::string(status) + " done\r\n"; }

    std::string tag_;
    bool in_exchange_ = false;
};

class SieveModel final : public ArgumentModel {
  public:
    std::string greeting() const override {
        return "\"SIEVE\" \"x\"\r\n\"XCLIENT\" \"ADDR\"\r\nOK \"ready.\"\r\n";
    }

  private:
    bool step() override {
        std::size_t at = 0;
        std::string verb;
        if (!in_exchange_) {
            at = in_.find_first_of(" \r\n");
            if (at == std::string::npos) return false;
            verb = upper(in_.substr(0, at));
        }
        const Read read = arguments(at, false);
        if (read == Read::More) return false;
        if (read == Read::Bad) {
            if (!skipLine(at)) return false;
            in_exchange_ = false;
            out_ += "NO \"Error\"\r\n";
            return true;
        }
        in_.erase(0, at);
        if (std::exchange(in_exchange_, false)) {
            respond(words_.empty() ? "*" : words_[0]);
        } else {
            execute(verb);
        }
        return true;
    }
    void execute(const std::string& verb) {
        claimed_ = claimed_ || verb == "XCLIENT";
        if (verb != "AUTHENTICATE") {
            if (verb == "CAPABILITY") out_ += "\"SIEVE\" {1}\r\nx\r\n";
            out_ += verb == "STARTTLS" ? "NO\r\n" : "OK (TAG {1}\r\nx) \"done\"\r\n";
        } else if (words_.empty() || !knows(words_[0])) {
            unknownMechanism(words_.size() > 1 ? "x" : "");
            out_ += "NO\r\n";
        } else if (words_.size() == 1) {
            in_exchange_ = true;
            out_ += "{0}\r\n\r\n";
        } else {
            respond(words_[1]);
        }
    }
    void respond(const std::string& text) {
        const auto judged = text == "*" ? Verdict::Malformed : response(text);
        if (!judged) {
            in_exchange_ = true;
            out_ += "\"UGFzc3dvcmQ6\"\r\n";
        } else {
            // A response that cannot be decoded says nothing about a password.
            out_ += *judged == Verdict::Good    ? "OK\r\n"
                    : *judged == Verdict::Wrong ? "NO \"Authentication failed.\"\r\n"
                                                : "NO (TRYLATER) \"Later\"\r\n";
        }
    }

    bool in_exchange_ = false;
};

class Pop3Model final : public LoginModel {
  public:
    std::string greeting() const override { return "+OK [XCLIENT] Dovecot ready.\r\n"; }

  private:
    bool step() override {
        const auto text = line();
        if (!text) return false;
        if (std::exchange(in_exchange_, false)) {
            respond(*text);
            return true;
        }
        const std::size_t space = text->find(' ');
        const std::string arguments = space == std::string::npos ? std::string() : text->substr(space + 1);
        execute(upper(text->substr(0, space)), arguments);
        return true;
    }
    void execute(const std::string& verb, const std::string& arguments) {
        claimed_ = claimed_ || verb == "XCLIENT";
        if (verb == "USER") {
            user_ = arguments;
            out_ += "+OK\r\n";
        } else if (verb == "PASS" && user_) {
            // Dovecot wants USER again after a wrong password, others do not.
            verdict(judge(firstWord(*user_)));
        } else if (verb == "APOP") {
            verdict(judge(firstWord(arguments)));
        } else if (verb == "AUTH" && !arguments.empty()) {
            authenticate(arguments);
        } else if (verb == "CAPA" || verb == "AUTH") {
            out_ += "+OK\r\nUSER\r\n..\r\n.\r\n";
        } else {
            out_ += verb == "NOOP" || verb == "XCLIENT" || verb == "QUIT" ? "+OK\r\n" : "-ERR\r\n";
        }
    }
    /// The name as the log has it.
    static std::string firstWord(const std::string& text) {
        const std::size_t start = std::min(text.find_first_not_of(' '), text.size());
        return text.substr(start, text.find(' ', start) - start);
    }
    void authenticate(const std::string& arguments) {
        const std::size_t start = std::min(arguments.find_first_not_of(' '), arguments.size());
        const std::size_t space = arguments.find(' ', start);
        if (!knows(arguments.substr(start, space - start))) {
            unknownMechanism(arguments.substr(std::min(space, arguments.size())));
            out_ += "-ERR Unsupported\r\n";
        } else if (space == std::string::npos ||
                   arguments.find_first_not_of(' ', space) == std::string::npos) {
            in_exchange_ = true;
            out_ += "+ \r\n";
        } else {
            respond(firstWord(arguments.substr(space)));
        }
    }
    void respond(const std::string& text) {
        const auto judged = text == "*" ? Verdict::Malformed : response(text);
        if (!judged) {
            in_exchange_ = true;
            out_ += "+ UGFzc3dvcmQ6\r\n";
        } else {
            verdict(*judged);
        }
    }
    void verdict(Verdict judged) {
        out_ += judged == Verdict::Good    ? "+OK Logged in.\r\n"
                : judged == Verdict::Wrong ? "-ERR [AUTH] Authentication failed.\r\n"
                                           : "-ERR [SYS/TEMP] Later\r\n";
    }

    std::optional<std::string> user_;
    bool in_exchange_ = false;
};

}  // namespace mailgate::test
