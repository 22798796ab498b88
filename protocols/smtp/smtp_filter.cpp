#include "protocols/smtp/smtp_filter.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <exception>
#include <utility>

namespace mailgate {

namespace {

constexpr std::string_view kEndOfData = "\r\n.\r\n";
constexpr std::size_t kDotLineBytes = 3;

/// Addresses of commands in flight: with kMaxUnanswered the bound on what a client that never waits can make
/// us hold.
constexpr std::size_t kMaxPathBytes = 64 * 1024;

/// Where the path in `text` (which begins after its <) ends: at the first > outside a quoted local part.
std::size_t endOfPath(std::string_view text) noexcept {
    bool quoted = false;
    for (std::size_t at = 0; at < text.size(); ++at) {
        if (text[at] == '\\') {
            ++at;
        } else if (text[at] == '"') {
            quoted = !quoted;
        } else if (text[at] == '>' && !quoted) {
            return at;
        }
    }
    return text.size();
}

/// The path in `FROM:<path> parameters`, without a source route (RFC 5321 4.1.2: to be ignored). What is not
/// of this form gives an empty path, and the server's reply will say so.
std::string_view pathIn(std::string_view arguments, std::string_view keyword) noexcept {
    if (!startsWithIgnoreCase(arguments, keyword)) return {};
    std::string_view text = arguments.substr(keyword.size());
    skipSpaces(text);
    if (!text.starts_with('<')) return takeWord(text).substr(0, kMaxMailboxBytes);

    text.remove_prefix(1);
    std::string_view path = text.substr(0, endOfPath(text));
    if (path.starts_with('@')) path.remove_prefix(std::min(path.find(':'), path.size() - 1) + 1);
    return path.substr(0, kMaxMailboxBytes);
}

constexpr bool isPositive(int code) noexcept {
    return code / 100 == 2;
}

/// A multi-line reply's first line is kept as if it were the only one.
std::string singleLine(std::string_view line) {
    std::string text(line.substr(0, kMaxReplyBytes));
    if (text.size() > 3) text[3] = ' ';
    return text;
}

// TLS records that open a stream (RFC 8446 5.1).
constexpr char kTlsAlert = 0x15;
constexpr char kTlsHandshake = 0x16;

/// What servers take for space between words, at the beginning of a line too.
constexpr std::string_view kSpace = " \t\r\v\f";

std::string_view takeVerb(std::string_view& line) noexcept {
    line.remove_prefix(std::min(line.find_first_not_of(kSpace), line.size()));
    const std::string_view verb = line.substr(0, line.find_first_of(kSpace));
    line.remove_prefix(verb.size());
    line.remove_prefix(std::min(line.find_first_not_of(kSpace), line.size()));
    return verb;
}

}  // namespace

std::optional<int> smtpReplyCode(std::string_view line) noexcept {
    if (line.size() > 3 && line[3] != ' ' && line[3] != '-') return std::nullopt;
    int code = 0;
    const std::string_view digits = line.substr(0, 3);
    const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), code);
    const bool whole = error == std::errc() && end == digits.data() + 3;
    return whole && code >= 200 && code <= 599 ? std::optional(code) : std::nullopt;
}

std::size_t BareLfFinder::find(std::string_view bytes) noexcept {
    if (bytes.empty()) return std::string_view::npos;
    for (std::size_t at = bytes.find('\n'); at != std::string_view::npos; at = bytes.find('\n', at + 1)) {
        if (at == 0 ? !after_cr_ : bytes[at - 1] != '\r') return at;
    }
    after_cr_ = bytes.back() == '\r';
    return std::string_view::npos;
}

void EndOfData::start() noexcept {
    size_ = 0;
    // The CRLF of the DATA line counts: an empty message is the dot line alone (RFC 5321 4.1.1.4).
    matched_ = 2;
}

bool EndOfData::scan(std::string_view& bytes) noexcept {
    std::size_t end = scanHalfMatched(bytes);
    if (matched_ == 0) {
        // One memchr a line: measured at several times the speed of memmem.
        const std::size_t found = bytes.find(kEndOfData, end);
        if (found != std::string_view::npos) {
            end = found + kEndOfData.size();
            matched_ = static_cast<std::uint8_t>(kEndOfData.size());
        } else {
            const std::size_t tail = std::min(bytes.size() - end, kEndOfData.size() - 1);
            for (const char byte : bytes.substr(bytes.size() - tail))
                step(byte);
            end = bytes.size();
        }
    }
    size_ += end;
    bytes.remove_prefix(end);
    if (matched_ < kEndOfData.size()) return false;
    size_ -= kDotLineBytes;
    return true;
}

