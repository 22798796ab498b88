/// \file  StreamFilter for ManageSieve (RFC 5804) up to the login.
///
/// Opaque as soon as the server says OK to AUTHENTICATE or STARTTLS; and when an OK comes that no command
/// explains.
#pragma once

#include "protocols/line_filter.h"
#include "protocols/reply_queue.h"

#include <cstdint>
#include <string>

namespace mailgate {

class SieveFilter final : public LineFilter {
  public:
    explicit SieveFilter(SessionFacts& facts) noexcept : LineFilter(facts) {}

    bool serverAtBoundary() const noexcept override;
    bool interruptible() const noexcept override;
    void finish() noexcept override {}

  private:
    enum class Kind : std::uint8_t { Other, Authenticate, StartTls, Logout };
    /// What the next string of the client means.
    enum class Wanted : std::uint8_t { Nothing, Mechanism, InitialResponse, Response };
    enum class Response : std::uint8_t { Data, Ok, No, Bye };

    void onClient(std::string_view& bytes) override;
    void onServer(std::string_view bytes) override;

    static Kind kindOf(std::string_view verb) noexcept;
    void hearCommandLine(std::string_view line);
    void hearStrings(std::string_view text);
    void hearString(std::string_view value);
    void hearLiteral(std::uint64_t size);
    void literalEnded();
    void await(Kind kind);

    void hearResponseLine(std::string_view line);
    void hearResponse();
    void hearData();
    void answered(bool ok);

    ReplyQueue<Kind> unanswered_;
    BlockReader client_literal_;
    BlockReader server_literal_;
    Wanted wanted_ = Wanted::Nothing;
    Response response_ = Response::Data;
    bool command_continues_ = false;   ///< the client's next line goes on after a literal
    bool response_continues_ = false;  ///< and the server's
    bool in_reply_ = false;            ///< between data lines and the OK, NO or BYE that ends them
};

}  // namespace mailgate
