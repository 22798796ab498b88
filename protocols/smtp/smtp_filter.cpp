// SPDX-License-Identifier: Apache-2.0
#include "protocols/smtp/smtp_filter.h"

#include "protocols/stream/lines.h"
#include "protocols/stream/tls_record.h"
#include "protocols/stream/word_list.h"
#include "protocols/values/text.h"

#include <algorithm>
#include <exception>
#include <utility>

namespace mailgate {

namespace {

using smtp::isPositive;
using smtp::Verb;

/// Commands are shorter (RFC 5321 4.5.3.1.4: 512 bytes and what extensions add), and servers cut or split longer
/// ones. Postfix keeps 2,048 bytes: what a longer line of this bound says behind them is refused there, but for
/// BDAT's LAST, which goes on in one form.
constexpr std::size_t kMaxSmtpCommandBytes = 4096;
/// RFC 4954 4: AUTH with an initial response, and a response in a line of its own.
constexpr std::size_t kMaxAuthBytes = 12288;
/// A server's line (RFC 5321 4.5.3.1.5: 512 bytes), or its whole reply to EHLO.
constexpr std::size_t kMaxServerBytes = kMaxUnfinishedBytes;
/// A handshake's first flight, and less than any server takes for one line.
constexpr std::uint32_t kMaxHandshakeBytes = 8192;
/// Addresses of commands in flight: with kMaxUnanswered the bound on what a client that never waits can make us hold.
constexpr std::size_t kMaxPathBytes = std::size_t{64} * 1024;
/// Command lines that are answered here, in one session. With kMaxShownName: those of one read fit into kMaxEditBytes.
constexpr std::uint32_t kMaxRefusals = 25;
constexpr std::size_t kMaxShownName = 100;

/// EHLOs in flight, where their replies may grow: by less than kMaxEditBytes in one call.
constexpr std::uint32_t kMaxHellos = 100;

constexpr std::string_view kCrlf = "\r\n";
constexpr std::string_view kSyntaxError = "500 5.5.2 ";
constexpr std::string_view kArgumentError = "501 5.5.4 ";
constexpr std::string_view kFrom = "FROM:";
constexpr std::string_view kTo = "TO:";

std::optional<Violation> forbidden(smtp::Verb verb) noexcept {
    if (verb == smtp::Verb::Proxy) return Violation::ProxyHeader;
    return verb == smtp::Verb::Foreign ? std::optional(Violation::ForbiddenCommand) : std::nullopt;
}

std::string_view withoutCr(std::string_view line) noexcept {
    if (line.ends_with('\r')) line.remove_suffix(1);
    return line;
}

/// Of the line at the front of `bytes`, with its end.
std::size_t wholeSize(std::string_view line, std::string_view bytes) noexcept {
    return line.size() + (bytes[line.size()] == '\r' ? 2 : 1);
}

/// The line at the front of `bytes` goes on, with CRLF at its end.
void passLine(std::string_view line, std::string_view bytes, Output& out) {
    const std::size_t whole = wholeSize(line, bytes);
    if (whole == line.size() + kCrlf.size()) return out.pass(whole);
    out.pass(line.size());
    out.write(kCrlf);
    out.drop(1);
}

/// What no server takes for text of a line.
bool hasCrOrNul(std::string_view line) noexcept {
    return hasControls(line) &&
           (line.find('\r') != std::string_view::npos || line.find('\0') != std::string_view::npos);
}

/// What is not offered: what never passes, and extensions whose replies cannot be told apart by counting.
bool isHidden(std::string_view keyword) noexcept {
    constexpr std::array<std::string_view, 4> kHidden{"XCLIENT", "XFORWARD", "PRDR", "XEXCH50"};
    return std::any_of(kHidden.begin(), kHidden.end(), [&](std::string_view hidden) {
        return keyword.size() == hidden.size() && equalsIgnoreCase(keyword, hidden);
    });
}

/// The command is not known, not understood, or comes at the wrong time (RFC 5321 4.2.2).
constexpr bool isCommandError(int code) noexcept {
    return code >= 500 && code <= 504;
}

/// The server has looked at credentials, and not only at the command.
constexpr bool judgesCredentials(int code) noexcept {
    return code >= 500 && !isCommandError(code) && code != 530 && code != 534 && code != 538;
}

/// The address in a command that does not go on. What is none is kept as it was said, fit for a line of text.
std::string addressAsSaid(std::string_view arguments, std::string_view keyword) {
    auto address = smtp::addressIn(arguments, keyword);
    if (!address) {
        if (startsWithIgnoreCase(arguments, keyword)) arguments.remove_prefix(keyword.size());
        arguments = trimmed(arguments);
        if (arguments.starts_with('<') && arguments.ends_with('>'))
            arguments = arguments.substr(1, arguments.size() - 2);
        address = printable(arguments, kMaxMailboxBytes);
    }
    if (address->size() > kMaxMailboxBytes) address->resize(kMaxMailboxBytes);
    return std::move(*address);
}

/// What is kept of a line.
std::string_view cutReply(std::string_view line) noexcept {
    return line.substr(0, kMaxReplyBytes);
}

/// A multi-line reply's first line is kept as if it were the only one.
std::string singleLine(std::string_view line) {
    std::string text(cutReply(line));
    if (text.size() > 3) text[3] = ' ';
    return text;
}

/// Calls `each` with every line of `reply`, its end included.
template <typename Each>
void forEachLine(std::string_view reply, Each each) {
    while (!reply.empty()) {
        const std::string_view line = reply.substr(0, std::min(reply.find('\n'), reply.size() - 1) + 1);
        each(line);
        reply.remove_prefix(line.size());
    }
}

/// Before TLS, and before EHLO after TLS, the gateway's own commands and those that mean nothing.
bool mayComeFirst(Verb verb, std::string_view line) noexcept {
    switch (verb) {
        case Verb::Ehlo:
        case Verb::Helo:
        case Verb::Quit:
        case Verb::Rset:
        case Verb::StartTls:
            return true;
        case Verb::Other: {
            std::string_view rest = line;
            return equalsIgnoreCase(smtp::takeArgument(rest), "NOOP");
        }
        case Verb::Auth:
        case Verb::Bdat:
        case Verb::Burl:
        case Verb::Data:
        case Verb::Mail:
        case Verb::Proxy:
        case Verb::Rcpt:
        case Verb::Foreign:
            break;
    }
    return false;
}

/// What a client may know of AUTH's mechanisms: the whole `line`, in other words if need be. Nothing: it has none.
std::optional<std::string> withoutBinding(std::string_view line) {
    const std::string_view word = smtp::keywordOf(line);
    const auto keyword = static_cast<std::size_t>(word.data() + word.size() - line.data());
    // For some clients of old a = stands before the first one.
    const std::size_t before = keyword + (line.substr(keyword).starts_with('=') ? 1 : 0);
    const auto mechanisms = withoutWords(line.substr(before), bindsChannel);
    if (!mechanisms) return std::string(line);
    if (isBlank(*mechanisms)) return std::nullopt;
    return std::string(line.substr(0, before)).append(*mechanisms);
}

/// Puts the lines of a positive reply to EHLO together, so that only the last one has a blank behind its code.
class Offers {
  public:
    Offers(std::string_view reply, const TlsPolicy& tls, Output& out) : reply_(reply), tls_(tls), out_(out) {}