/// Goes on byte by byte as long as the bytes so far end in a part of CRLF.CRLF; returns how many it took.
std::size_t EndOfData::scanHalfMatched(std::string_view bytes) noexcept {
    std::size_t at = 0;
    while (matched_ > 0 && matched_ < kEndOfData.size() && at < bytes.size())
        step(bytes[at++]);
    return at;
}

void EndOfData::step(char byte) noexcept {
    if (byte == kEndOfData[matched_]) {
        ++matched_;
    } else {
        matched_ = byte == '\r' ? 1 : 0;
    }
}

bool SmtpFilter::serverAtBoundary() const noexcept {
    return !lost_ && !in_reply_ && !server_lines_.midLine();
}

bool SmtpFilter::interruptible() const noexcept {
    return serverAtBoundary() && unanswered_.empty() && !in_transaction_ && !sasl_.active() &&
           reading_ == Reading::Commands;
}

void SmtpFilter::finish() noexcept {
    try {
        closeUnanswered();
    } catch (const std::exception&) {
        becomeOpaque();
    }
}

void SmtpFilter::onClient(std::string_view& bytes) {
    if (!bytes.empty() && !std::exchange(client_spoke_, true))
        tls_first_ = !server_spoke_ && bytes.front() == kTlsHandshake;
    while (!bytes.empty() && !violation_ && !mustWait()) {
        if (lost_ || tls_first_ || reading_ == Reading::Commands) {
            if (!hearLine(bytes)) return;
        } else if (reading_ == Reading::Message) {
            if (!hearMessage(bytes)) return;
        } else {
            const std::uint64_t taken = std::min<std::uint64_t>(chunk_left_, bytes.size());
            bytes.remove_prefix(static_cast<std::size_t>(taken));
            chunk_left_ -= taken;
            if (chunk_left_ == 0) reading_ = Reading::Commands;
        }
    }
}

/// Whether the server's next replies decide what the client's next bytes are, or it has enough to answer.
bool SmtpFilter::mustWait() const noexcept {
    if (lost_ || unanswered_.empty()) return false;
    const Kind last = unanswered_.back().kind;
    return last == Kind::Data || last == Kind::Auth || last == Kind::StartTls || unanswered_.full() ||
           path_bytes_ > kMaxPathBytes;
}

/// The line is one that tells a server who the client is, or has its verb where nobody looks. Of the fragment
/// of a line: it will be one, whatever follows.
bool SmtpFilter::isForbidden(std::string_view line, bool whole) const noexcept {
    const std::string_view from_verb = line.substr(std::min(line.find_first_not_of(kSpace), line.size()));
    if (from_verb.empty()) return line.size() >= kMaxLineBytes;
    const std::size_t end = from_verb.find_first_of(kSpace);
    if (end == std::string_view::npos && !whole) return false;
    const std::string_view verb = from_verb.substr(0, end);
    return equalsIgnoreCase(verb, "XCLIENT") || equalsIgnoreCase(verb, "XFORWARD") ||
           (screen_.no_header && equalsIgnoreCase(verb, "PROXY"));
}

/// False: no whole line is left, or the next one must not go on.
bool SmtpFilter::hearLine(std::string_view& bytes) {
    const bool blind = lost_ || tls_first_;
    const bool is_command = blind || !sasl_.expectsResponse();
    std::string_view rest = bytes;
    const auto line = client_lines_.next(rest);
    if (is_command && isForbidden(line ? *line : client_lines_.fragment(), line.has_value())) {
        violation_ = Violation::ForbiddenCommand;
    } else if (line && lost_ && !foreign_ && screen_.bare_lf == BareLfPolicy::Reject &&
               client_lines_.bareLf()) {
        violation_ = Violation::BareLf;  // it may be a line of a message
    }
    if (violation_) return false;
    bytes = rest;
    if (!line) return false;
    if (!blind) hearCommand(*line);
    return true;
}

SmtpFilter::Kind SmtpFilter::kindOf(std::string_view verb) noexcept {
    struct Entry {
        std::string_view verb;
        Kind kind;
    };
    static constexpr std::array<Entry, 11> kVerbs{{{"MAIL", Kind::Mail},
                                                   {"RCPT", Kind::Rcpt},
                                                   {"DATA", Kind::Data},
                                                   {"BDAT", Kind::Chunk},
                                                   {"EHLO", Kind::Hello},
                                                   {"HELO", Kind::Hello},
                                                   {"LHLO", Kind::Hello},
                                                   {"RSET", Kind::Reset},
                                                   {"AUTH", Kind::Auth},
                                                   {"STARTTLS", Kind::StartTls},
                                                   {"QUIT", Kind::Quit}}};
    for (const Entry& entry : kVerbs) {
        if (equalsIgnoreCase(verb, entry.verb)) return entry.kind;
    }
    return Kind::Other;
}

