// SPDX-License-Identifier: Apache-2.0
/// \file  StreamFilter for SMTP (RFC 5321, pipelining RFC 2920, BDAT RFC 3030, AUTH RFC 4954) and LMTP (RFC 2033).
///
/// Command lines are judged whole and go on as they were understood: with blanks for other space and CRLF at their end.
/// What servers read in different ways (a NUL, a bare CR, a line without end, an address that is none) is answered
/// here, in its turn, and does not go on; a BDAT like that ends the session, since octets that nobody knows the
/// number of may follow it. XCLIENT and XFORWARD never go on, and EHLO's reply does not offer them.
///
/// Replies are matched to commands by order. Where a reply decides what the client's next bytes are (DATA, AUTH,
/// STARTTLS, the last chunk), they wait for it. A reply that no command explains means that the server read the
/// client's bytes differently: the session ends. Only a farewell may come unasked (RFC 5321 3.8: 421; other refusals
/// before a server hangs up), and nothing of the client's goes on after it. The lines of a reply have one code. Where
/// messages pass as they came (BareLfPolicy::Pass) and the server ends one elsewhere, what it was sent since is read
/// again as the commands that it took it for, so that the facts name them.
///
/// Where TLS ends at the gateway (TlsPolicy), STARTTLS is answered here, and EHLO's reply offers it before TLS only, AUTH
/// only where a client may use it, and no mechanism that binds the login to the server's own TLS. After STARTTLS the
/// server, which may have no part in it, is not asked for mail before the client has said EHLO again.
///
/// A client that opens as TLS does, before the server has said anything, is believed when the server answers in
/// TLS; until then nothing goes on that a server without TLS would take for a command.
#pragma once

#include "protocols/smtp/command.h"
#include "protocols/smtp/mail_log.h"
#include "protocols/smtp/message_id.h"
#include "protocols/smtp/message_screen.h"
#include "protocols/smtp/reply.h"
#include "protocols/stream/reply_queue.h"
#include "protocols/stream/sasl.h"
#include "protocols/stream/stream_filter.h"

#include <array>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

namespace mailgate {

class SmtpFilter final : public StreamFilter {
  public:
    /// To a command that has to wait for TLS.
    static constexpr std::string_view kTlsFirst = "530 5.7.0 Must issue a STARTTLS command first";

    /// `protocol` is Smtp or Lmtp.
    SmtpFilter(Protocol protocol, SessionFacts& facts, const ScreenConfig& screen = {},
               MailSink* sink = nullptr) noexcept
        : facts_(facts),
          screen_(screen),
          message_(screen.bare_lf),
          mail_(facts, sink, protocol == Protocol::Lmtp),
          lmtp_(protocol == Protocol::Lmtp),
          greeting_over_(screen.greeted),
          server_spoke_(screen.greeted),
          hello_due_(screen.greeted) {}

    Rest onBytes(Side from, std::string_view bytes, Output& out) noexcept override;
    std::string answerStartTls(bool ready) override;
    bool noReplyPending() const noexcept override {
        return serverAtBoundary() && (unanswered_.empty() || server_fault_);
    }
    /// A line that is not whole has not gone on.
    bool serverAtBoundary() const noexcept override { return !in_reply_; }
    bool interruptible() const noexcept override;
    bool awaitsFinalReply() const noexcept override;
    std::string_view sender() const noexcept override { return mail_.sender(); }
    void finish(std::string_view told) noexcept override;

  private:
    enum class Kind : std::uint8_t {
        Other,
        Hello,  ///< EHLO, LHLO
        Helo,
        Mail,
        Rcpt,
        Data,
        Chunk,
        LastChunk,
        Message,  ///< after DATA
        Reset,
        Auth,
        StartTls,
        Quit
    };
    enum class Reading : std::uint8_t {
        Commands,
        Message,
        Chunk,
        Overlong,  ///< a command line, up to its end
        Refused,   ///< the octets behind a BDAT that was answered here
    };
    /// What became of the front of the client's bytes.
    enum class Step : std::uint8_t { Done, More, Hold };

    struct Command {
        Kind kind = Kind::Other;
        std::string path;        ///< Mail, Rcpt
        std::uint64_t size = 0;  ///< Chunk, LastChunk, Message: bytes of message
    };

    /// Its answer decides whether the server knows BDAT.
    static constexpr bool isHello(Kind kind) noexcept { return kind == Kind::Hello || kind == Kind::Helo; }
    static constexpr bool endsMessage(Kind kind) noexcept {
        return kind == Kind::Message || kind == Kind::LastChunk;
    }