    void pass() {
        bool tls_offered = !tls_.addsOffer();
        const char* last = reply_.data();
        forEachLine(reply_, [&](std::string_view whole) {
            if (!goesOn(whole)) return;
            last = whole.data();
            tls_offered = tls_offered || equalsIgnoreCase(keywordOf(whole), "STARTTLS");
        });
        forEachLine(reply_, [&](std::string_view whole) {
            const bool first = whole.data() == reply_.data();
            passLine(whole, whole.data() == last && (!first || tls_offered));
            if (first && !tls_offered) writeOffer(whole.data() == last);
        });
    }

  private:
    static std::string_view keywordOf(std::string_view whole) noexcept {
        return smtp::keywordOf(withoutLineEnd(whole));
    }
    bool isAuth(std::string_view whole) const noexcept {
        return tls_.endsHere() && whole.data() != reply_.data() && equalsIgnoreCase(keywordOf(whole), "AUTH");
    }
    /// The first line names the server and offers nothing.
    bool goesOn(std::string_view whole) const {
        if (whole.data() == reply_.data()) return true;
        const std::string_view keyword = keywordOf(whole);
        if (isHidden(keyword) || (tls_.refused() && equalsIgnoreCase(keyword, "STARTTLS"))) return false;
        if (!isAuth(whole)) return true;
        return !tls_.demanded() && withoutBinding(withoutLineEnd(whole));
    }
    void passLine(std::string_view whole, bool last) {
        if (!goesOn(whole)) return out_.drop(whole.size());
        const std::string_view line = withoutLineEnd(whole);
        const auto words = isAuth(whole) ? withoutBinding(line) : std::nullopt;
        const bool marked = smtp::isContinued(line) != last;
        if (marked && (!words || *words == line)) return out_.pass(whole.size());
        out_.pass(kCode);
        out_.write(last ? " " : "-");
        if (!words || *words == line) {
            out_.drop(line.size() > kCode ? 1 : 0);
            return out_.pass(whole.size() - std::min(kCode + 1, line.size()));
        }
        out_.write(std::string_view(*words).substr(kCode + 1));
        out_.drop(line.size() - kCode);
        out_.pass(whole.size() - line.size());
    }
    void writeOffer(bool last) {
        out_.write(reply_.substr(0, kCode));
        out_.write(last ? " STARTTLS\r\n" : "-STARTTLS\r\n");
    }

    static constexpr std::size_t kCode = 3;