void SmtpFilter::hearCommand(std::string_view line) {
    if (sasl_.expectsResponse()) {
        offeredUser(sasl_.respond(line));
        return await(Kind::Auth);
    }
    std::string_view arguments = line;
    const Kind kind = kindOf(takeVerb(arguments));
    switch (kind) {
        case Kind::Hello:
            facts_.helo = takeWord(arguments).substr(0, kMaxNameBytes);
            break;
        case Kind::Mail:
            return await(kind, std::string(pathIn(arguments, "FROM:")));
        case Kind::Rcpt:
            return await(kind, std::string(pathIn(arguments, "TO:")));
        case Kind::Data:
            return hearData();
        case Kind::Chunk:
            return hearChunk(arguments);
        case Kind::Auth:
            return hearAuth(arguments);
        case Kind::Quit:
            facts_.quit = true;
            break;
        case Kind::Message:
        case Kind::Reset:
        case Kind::StartTls:
        case Kind::Other:
            break;
    }
    await(kind);
}

void SmtpFilter::hearAuth(std::string_view arguments) {
    const std::string_view mechanism = takeWord(arguments);
    sasl_.start(mechanism);
    if (!arguments.empty()) offeredUser(sasl_.initial(takeWord(arguments)));
    await(Kind::Auth);
}

void SmtpFilter::hearData() {
    await(Kind::Data);
}

/// RFC 3030 2: BDAT size [LAST], and `size` bytes follow at once.
void SmtpFilter::hearChunk(std::string_view arguments) {
    const std::string_view number = takeWord(arguments);
    std::uint64_t size = 0;
    const auto [end, error] = std::from_chars(number.data(), number.data() + number.size(), size);
    // A server that knows no BDAT takes the chunk for commands.
    if (!chunking_ || error != std::errc() || end != number.data() + number.size()) return loseTrack();

    const bool last = equalsIgnoreCase(takeWord(arguments), "LAST");
    chunk_left_ = size;
    if (size > 0) reading_ = Reading::Chunk;
    await(last ? Kind::Message : Kind::Chunk, {}, size);
}

/// False: the message goes on, or must not.
bool SmtpFilter::hearMessage(std::string_view& bytes) {
    const std::size_t bare =
        screen_.bare_lf == BareLfPolicy::Reject ? bare_lf_.find(bytes) : std::string_view::npos;
    std::string_view good = bytes.substr(0, bare);
    const bool over = message_.scan(good);
    bytes.remove_prefix(std::min(bare, bytes.size()) - good.size());
    if (over) {
        reading_ = Reading::Commands;
        await(Kind::Message, {}, message_.size());
    } else if (bare != std::string_view::npos) {
        violation_ = Violation::BareLf;
    }
    return over;
}

void SmtpFilter::await(Kind kind, std::string path, std::uint64_t size) {
    path_bytes_ += path.size();
    unanswered_.push({kind, std::move(path), size});
}

void SmtpFilter::onServer(std::string_view bytes) {
    if (!bytes.empty() && !std::exchange(server_spoke_, true) && std::exchange(tls_first_, false)) {
        if (bytes.front() != kTlsHandshake && bytes.front() != kTlsAlert) return loseTrack();
        facts_.tls = "implicit";
        return becomeOpaque();
    }
    while (!opaque() && !lost_) {
        const auto line = server_lines_.next(bytes);
        if (!line) return;
        hearReplyLine(*line);
    }
}

void SmtpFilter::hearReplyLine(std::string_view line) {
    const auto code = smtpReplyCode(line);
    if (!code) {
        foreign_ = true;
        return loseTrack();
    }
    if (!unanswered_.empty() && unanswered_.front().kind == Kind::Hello && line.size() > 3) {
        std::string_view keywords = line.substr(4);
        if (equalsIgnoreCase(takeWord(keywords), "CHUNKING")) chunking_ = true;
    }
    const bool first = !in_reply_;
    in_reply_ = line.size() > 3 && line[3] == '-';
    if (first && !in_reply_) return hearReply(*code, line.substr(0, kMaxReplyBytes));
    if (first) first_line_ = singleLine(line);
    if (!in_reply_) hearReply(*code, std::exchange(first_line_, std::string()));
}

void SmtpFilter::hearReply(int code, std::string_view text) {
    if (code == 221 || code == 421) facts_.goodbye = true;
    if (!greeting_over_) {
        greeting_over_ = true;
        facts_.greeted = code == 220;
        return;
    }
    if (unanswered_.empty()) return hearUnasked(code, text);

    // RFC 2033 4.2: after the message LMTP sends a reply for each accepted recipient.
    if (lmtp_ && unanswered_.front().kind == Kind::Message && code != 421) {
        if (final_replies_left_ == 0) {
            const std::uint32_t accepted = transaction_.recipient_count - transaction_.refused_count;
            final_replies_left_ = std::max(accepted, 1U);
        }
        if (--final_replies_left_ > 0) return answeredMessage(code, text);
    }
    final_replies_left_ = 0;
    const Command command = unanswered_.pop();
    path_bytes_ -= command.path.size();
    answered(command, code, text);
}

