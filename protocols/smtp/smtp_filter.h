/// \file  StreamFilter for SMTP (RFC 5321, pipelining RFC 2920, BDAT RFC 3030, AUTH RFC 4954) and LMTP (RFC
/// 2033).
///
/// Replies are matched to commands by order. After DATA, AUTH and STARTTLS the server's reply decides what
/// the client's next bytes are: a client that does not wait for it is made to. So nothing reaches the server
/// as a command that was seen here as something else.
///
/// XCLIENT and XFORWARD are objected to wherever they may be commands. When the server's replies do
/// not match the commands any more, the facts end there, and every line of the client's is taken for what may
/// be a command. A client that opens as TLS does, before the server has said anything, is believed when the
/// server answers in TLS.
#pragma once

#include "protocols/line_filter.h"
#include "protocols/reply_queue.h"

#include <cstdint>
#include <optional>

namespace mailgate {

/// The code of a reply line: three digits, then a space, a hyphen or the end.
std::optional<int> smtpReplyCode(std::string_view line) noexcept;

inline constexpr std::size_t kMaxRecipientsKept = 50;  ///< per transaction; the true count is kept beside it

/// Finds lines that end in LF alone.
class BareLfFinder {
  public:
    /// The bytes before were CRLF.
    void start() noexcept { after_cr_ = false; }
    /// Where in `bytes`, which follow those before, the first such LF stands; npos: nowhere.
    std::size_t find(std::string_view bytes) noexcept;

  private:
    bool after_cr_ = false;
};

/// Finds the end of a message after DATA: CRLF.CRLF and nothing else (RFC 5321 2.3.8).
class EndOfData {
  public:
    void start() noexcept;
    /// Takes message bytes off the front of `bytes`. True when the final dot line has been taken with them.
    bool scan(std::string_view& bytes) noexcept;
    /// Message bytes so far as they crossed the wire: dots still stuffed; without the final dot line at the
    /// end.
    std::uint64_t size() const noexcept { return size_; }

  private:
    std::size_t scanHalfMatched(std::string_view bytes) noexcept;
    void step(char byte) noexcept;

    std::uint64_t size_ = 0;
    std::uint8_t matched_ = 0;  ///< how much of CRLF.CRLF the bytes so far end in
};

class SmtpFilter final : public LineFilter {
  public:
    /// `protocol` is Smtp or Lmtp.
    SmtpFilter(Protocol protocol, SessionFacts& facts, const ScreenConfig& screen = {}) noexcept
        : LineFilter(facts), lmtp_(protocol == Protocol::Lmtp), screen_(screen) {}

    std::optional<Violation> violation() const noexcept override { return violation_; }
    bool settled() const noexcept override { return serverAtBoundary() && unanswered_.empty(); }

    bool serverAtBoundary() const noexcept override;
    bool interruptible() const noexcept override;
    void finish() noexcept override;

  private:
    enum class Kind : std::uint8_t {
        Other,
        Hello,
        Mail,
        Rcpt,
        Data,
        Chunk,
        Message,
        Reset,
        Auth,
        StartTls,
        Quit
    };
    enum class Reading : std::uint8_t { Commands, Message, Chunk };

    struct Command {
        Kind kind = Kind::Other;
        std::string path;        ///< Mail, Rcpt
        std::uint64_t size = 0;  ///< Chunk, Message: bytes of message
    };

    void onClient(std::string_view& bytes) override;
    void onServer(std::string_view bytes) override;

    static Kind kindOf(std::string_view verb) noexcept;
    bool mustWait() const noexcept;
    void loseTrack() noexcept { lost_ = true; }
    bool isForbidden(std::string_view line, bool whole) const noexcept;
    bool hearLine(std::string_view& bytes);
    void hearCommand(std::string_view line);
    void hearAuth(std::string_view arguments);
    void hearData();
    void hearChunk(std::string_view arguments);
    bool hearMessage(std::string_view& bytes);
    void await(Kind kind, std::string path = {}, std::uint64_t size = 0);

    void hearReplyLine(std::string_view line);
    void hearReply(int code, std::string_view text);
    void hearUnasked(int code, std::string_view text);
    void answered(const Command& command, int code, std::string_view text);
    void answeredMail(const Command& command, int code);
    void answeredRcpt(const Command& command, int code, std::string_view text);
    void answeredData(int code, std::string_view text);
    void answeredMessage(int code, std::string_view text);
    void answeredAuth(int code);

    void addRecipient(const std::string& path, std::string_view refusal = {});
    void noteRecipientReply(std::string_view text);
    void noteRefusal(std::string_view text);
    void closeTransaction();
    void closeUnanswered();

    ReplyQueue<Command> unanswered_;
    std::size_t path_bytes_ = 0;  ///< in unanswered_
    EndOfData message_;
    BareLfFinder bare_lf_;  ///< in message_
    std::uint64_t chunk_left_ = 0;
    MailTransaction transaction_;
    std::string first_line_;                ///< of a multi-line reply
    std::uint32_t final_replies_left_ = 0;  ///< LMTP: recipients whose final reply is still to come
    const bool lmtp_;
    const ScreenConfig screen_;
    Reading reading_ = Reading::Commands;
    bool in_transaction_ = false;
    bool in_reply_ = false;  ///< between the lines of a multi-line reply
    bool chunking_ = false;  ///< the server announced CHUNKING: it takes what follows BDAT for a chunk
    bool lost_ = false;      ///< which reply answers what, and what the client's bytes are, is uncertain
    bool foreign_ = false;   ///< what the server says is not SMTP: it has no message that could end too early
    bool client_spoke_ = false;
    bool server_spoke_ = false;
    bool tls_first_ = false;  ///< the client opened with a TLS handshake, it seems; the server is silent yet
    std::optional<Violation> violation_;
};

}  // namespace mailgate