    std::string_view reply_;
    const TlsPolicy& tls_;
    Output& out_;
};

/// What a reply to EHLO says, as far as it matters here.
struct Extensions {
    bool chunking = false;
    bool hidden = false;
};

/// The first line names the server and offers nothing.
Extensions extensionsIn(std::string_view reply) {
    Extensions found;
    reply.remove_prefix(reply.find('\n') + 1);
    forEachLine(reply, [&](std::string_view line) {
        const std::string_view keyword = smtp::keywordOf(withoutCr(line.substr(0, line.size() - 1)));
        found.chunking |= equalsIgnoreCase(keyword, "CHUNKING");
        found.hidden |= isHidden(keyword);
    });
    return found;
}

/// For what the server has already.
class Nowhere final : public Output {
  public:
    void pass(std::size_t /*bytes*/) override {}
    void drop(std::size_t /*bytes*/) override {}
    void write(std::string_view /*text*/) override {}
    bool canReply() const override { return false; }
    void reply(std::string_view /*text*/) override {}
};

}  // namespace

bool SmtpFilter::interruptible() const noexcept {
    return noReplyPending() && !mail_.open() && !sasl_.active() && reading_ == Reading::Commands;
}

bool SmtpFilter::awaitsFinalReply() const noexcept {
    if (unanswered_.empty() || chunk_left_ > 0) return false;
    return endsMessage(unanswered_.front().kind) || endsMessage(unanswered_.back().kind);
}

void SmtpFilter::finish(std::string_view told) noexcept {
    try {
        closeUnanswered(cutReply(withoutLineEnd(told)));
    } catch (const std::exception&) {
        violation_ = Violation::NoMemory;
    }
}

Rest SmtpFilter::onBytes(Side from, std::string_view bytes, Output& out) noexcept {
    try {
        return from == Side::Client ? onClient(bytes, out) : onServer(bytes, out);
    } catch (const std::exception&) {
        violation_ = Violation::NoMemory;
        return Rest::Hold;
    }
}

// ---- the client

Rest SmtpFilter::onClient(std::string_view bytes, Output& out) {
    if (!bytes.empty() && !std::exchange(client_spoke_, true))
        tls_first_ = !screen_.tls.endsHere() && !server_spoke_ && bytes.front() == kTlsHandshake;
    if (violation_) return Rest::Hold;
    if ((starts_tls_ || mirrored_) && !bytes.empty()) {
        violate(Violation::PlaintextAfterStartTls);
        // What the server still says may go on, but for what follows its consent.
        starts_tls_ = starts_tls_ && screen_.tls.mirror;
        return Rest::Hold;
    }
    // Taken from a client that reads only once it has said all, so that it gets to the farewell and to its own end.
    if (farewell_) {
        out.drop(bytes.size());
        return Rest::More;
    }
    if (!bytes.empty() && !replay_.empty()) return onReplayed(bytes, out);
    while (!bytes.empty()) {
        if (violation_ || mustWait()) return Rest::Hold;
        const Step step = readOn(bytes, out);
        if (step == Step::More) return Rest::More;
        if (step == Step::Hold) return Rest::Hold;
    }
    return Rest::More;
}

/// Whether the server's next replies decide what the client's next bytes are, or it has enough to answer.
bool SmtpFilter::mustWait() const noexcept {
    if (reading_ != Reading::Commands || unanswered_.empty()) return false;
    const Kind last = unanswered_.back().kind;
    // Whether a server took octets, or what follows an odd end, for commands shows in what it says next.
    const bool doubtful = last == Kind::LastChunk || (last == Kind::Message && message_.passedOddEnd());
    return doubtful || last == Kind::Data || last == Kind::Auth || last == Kind::StartTls ||
           unanswered_.full() || path_bytes_ > kMaxPathBytes ||
           (screen_.tls.endsHere() && hellos_ >= kMaxHellos);
}

SmtpFilter::Step SmtpFilter::readOn(std::string_view& bytes, Output& out) {
    if (tls_first_) return readAsTls(bytes, out);
    switch (reading_) {
        case Reading::Commands:
            return readLine(bytes, out);
        case Reading::Message:
            return readMessage(bytes, out);
        case Reading::Chunk:
            return readChunk(bytes, out);
        case Reading::Overlong:
            return readOverlong(bytes, out);
        case Reading::Refused:
            return readRefused(bytes, out);
    }
    return Step::Hold;
}

SmtpFilter::Step SmtpFilter::readLine(std::string_view& bytes, Output& out) {
    // Where TLS does not begin like that, or has begun.
    if (screen_.tls.endsHere() && bytes.front() == kTlsHandshake) return violate(Violation::BadCommand);
    const std::size_t lf = bytes.find('\n', client_scanned_);
    const bool whole = lf != std::string_view::npos;
    const std::size_t size = whole ? lf + 1 : bytes.size() + 1;
    if (size > kMaxSmtpCommandBytes) {
        const Verb verb = smtp::parseCommand(bytes.substr(0, kMaxSmtpCommandBytes)).verb;
        const bool auth = sasl_.prompted() || verb == Verb::Auth;
        if (const auto violation = forbidden(verb); violation && !auth) return violate(*violation);
        if (!auth && verb == Verb::Bdat) return violate(Violation::BadCommand);
        if (!auth || size > kMaxAuthBytes) {
            reading_ = Reading::Overlong;
            client_scanned_ = 0;
            return Step::Done;
        }
    }
    if (!whole) {
        client_scanned_ = bytes.size();
        return Step::More;
    }
    const std::string_view line = withoutCr(bytes.substr(0, lf));
    return sasl_.prompted() ? onResponse(line, bytes, out) : onCommand(line, bytes, out);
}

/// Its LF is kept until it has been answered.
SmtpFilter::Step SmtpFilter::readOverlong(std::string_view& bytes, Output& out) {
    const std::size_t dropped = std::min(bytes.find('\n'), bytes.size());
    out.drop(dropped);
    bytes.remove_prefix(dropped);
    if (bytes.empty()) return Step::Done;
    if (sasl_.prompted()) return cancelAuth(1, bytes, out);
    return refuse(kSyntaxError, "line too long", {}, 1, bytes, out);
}

SmtpFilter::Step SmtpFilter::readMessage(std::string_view& bytes, Output& out) {
    const std::string_view shown = bytes;
    const auto progress = message_.read(bytes, out);
    if (message_id_) message_id_->read(shown.substr(0, shown.size() - bytes.size()));
    facts_.bare_lf = message_.edited();
    switch (progress) {
        case smtp::MessageScreen::Progress::Going:
            return bytes.empty() ? Step::Done : Step::More;
        case smtp::MessageScreen::Progress::Refused:
            return violate(Violation::BareLf);
        case smtp::MessageScreen::Progress::Over:
            break;
    }
    reading_ = Reading::Commands;
    await({Kind::Message, {}, message_.size()});
    return Step::Done;
}

SmtpFilter::Step SmtpFilter::readChunk(std::string_view& bytes, Output& out) {
    const auto taken = static_cast<std::size_t>(std::min<std::uint64_t>(chunk_left_, bytes.size()));
    if (message_id_) message_id_->read(bytes.substr(0, taken));
    out.pass(taken);
    bytes.remove_prefix(taken);
    chunk_left_ -= taken;
    if (chunk_left_ == 0) reading_ = Reading::Commands;
    return Step::Done;
}

/// A client may send them along, without waiting for what the BDAT is answered (RFC 3030 2).
SmtpFilter::Step SmtpFilter::readRefused(std::string_view& bytes, Output& out) {
    const auto taken = static_cast<std::size_t>(std::min<std::uint64_t>(chunk_left_, bytes.size()));
    out.drop(taken);
    bytes.remove_prefix(taken);
    chunk_left_ -= taken;
    if (chunk_left_ == 0) reading_ = Reading::Commands;
    return Step::Done;
}

/// The server may have TLS from the first byte on, or none: what it would take for a command does not go on.
SmtpFilter::Step SmtpFilter::readAsTls(std::string_view& bytes, Output& out) {
    constexpr std::uint8_t kJudged = static_cast<std::uint8_t>(std::tuple_size_v<decltype(tls_verb_)> + 1);
    constexpr std::string_view kEnds{" \t\v\f\r\n\0", 7};
    std::size_t at = 0;
    for (; at < bytes.size() && !violation_; ++at) {
        const char byte = bytes[at];
        const bool ends = kEnds.find(byte) != std::string_view::npos;
        if (tls_bytes_ + at == kMaxHandshakeBytes) violate(Violation::BadCommand);
        if (ends && tls_verb_size_ > 0 && tls_verb_size_ < kJudged) {
            const Verb verb = smtp::verbOf({tls_verb_.data(), tls_verb_size_});
            if (verb != Verb::Other) violate(forbidden(verb).value_or(Violation::BadCommand));
            tls_verb_size_ = kJudged;
        }
        if (violation_) break;
        if (!ends && tls_verb_size_ < kJudged) {
            if (tls_verb_size_ < tls_verb_.size()) tls_verb_[tls_verb_size_] = byte;
            ++tls_verb_size_;
        }
        if (byte == '\n') tls_verb_size_ = 0;
    }
    out.pass(at);
    bytes.remove_prefix(at);
    tls_bytes_ += static_cast<std::uint32_t>(at);
    return violation_ ? Step::Hold : Step::Done;
}

/// The server waits for it: what must not go on is answered by the server, as a login that the client gave up.
SmtpFilter::Step SmtpFilter::onResponse(std::string_view line, std::string_view& bytes, Output& out) {
    const std::size_t whole = wholeSize(line, bytes);
    if (hasCrOrNul(line)) return cancelAuth(whole, bytes, out);
    await({Kind::Auth, {}, 0});
    credentials_sent_ = credentials_sent_ || line != "*";
    offeredUser(sasl_.respond(line));
    passLine(line, bytes, out);
    bytes.remove_prefix(whole);
    client_scanned_ = 0;
    return Step::Done;
}

SmtpFilter::Step SmtpFilter::cancelAuth(std::size_t whole, std::string_view& bytes, Output& out) {
    constexpr std::string_view kCancel = "*";  // RFC 4954 4
    await({Kind::Auth, {}, 0});
    sasl_.respond(kCancel);
    out.write("*\r\n");
    out.drop(whole);
    bytes.remove_prefix(whole);
    client_scanned_ = 0;
    reading_ = Reading::Commands;
    return Step::Done;
}

SmtpFilter::Step SmtpFilter::onCommand(std::string_view line, std::string_view& bytes, Output& out) {
    // What the server has already is read as Postfix reads it: a NUL ends it, a CR is space.
    const std::size_t read = replaying_ ? line.find('\0') : std::string_view::npos;
    const auto [verb, arguments] = smtp::parseCommand(line.substr(0, read));
    if (bytes.starts_with(kHeaderLine)) return violate(Violation::ProxyHeader);
    if (const auto violation = forbidden(verb)) return violate(*violation);
    if (!replaying_ && hasCrOrNul(line)) {
        if (verb == Verb::Bdat) return violate(Violation::BadCommand);
        return refuse(kSyntaxError, "NUL or bare CR in a command", {verb, arguments}, wholeSize(line, bytes),
                      bytes, out);
    }
    if (const auto step = onUntimely(verb, arguments, line, bytes, out)) return *step;
    switch (verb) {
        case Verb::Ehlo:
        case Verb::Helo:
            facts_.helo = trimmed(arguments).substr(0, kMaxNameBytes);
            return sendOn({verb == Verb::Ehlo ? Kind::Hello : Kind::Helo, {}, 0}, line, bytes, out);
        case Verb::Mail:
            return onAddress(Kind::Mail, arguments, line, bytes, out);
        case Verb::Rcpt:
            return onAddress(Kind::Rcpt, arguments, line, bytes, out);
        case Verb::Data:
        case Verb::StartTls:
            if (!arguments.empty())
                return refuse(kArgumentError, "no arguments here", {verb, arguments}, wholeSize(line, bytes),
                              bytes, out);
            if (verb == Verb::StartTls) return onStartTls(line, bytes, out);
            return sendOn({Kind::Data, {}, 0}, line, bytes, out);
        case Verb::Bdat:
            return onChunk(arguments, line, bytes, out);
        case Verb::Burl: {
            // RFC 4468 3: as BDAT, with the octets elsewhere.
            const std::size_t last_word = arguments.find_last_of(" \t") + 1;
            const bool last = equalsIgnoreCase(arguments.substr(last_word), "LAST");
            return sendOn({last ? Kind::LastChunk : Kind::Chunk, {}, 0}, line, bytes, out);
        }
        case Verb::Auth:
            return onAuth(arguments, line, bytes, out);
        case Verb::Rset:
            return sendOn({Kind::Reset, {}, 0}, line, bytes, out);
        case Verb::Quit:
            facts_.quit = true;
            return sendOn({Kind::Quit, {}, 0}, line, bytes, out);
        case Verb::Proxy:
        case Verb::Foreign:
        case Verb::Other:
            break;
    }
    return sendOn({}, line, bytes, out);
}

/// Commands that have to wait, for TLS or for EHLO. Nothing: it does not.
std::optional<SmtpFilter::Step> SmtpFilter::onUntimely(Verb verb, std::string_view arguments,
                                                       std::string_view line, std::string_view& bytes,
                                                       Output& out) {
    const bool untimely = !replaying_ && (screen_.tls.demanded() || hello_due_);
    if (!untimely || mayComeFirst(verb, line)) return std::nullopt;
    if (hellos_ > 0 && !screen_.tls.demanded()) return Step::Hold;
    const auto chunk = verb == Verb::Bdat ? smtp::chunkIn(arguments) : smtp::ChunkHead{};
    if (!chunk) return violate(Violation::BadCommand);
    const std::size_t whole = wholeSize(line, bytes);
    const smtp::CommandLine command{verb, arguments};
    const Step step =
        screen_.tls.demanded()
            ? answer(std::string(kTlsFirst) + "\r\n", command, whole, bytes, out, Violation::TlsRequired)
            : answer("503 5.5.1 Error: send HELO/EHLO first\r\n", command, whole, bytes, out);
    if (step == Step::Done && screen_.tls.demanded()) ++facts_.tls_refusals;
    if (step != Step::Done || chunk->bytes == 0) return step;
    chunk_left_ = chunk->bytes;
    reading_ = Reading::Refused;
    return step;
}

/// Whoever sends something behind it wants it to be taken for what was said within TLS (CVE-2011-0411).
SmtpFilter::Step SmtpFilter::onStartTls(std::string_view line, std::string_view& bytes, Output& out) {
    const TlsPolicy& tls = screen_.tls;
    if (replaying_ || !tls.endsHere()) return sendOn({Kind::StartTls, {}, 0}, line, bytes, out);
    const std::size_t whole = wholeSize(line, bytes);
    if (tls.refused()) return answer("554 5.5.1 Error: TLS already active\r\n", {}, whole, bytes, out);
    if (bytes.size() > whole) return violate(Violation::PlaintextAfterStartTls);
    if (!greeting_over_ || !noReplyPending() || !out.canReply()) return Step::Hold;
    if (mail_.open())
        return answer("503 5.5.1 Error: MAIL transaction in progress\r\n", {}, whole, bytes, out);
    // The server, whose connection is kept, would go by a login of which the facts know nothing any more.
    if (logged_in_) return answer("503 5.5.1 Error: already authenticated\r\n", {}, whole, bytes, out);
    if (tls.mirror) {
        mirrored_ = true;
        return sendOn({Kind::StartTls, {}, 0}, line, bytes, out);
    }
    out.drop(whole);
    bytes.remove_prefix(whole);
    client_scanned_ = 0;
    starts_tls_ = true;
    return Step::Hold;
}

std::string SmtpFilter::answerStartTls(bool ready) {
    starts_tls_ = false;
    if (!ready) return "454 4.7.0 TLS not available due to temporary reason\r\n";
    facts_.helo.clear();
    facts_.user.clear();
    facts_.authenticated.reset();
    return "220 2.0.0 Ready to start TLS\r\n";
}

SmtpFilter::Step SmtpFilter::onAddress(Kind kind, std::string_view arguments, std::string_view line,
                                       std::string_view& bytes, Output& out) {
    auto address = smtp::addressIn(arguments, kind == Kind::Mail ? kFrom : kTo);
    if (!address)
        return refuse(kArgumentError, "bad address syntax",
                      {kind == Kind::Mail ? Verb::Mail : Verb::Rcpt, arguments}, wholeSize(line, bytes),
                      bytes, out);
    if (address->size() > kMaxMailboxBytes) address->resize(kMaxMailboxBytes);
    return sendOn({kind, std::move(*address), 0}, line, bytes, out);
}

SmtpFilter::Step SmtpFilter::onAuth(std::string_view arguments, std::string_view line,
                                    std::string_view& bytes, Output& out) {
    std::string_view rest = arguments;
    const std::string_view mechanism = smtp::takeArgument(rest);
    const std::string_view response = smtp::takeArgument(rest);
    const Step step = sendOn({Kind::Auth, {}, 0}, line, bytes, out);
    sasl_.start(mechanism);
    credentials_sent_ = !response.empty();
    if (credentials_sent_) offeredUser(sasl_.initial(response));
    return step;
}

/// What follows a BDAT may be a chunk: a BDAT that must not go on leaves nothing to go on with.
SmtpFilter::Step SmtpFilter::onChunk(std::string_view arguments, std::string_view line,
                                     std::string_view& bytes, Output& out) {
    const auto head = smtp::chunkIn(arguments);
    if (!head) return violate(Violation::BadCommand);
    if (hellos_ > 0) return Step::Hold;
    // A server that knows no BDAT takes the chunk for commands.
    if (!chunking_) return violate(Violation::BadCommand);
    // In one form: not all servers take more space between the words than a blank.
    const std::string plain = "BDAT " + std::to_string(head->bytes) + (head->last ? " LAST" : "");
    sendAs({head->last ? Kind::LastChunk : Kind::Chunk, {}, head->bytes},
           plain == line ? std::nullopt : std::optional(plain), line, bytes, out);
    chunk_left_ = head->bytes;
    if (chunk_left_ > 0) reading_ = Reading::Chunk;
    return Step::Done;
}

SmtpFilter::Step SmtpFilter::sendOn(Command&& command, std::string_view line, std::string_view& bytes,
                                    Output& out) {
    sendAs(std::move(command), smtp::respaced(line), line, bytes, out);
    return Step::Done;
}

/// `words`: what goes on in place of `line`, if anything.
void SmtpFilter::sendAs(Command&& command, const std::optional<std::string>& words, std::string_view line,
                        std::string_view& bytes, Output& out) {
    const std::size_t whole = wholeSize(line, bytes);
    await(std::move(command));
    if (words) {
        out.write(*words);
        out.write(kCrlf);
        out.drop(whole);
    } else {
        passLine(line, bytes, out);
    }
    bytes.remove_prefix(whole);
    client_scanned_ = 0;
}

/// Answers a line here, when its turn has come, and drops it.
SmtpFilter::Step SmtpFilter::refuse(std::string_view code, std::string_view error,
                                    const smtp::CommandLine& command, std::size_t whole,
                                    std::string_view& bytes, Output& out) {
    if (replaying_) return answeredElsewhere(whole, bytes);
    std::string reply(code);
    if (!screen_.gateway.empty() && screen_.gateway.size() <= kMaxShownName)
        reply.append(screen_.gateway).append(" ");
    return answer(reply.append("Error: ").append(error).append(kCrlf), command, whole, bytes, out);
}

/// `limit`: what a client is held to have done that gets too many answers like this.
SmtpFilter::Step SmtpFilter::answer(std::string_view reply, const smtp::CommandLine& command,
                                    std::size_t whole, std::string_view& bytes, Output& out,
                                    Violation limit) {
    if (!greeting_over_ || !noReplyPending() || !out.canReply()) return Step::Hold;
    if (++refusals_ > kMaxRefusals) return violate(limit);
    noteAnswered(command, withoutLineEnd(reply));
    out.drop(whole);
    out.reply(reply);
    bytes.remove_prefix(whole);
    client_scanned_ = 0;
    reading_ = Reading::Commands;
    return Step::Done;
}

/// As if the server had said that.
void SmtpFilter::noteAnswered(const smtp::CommandLine& command, std::string_view reply) {
    switch (command.verb) {
        case Verb::Mail:
            return mail_.senderRefused(addressAsSaid(command.arguments, kFrom), reply);
        case Verb::Rcpt:
            return mail_.recipientRefused(addressAsSaid(command.arguments, kTo), reply);
        case Verb::Data:
        case Verb::Bdat:
        case Verb::Burl:
            return mail_.refused(reply);
        case Verb::Auth: {
            std::string_view rest = command.arguments;
            const std::string_view mechanism = smtp::takeArgument(rest);
            const std::string_view response = smtp::takeArgument(rest);
            offeredUser(initialName(mechanism, response));
            return facts_.authenticated.reset();
        }
        case Verb::Ehlo:
        case Verb::Helo:
        case Verb::Quit:
        case Verb::Rset:
        case Verb::StartTls:
        case Verb::Other:
        case Verb::Proxy:
        case Verb::Foreign:
            break;
    }
}

/// The server has the line, and will say what it thinks of it.
SmtpFilter::Step SmtpFilter::answeredElsewhere(std::size_t whole, std::string_view& bytes) {
    await({});
    bytes.remove_prefix(whole);
    client_scanned_ = 0;
    reading_ = Reading::Commands;
    return Step::Done;
}

SmtpFilter::Step SmtpFilter::violate(Violation violation) noexcept {
    if (!violation_) violation_ = violation;
    return Step::Hold;
}

void SmtpFilter::await(Command&& command) {
    const std::size_t path_bytes = command.path.size();
    const bool hello = isHello(command.kind);
    const bool chunk = command.kind == Kind::Chunk || command.kind == Kind::LastChunk;
    if (chunk && !chunked_) messageBegins(smtp::MessageIdReader::Dots::AsTheyAre);
    if (chunk || hello || command.kind == Kind::Mail || command.kind == Kind::Reset)
        chunked_ = command.kind == Kind::Chunk;
    if (!replaying_ && command.kind != Kind::Message) message_.forgetOddEnd();
    unanswered_.push(std::move(command));
    path_bytes_ += path_bytes;
    if (hello) ++hellos_;
}

// ---- what the server took for commands

/// A reply has come that only a message that ended earlier explains.
bool SmtpFilter::resumeBehindOddEnd(int code) {
    if (!message_.passedOddEnd() || code == 421) return false;
    // Between messages a refusal that is none of a command is a farewell.
    if (code >= 400 && !isCommandError(code) && reading_ != Reading::Message) return false;
    if (std::exchange(reading_, Reading::Commands) == Reading::Message)
        await({Kind::Message, {}, message_.sizeAtOddEnd()});
    replay_ = message_.takeAfterOddEnd();
    constexpr std::string_view kLineEnd{"\r\0", 2};
    replay_.erase(0, std::min(replay_.find_first_not_of(kLineEnd), replay_.size()));
    if (replay_.starts_with('\n')) replay_.erase(0, 1);
    client_scanned_ = 0;
    replay();
    return !unanswered_.empty();
}

void SmtpFilter::replay() {
    Nowhere out;
    std::string_view bytes = replay_;
    replaying_ = true;
    while (!bytes.empty() && !violation_ && !mustWait() && readOn(bytes, out) == Step::Done) {
    }
    replaying_ = false;
    replay_.erase(0, replay_.size() - bytes.size());
}

/// What has been replayed ends in a part of a line, to which the front of `bytes` belongs.
Rest SmtpFilter::onReplayed(std::string_view bytes, Output& out) {
    if (violation_ || mustWait()) return Rest::Hold;
    const std::size_t line = std::min(bytes.find('\n'), bytes.size() - 1) + 1;
    replay_ += bytes.substr(0, line);
    replay();
    if (violation_) return Rest::Hold;
    out.pass(line);
    return onClient(bytes.substr(line), out);
}

// ---- the server

Rest SmtpFilter::onServer(std::string_view bytes, Output& out) {
    if (server_fault_) return Rest::Hold;
    if (starts_tls_) {
        // Behind its consent: it would be taken for what the server says within TLS.
        if (screen_.tls.mirror && !bytes.empty()) mistrust(Violation::UnexpectedReply);
        return Rest::Hold;
    }
    if (!bytes.empty() && !std::exchange(server_spoke_, true) && std::exchange(tls_first_, false)) {
        if (bytes.front() == kTlsHandshake || bytes.front() == kTlsAlert) {
            facts_.tls = TlsBegin::Implicit;
            opaque_ = true;
        } else {
            violate(Violation::BadCommand);
            server_fault_ = true;
        }
        return Rest::Hold;
    }
    while (!bytes.empty() && !server_fault_ && !opaque_) {
        const bool hello =
            greeting_over_ && !in_reply_ && !unanswered_.empty() && unanswered_.front().kind == Kind::Hello;
        if (!(hello ? readHelloReply(bytes, out) : readReplyLine(bytes, out))) break;
    }
    return Rest::More;
}

/// What is left over is a part of a line, unless that is too long.
bool SmtpFilter::tooLong(std::string_view bytes) noexcept {
    if (bytes.size() >= kMaxServerBytes) mistrust(Violation::TooLong);
    return false;
}

/// The server has said what nothing explains: none of it goes on.
void SmtpFilter::mistrust(Violation violation) noexcept {
    violate(violation);
    server_fault_ = true;
}

bool SmtpFilter::readReplyLine(std::string_view& bytes, Output& out) {
    const std::size_t lf = bytes.find('\n', server_scanned_);
    if (lf == std::string_view::npos) {
        server_scanned_ = bytes.size();
        return tooLong(bytes);
    }
    onReplyLine(withoutCr(bytes.substr(0, lf)));
    if (server_fault_) return false;
    bytes.remove_prefix(lf + 1);
    server_scanned_ = 0;
    const bool consents = mirrored_ && in_reply_ && code_ == 220;
    if (!starts_tls_ && !consents) {
        out.pass(lf + 1);
        return true;
    }
    // Kept from the client until the server's handshake is over.
    out.drop(lf + 1);
    if (starts_tls_ && !bytes.empty()) mistrust(Violation::UnexpectedReply);
    return !starts_tls_;
}

/// The reply to EHLO is read whole: its last line may be one that does not go on.
bool SmtpFilter::readHelloReply(std::string_view& bytes, Output& out) {
    for (bool more = true; more;) {
        const std::size_t lf = bytes.find('\n', server_scanned_);
        if (lf >= kMaxServerBytes) return tooLong(bytes);  // or there is none yet
        const std::string_view line = withoutCr(bytes.substr(server_scanned_, lf - server_scanned_));
        const auto code = smtpReplyCode(line);
        if (!code || (server_scanned_ > 0 && *code != code_)) {
            mistrust(Violation::UnexpectedReply);
            return false;
        }
        code_ = *code;
        server_scanned_ = lf + 1;
        more = smtp::isContinued(line);
    }
    const std::string_view reply = bytes.substr(0, std::exchange(server_scanned_, 0));
    if (!explained(code_)) {
        mistrust(Violation::UnexpectedReply);
        return false;
    }
    const Extensions found = isPositive(code_) ? extensionsIn(reply) : Extensions{};
    if (isPositive(code_)) chunking_ = found.chunking;
    onReply(code_, {});  // no words of it are kept
    if (isPositive(code_) && (found.hidden || screen_.tls.endsHere()))
        Offers(reply, screen_.tls, out).pass();
    else
        out.pass(reply.size());
    bytes.remove_prefix(reply.size());
    if (!replay_.empty()) replay();
    return true;
}

void SmtpFilter::onReplyLine(std::string_view line) {
    const auto code = smtpReplyCode(line);
    const bool first = !in_reply_;
    if (!code || (first ? !explained(*code) : *code != code_)) {
        if (first && code && isPositive(*code)) noteTaken(line);
        return mistrust(Violation::UnexpectedReply);
    }
    code_ = *code;
    in_reply_ = smtp::isContinued(line);
    if (first && !in_reply_) {
        onReply(*code, cutReply(line));
        if (!replay_.empty()) replay();
        return;
    }
    // Exim's says how long the chunk was before it names the message.
    const auto names_message = [&] {
        return smtp::queueIdOf(first_line_).empty() && !smtp::queueIdOf(line).empty();
    };
    if (first || (isPositive(*code) && names_message())) first_line_ = singleLine(line);
    if (in_reply_) return;
    onReply(*code, std::exchange(first_line_, std::string()));
    if (!replay_.empty()) replay();
}

/// The reply that begins with this code is one that may come now.
bool SmtpFilter::explained(int code) {
    if (!greeting_over_) return code == 220 || code >= 400;
    if (!unanswered_.empty() || resumeBehindOddEnd(code)) return explains(unanswered_.front(), code);
    // A server that refused a chunk and goes on refusing takes its octets for commands.
    if (code < 400 || (chunk_refused_ && code != 421)) return false;
    farewell_ = true;
    return true;
}

bool SmtpFilter::explains(const Command& command, int code) const noexcept {
    if (code >= 400) return true;
    switch (command.kind) {
        case Kind::Data:
            return code == 354;
        case Kind::Auth:
            return code == 235 || code == 334;
        case Kind::StartTls:
            return code == 220 && (mirrored_ || !screen_.tls.endsHere());
        case Kind::Chunk:
        case Kind::LastChunk:
            // It counts otherwise than we do if it has enough already.
            if (chunk_left_ > 0 && &command == &unanswered_.back()) return false;
            [[fallthrough]];
        case Kind::Message:
        case Kind::Rcpt:
            return isPositive(code) && mail_.open();
        case Kind::Other:
        case Kind::Hello:
        case Kind::Helo:
        case Kind::Mail:
        case Kind::Reset:
        case Kind::Quit:
            break;
    }
    // A login or TLS that nobody asked for, as far as we could tell.
    return isPositive(code) && code != 220 && code != 235;
}

/// The server took a message that is not over here.
void SmtpFilter::noteTaken(std::string_view reply) {
    if (reading_ != Reading::Message) return;
    mail_.addBytes(message_.size());
    messageOver(true, singleLine(reply));
    mail_.close();
    reading_ = Reading::Commands;
}

void SmtpFilter::onReply(int code, std::string_view text) {
    if (code == 221 || code == 421) facts_.goodbye = true;
    if (!greeting_over_) {
        greeting_over_ = true;
        facts_.greeted = code == 220;
        return;
    }
    if (unanswered_.empty()) return onUnaskedReply(text);

    // RFC 2033 4.2: after the message LMTP sends a reply for each accepted recipient, but one only for a command that
    // it does not take for the end of one.
    const Kind kind = unanswered_.front().kind;
    const bool no_end = kind == Kind::LastChunk && isCommandError(code) && final_replies_left_ == 0;
    if (lmtp_ && endsMessage(kind) && !no_end && code != 421) {
        if (final_replies_left_ == 0) final_replies_left_ = std::max(mail_.recipients(), 1U);
        if (--final_replies_left_ > 0) return mail_.finalReply(isPositive(code), text);
    }
    final_replies_left_ = 0;
    Command command = unanswered_.pop();
    path_bytes_ -= command.path.size();
    if (isHello(command.kind)) --hellos_;
    answered(command, code, text);
}

/// 421 may come at any time (RFC 5321 3.8), and other refusals before a server hangs up: in mid-message too, where
/// it stands for the final reply. Postfix, Exim and Dovecot say 421 there when a time limit has passed.
void SmtpFilter::onUnaskedReply(std::string_view text) {
    if (reading_ == Reading::Message)
        mail_.finalReply(false, text);
    else
        mail_.refused(text);
}

void SmtpFilter::answered(Command& command, int code, std::string_view text) {
    chunk_refused_ = false;
    switch (command.kind) {
        case Kind::Helo:
            if (isPositive(code)) chunking_ = false;
            [[fallthrough]];
        case Kind::Hello:
            if (isPositive(code)) hello_due_ = false;
            [[fallthrough]];
        case Kind::Reset:
            if (isPositive(code)) mail_.close();
            break;
        case Kind::Mail:
            if (isPositive(code))
                mail_.senderAccepted(std::move(command.path));
            else
                mail_.senderRefused(std::move(command.path), text);
            break;
        case Kind::Rcpt:
            if (isPositive(code))
                mail_.recipientAccepted(std::move(command.path));
            else
                mail_.recipientRefused(std::move(command.path), text);
            break;
        case Kind::Data:
            if (code != 354) return mail_.refused(text);
            mail_.messageBegins();
            message_.start();
            messageBegins(smtp::MessageIdReader::Dots::Stuffed);
            reading_ = Reading::Message;
            break;
        case Kind::Chunk:
        case Kind::LastChunk:
            answeredChunk(command, code, text);
            break;
        case Kind::Message:
            mail_.addBytes(command.size);
            messageOver(isPositive(code), text);
            mail_.close();
            break;
        case Kind::Auth:
            answeredAuth(code);
            break;
        case Kind::StartTls:
            starts_tls_ = code == 220 && mirrored_;
            mirrored_ = false;
            if (code != 220 || starts_tls_) break;
            facts_.tls = TlsBegin::StartTls;
            opaque_ = true;
            break;
        case Kind::Quit:
        case Kind::Other:
            break;
    }
}

/// A refused chunk may leave the transaction open: servers differ.
void SmtpFilter::answeredChunk(const Command& command, int code, std::string_view text) {
    chunk_refused_ = !isPositive(code);
    mail_.addBytes(command.size);
    if (command.kind == Kind::Chunk) {
        if (chunk_refused_) mail_.refused(text);
        return;
    }
    messageOver(isPositive(code), text);
    if (mail_.taken()) mail_.close();
}

void SmtpFilter::messageBegins(smtp::MessageIdReader::Dots dots) {
    if (!screen_.reads_message_id) return;
    if (!message_id_) message_id_ = std::make_unique<smtp::MessageIdReader>();
    message_id_->start(dots);
}

/// Until the final reply no other message has begun.
void SmtpFilter::messageOver(bool accepted, std::string_view reply) {
    noteMessageId();
    mail_.finalReply(accepted, reply);
}

void SmtpFilter::noteMessageId() {
    if (message_id_) mail_.noteMessageId(message_id_->take());
}

void SmtpFilter::answeredAuth(int code) {
    if (code == 334) return sasl_.prompt();
    sasl_.end();
    if (code == 235) {
        logged_in_ = true;
        facts_.authenticated = true;
        if (!sasl_.named())
            facts_.user.clear();  // an earlier attempt's, which is not the one that was accepted
    } else if (code < 500) {
        facts_.authenticated.reset();
    } else if (credentials_sent_ && judgesCredentials(code)) {
        loginFailed();
    }
}

void SmtpFilter::loginFailed() {
    facts_.authenticated = false;
    ++facts_.failed_logins;
    LeanVector<std::string>& users = facts_.failed_users;
    if (!sasl_.named() || users.size() == kMaxFailedUsersKept) return;
    if (std::find(users.begin(), users.end(), facts_.user) == users.end()) users.own().push_back(facts_.user);
}

void SmtpFilter::offeredUser(std::string name) {
    if (name.empty()) return;
    if (name.size() > kMaxNameBytes) name.resize(kMaxNameBytes);
    facts_.user = std::move(name);
}

/// What the client sent and the server never answered belongs to the mail still: whoever asks for it knows no other words.
void SmtpFilter::closeUnanswered(std::string_view told) {
    while (!unanswered_.empty()) {
        Command command = unanswered_.pop();
        const bool cut_off = unanswered_.empty() && reading_ == Reading::Chunk;
        if (endsMessage(command.kind)) noteMessageId();
        if (mail_.open()) mail_.addBytes(command.size - (cut_off ? std::exchange(chunk_left_, 0) : 0));
        if (command.kind == Kind::Rcpt) mail_.recipientRefused(std::move(command.path), told);
        if (command.kind != Kind::Mail && command.kind != Kind::Reset) continue;
        // With RSET the client gave it up itself.
        if (command.kind == Kind::Mail) mail_.refused(told);
        mail_.close();
        if (command.kind == Kind::Mail) mail_.senderAccepted(std::move(command.path));
    }
    path_bytes_ = 0;
    if (mail_.open() && reading_ == Reading::Message) {
        mail_.addBytes(message_.size());
        noteMessageId();
    }
    reading_ = Reading::Commands;
    mail_.refused(told);
    mail_.close();
}

}  // namespace mailgate