/// 421 may come at any time (RFC 5321 3.8), and other refusals before a server hangs up. A success that
/// nothing asked for, or any reply in mid-message, means that the server cut the stream differently from us:
/// a bare LF around the final dot does that with some.
void SmtpFilter::hearUnasked(int code, std::string_view text) {
    if (reading_ == Reading::Message) {
        answeredMessage(code, text);
    } else if (code >= 400) {
        noteRefusal(text);
    }
    if (code < 400 || reading_ == Reading::Message) loseTrack();
}

void SmtpFilter::answered(const Command& command, int code, std::string_view text) {
    switch (command.kind) {
        case Kind::Hello:
        case Kind::Reset:
            if (isPositive(code)) closeTransaction();
            break;
        case Kind::Mail:
            answeredMail(command, code);
            break;
        case Kind::Rcpt:
            answeredRcpt(command, code, text);
            break;
        case Kind::Data:
            answeredData(code, text);
            break;
        case Kind::Chunk:
            transaction_.size += command.size;
            if (!isPositive(code)) noteRefusal(text);
            break;
        case Kind::Message:
            transaction_.size += command.size;
            answeredMessage(code, text);
            closeTransaction();
            break;
        case Kind::Auth:
            answeredAuth(code);
            break;
        case Kind::StartTls:
            if (code == 220) startedTls();
            break;
        case Kind::Quit:
        case Kind::Other:
            break;
    }
}

void SmtpFilter::answeredMail(const Command& command, int code) {
    if (!isPositive(code)) return;
    closeTransaction();
    in_transaction_ = true;
    transaction_.from = command.path;
    ++facts_.transaction_count;
}

void SmtpFilter::answeredRcpt(const Command& command, int code, std::string_view text) {
    if (!in_transaction_) return;
    addRecipient(command.path, isPositive(code) ? std::string_view() : text);
    if (isPositive(code)) return;
    ++transaction_.refused_count;
    noteRefusal(text);
}

void SmtpFilter::answeredData(int code, std::string_view text) {
    if (code != 354) return noteRefusal(text);
    message_.start();
    bare_lf_.start();
    reading_ = Reading::Message;
}

void SmtpFilter::answeredMessage(int code, std::string_view text) {
    if (!in_transaction_) return;
    transaction_.reply = text;
    transaction_.accepted = transaction_.accepted || isPositive(code);
    if (lmtp_) noteRecipientReply(text);
}

void SmtpFilter::answeredAuth(int code) {
    if (code == 334) return sasl_.prompt();
    sasl_.end();
    if (code == 235) saslAccepted();
}

void SmtpFilter::addRecipient(const std::string& path, std::string_view refusal) {
    ++transaction_.recipient_count;
    if (transaction_.recipients.size() == kMaxRecipientsKept) return;
    transaction_.recipients.push_back(path);
    if (!lmtp_ || (refusal.empty() && transaction_.replies.empty())) return;
    transaction_.replies.resize(transaction_.recipients.size());
    transaction_.replies.back() = refusal;
}

/// RFC 2033 4.2: the final replies come in the order of the accepted recipients.
void SmtpFilter::noteRecipientReply(std::string_view text) {
    transaction_.replies.resize(transaction_.recipients.size());
    const auto next = std::find(transaction_.replies.begin(), transaction_.replies.end(), std::string_view());
    if (next != transaction_.replies.end()) *next = text;
}

/// The first refusal stands in for the final reply of a transaction that never got to its message.
void SmtpFilter::noteRefusal(std::string_view text) {
    if (in_transaction_ && transaction_.reply.empty()) transaction_.reply = text;
}

void SmtpFilter::closeTransaction() {
    if (in_transaction_ && facts_.transactions.size() < kMaxTransactionsKept) {
        facts_.transactions.push_back(std::move(transaction_));
    }
    transaction_ = MailTransaction();
    in_transaction_ = false;
}

/// What the client sent for the open transaction and the server never answered belongs to it still.
void SmtpFilter::closeUnanswered() {
    bool same_transaction = in_transaction_;
    while (same_transaction && !unanswered_.empty()) {
        const Command command = unanswered_.pop();
        if (command.kind == Kind::Rcpt) addRecipient(command.path);
        transaction_.size += command.size;
        same_transaction = command.kind != Kind::Mail && command.kind != Kind::Reset;
    }
    if (same_transaction) {
        transaction_.size -= std::min(transaction_.size, chunk_left_);
        if (reading_ == Reading::Message) transaction_.size += message_.size();
        chunk_left_ = 0;
        reading_ = Reading::Commands;
    }
    closeTransaction();
}

}  // namespace mailgate