    Rest onClient(std::string_view bytes, Output& out);
    Step readOn(std::string_view& bytes, Output& out);
    Step readLine(std::string_view& bytes, Output& out);
    Step readOverlong(std::string_view& bytes, Output& out);
    Step readMessage(std::string_view& bytes, Output& out);
    Step readChunk(std::string_view& bytes, Output& out);
    Step readRefused(std::string_view& bytes, Output& out);
    Step readAsTls(std::string_view& bytes, Output& out);
    Step onResponse(std::string_view line, std::string_view& bytes, Output& out);
    Step onCommand(std::string_view line, std::string_view& bytes, Output& out);
    Step onAddress(Kind kind, std::string_view arguments, std::string_view line, std::string_view& bytes,
                   Output& out);
    Step onAuth(std::string_view arguments, std::string_view line, std::string_view& bytes, Output& out);
    Step onChunk(std::string_view arguments, std::string_view line, std::string_view& bytes, Output& out);
    Step onStartTls(std::string_view line, std::string_view& bytes, Output& out);
    std::optional<Step> onUntimely(smtp::Verb verb, std::string_view arguments, std::string_view line,
                                   std::string_view& bytes, Output& out);
    Step sendOn(Command&& command, std::string_view line, std::string_view& bytes, Output& out);
    void sendAs(Command&& command, const std::optional<std::string>& words, std::string_view line,
                std::string_view& bytes, Output& out);
    Step cancelAuth(std::size_t whole, std::string_view& bytes, Output& out);
    Step refuse(std::string_view code, std::string_view error, const smtp::CommandLine& command,
                std::size_t whole, std::string_view& bytes, Output& out);
    Step answer(std::string_view reply, const smtp::CommandLine& command, std::size_t whole,
                std::string_view& bytes, Output& out, Violation limit = Violation::BadCommand);
    void noteAnswered(const smtp::CommandLine& command, std::string_view reply);
    Step answeredElsewhere(std::size_t whole, std::string_view& bytes);
    Step violate(Violation violation) noexcept;
    bool mustWait() const noexcept;
    void await(Command&& command);

    bool resumeBehindOddEnd(int code);
    Rest onReplayed(std::string_view bytes, Output& out);
    void replay();
    Rest onServer(std::string_view bytes, Output& out);
    bool readReplyLine(std::string_view& bytes, Output& out);
    bool readHelloReply(std::string_view& bytes, Output& out);
    bool tooLong(std::string_view bytes) noexcept;
    void mistrust(Violation violation) noexcept;
    void onReplyLine(std::string_view line);
    void noteTaken(std::string_view reply);
    void onReply(int code, std::string_view text);
    void onUnaskedReply(std::string_view text);
    bool explained(int code);
    bool explains(const Command& command, int code) const noexcept;
    void answered(Command& command, int code, std::string_view text);
    void answeredChunk(const Command& command, int code, std::string_view text);
    void answeredAuth(int code);

    void offeredUser(std::string name);
    void loginFailed();
    void closeUnanswered(std::string_view told);
    void messageBegins(smtp::MessageIdReader::Dots dots);
    void messageOver(bool accepted, std::string_view reply);
    void noteMessageId();

    SessionFacts& facts_;
    const ScreenConfig screen_;
    smtp::MessageScreen message_;
    std::unique_ptr<smtp::MessageIdReader> message_id_;  ///< from the first message on, if it is wanted
    smtp::MailLog mail_;
    ReplyQueue<Command> unanswered_;
    SaslExchange sasl_;
    std::size_t path_bytes_ = 0;      ///< in unanswered_
    std::size_t client_scanned_ = 0;  ///< of what the client's next call begins with: holds no LF
    std::size_t server_scanned_ = 0;
    std::uint64_t chunk_left_ = 0;
    std::string replay_;              ///< the server has it, and what it is has yet to be seen
    std::string first_line_;          ///< of a multi-line reply, or the one with the queue id
    std::array<char, 8> tls_verb_{};  ///< tls_first_: how the line begins, as far as it matters
    std::uint32_t tls_bytes_ = 0;
    std::uint32_t hellos_ = 0;              ///< in unanswered_
    std::uint32_t final_replies_left_ = 0;  ///< LMTP: recipients whose final reply is still to come
    std::uint32_t refusals_ = 0;            ///< command lines that were answered here
    int code_ = 0;                          ///< of the reply that in_reply_ is about
    Reading reading_ = Reading::Commands;
    std::uint8_t tls_verb_size_ = 0;
    const bool lmtp_;
    bool replaying_ = false;
    bool in_reply_ = false;  ///< between the lines of a multi-line reply
    bool chunked_ = false;   ///< a BDAT of the message under way has gone on
    bool chunking_ = false;  ///< the server announced CHUNKING: it takes what follows BDAT for a chunk
    bool credentials_sent_ = false;  ///< in the login that goes on
    bool logged_in_ = false;         ///< the server has taken a login, whatever it says of later ones
    bool chunk_refused_ = false;     ///< the last reply was that
    bool server_fault_ = false;      ///< what it said last must not go on
    bool farewell_ = false;          ///< the server refused without being asked: it is about to hang up
    bool greeting_over_ = false;
    bool client_spoke_ = false;
    bool server_spoke_ = false;
    bool hello_due_ = false;  ///< TLS has begun since the client last said EHLO or HELO
    bool mirrored_ = false;   ///< the server has the client's STARTTLS (TlsPolicy::mirror)
    bool tls_first_ = false;  ///< the client opened with a TLS handshake, it seems; the server is silent yet
};

}  // namespace mailgate
