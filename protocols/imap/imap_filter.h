/// \file  StreamFilter for IMAP (RFC 9051, RFC 3501) up to the login.
///
/// Follows both directions' literals and sees LOGIN, AUTHENTICATE, STARTTLS and LOGOUT. Opaque as soon as the
/// server says OK to a login or to STARTTLS, or greets with PREAUTH.
#pragma once

#include "protocols/line_filter.h"

#include <cstdint>
#include <string>
#include <vector>

namespace mailgate {

class ImapFilter final : public LineFilter {
  public:
    explicit ImapFilter(SessionFacts& facts) noexcept : LineFilter(facts) {}

    bool serverAtBoundary() const noexcept override;
    bool interruptible() const noexcept override;
    void finish() noexcept override {}

  private:
    enum class Kind : std::uint8_t { Other, Login, Authenticate, StartTls, Logout };

    /// A command whose tagged response matters.
    struct Command {
        Kind kind = Kind::Other;
        std::string tag;
        std::string user;
    };

    void onClient(std::string_view& bytes) override;
    void onServer(std::string_view bytes) override;

    static Kind kindOf(std::string_view verb) noexcept;
    void hearCommandLine(std::string_view line);
    void hearCommand(Kind kind, std::string_view tag, std::string_view arguments);
    void hearLoginName(std::string_view arguments);
    void hearLiteral(std::string_view line);
    void literalEnded();
    void await(Kind kind, std::string_view tag);
    void offered(std::string user);

    void hearResponseLine(std::string_view line);
    void hearGreeting(std::string_view line);
    void hearContinuation();
    void hearUntagged(std::string_view word, std::string_view line);
    void hearTagged(std::string_view tag, bool ok);
    void literalRefused();
    void completed(const Command& command, bool ok);
    void skipServerLiteral(std::string_view line);

    std::vector<Command> unanswered_;
    std::uint64_t commands_unanswered_ = 0;  ///< of any kind
    BlockReader client_literal_;
    BlockReader server_literal_;
    std::string literal_tag_;           ///< of the last command with a literal
    bool literal_waits_ = false;        ///< for the server's leave
    bool command_continues_ = false;    ///< the client's next line goes on after a literal
    bool response_continues_ = false;   ///< and the server's
    bool login_name_expected_ = false;  ///< the client's literal is LOGIN's user name
    bool literal_ahead_ = false;        ///< the client did not wait for leave
};

}  // namespace mailgate
