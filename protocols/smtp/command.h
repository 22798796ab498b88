// SPDX-License-Identifier: Apache-2.0
/// \file  SMTP command lines and their arguments, read as servers read them.
///
/// Pure. One notion of space for verbs and arguments; what servers may read in two ways is not understood here.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace mailgate::smtp {

enum class Verb : std::uint8_t {
    Other,
    Auth,
    Bdat,
    Burl,
    Data,
    Ehlo,  ///< EHLO and LHLO
    Helo,
    Mail,   ///< and SEND, SOML, SAML, which open a transaction as well
    Proxy,  ///< no verb, but how a PROXY header in text begins
    Quit,
    Rcpt,
    Rset,
    StartTls,
    Foreign,  ///< XCLIENT, XFORWARD
};

struct CommandLine {
    Verb verb = Verb::Other;
    std::string_view arguments;  ///< without space around them
};

/// `line` without its end. A verb ends at a NUL as well: some servers read no further.
CommandLine parseCommand(std::string_view line) noexcept;

Verb verbOf(std::string_view word) noexcept;

/// Takes the first word off the front of `text`, with the space before and after it.
std::string_view takeArgument(std::string_view& text) noexcept;

/// The line in the form that all servers read alike: without space at its beginning, and with blanks for other space
/// outside of quotes. Nothing: it has that form already. Throws std::bad_alloc.
std::optional<std::string> respaced(std::string_view line);

/// The address in `FROM:<path> parameters`, `keyword` being "FROM:" or "TO:": without a source route (RFC 5321 4.1.2:
/// to be ignored), quotes and escapes, as the server has it. Nothing: not of this form. Throws std::bad_alloc.
std::optional<std::string> addressIn(std::string_view arguments, std::string_view keyword);

struct ChunkHead {
    std::uint32_t bytes = 0;
    bool last = false;
};

/// RFC 3030 2: size and perhaps LAST, and nothing that a server might read as another number.
std::optional<ChunkHead> chunkIn(std::string_view arguments) noexcept;

}  // namespace mailgate::smtp
