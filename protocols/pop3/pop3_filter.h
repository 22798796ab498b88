/// \file  StreamFilter for POP3 (RFC 1939, CAPA RFC 2449, AUTH RFC 5034, STLS RFC 2595) up to the login.
///
/// Opaque as soon as the server says +OK to PASS, APOP, AUTH or STLS; and when a reply comes that no command
/// explains.
#pragma once

#include "protocols/line_filter.h"
#include "protocols/reply_queue.h"

#include <cstdint>
#include <string>

namespace mailgate {

class Pop3Filter final : public LineFilter {
  public:
    explicit Pop3Filter(SessionFacts& facts) noexcept : LineFilter(facts) {}

    bool serverAtBoundary() const noexcept override { return !in_listing_ && !server_lines_.midLine(); }
    bool interruptible() const noexcept override {
        return serverAtBoundary() && unanswered_.empty() && !sasl_.active();
    }
    void finish() noexcept override {}

  private:
    /// Listing: a command whose +OK is followed by lines up to a single dot.
    enum class Kind : std::uint8_t { Other, Listing, User, Pass, Apop, Auth, StartTls, Quit };

    struct Command {
        Kind kind = Kind::Other;
        std::string user;  ///< Pass, Apop: who logs in
    };

    void onClient(std::string_view& bytes) override;
    void onServer(std::string_view bytes) override;

    static Kind kindOf(std::string_view verb, std::string_view arguments) noexcept;
    void hearCommandLine(std::string_view line);
    void await(Command command);

    void hearReplyLine(std::string_view line);
    void hearReply(bool ok);
    void hearPrompt();
    void answered(const Command& command, bool ok);

    ReplyQueue<Command> unanswered_;
    std::string user_;  ///< the last USER
    bool in_listing_ = false;
};

}  // namespace mailgate
