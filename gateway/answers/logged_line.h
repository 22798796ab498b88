// SPDX-License-Identifier: Apache-2.0
/// \file  What a line of a log names, such as Postfix's, Dovecot's and the balancers' in front of them. Pure; the line may be
/// anything, and all results are parts of it.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace mailgate::answers {

/// What is not there is empty.
struct LoggedLine {
    std::string_view queue_id;    ///< of the mail that the line is about
    std::string_view message_id;  ///< with its brackets, as addresses have theirs
    std::string_view from, to;
    std::string_view user, sasl_username;
    std::string_view client;  ///< an address
};
LoggedLine readLoggedLine(std::string_view line);

/// The id that the mail got where it was sent on: of "250 2.0.0 Ok: queued as 6E955A72018", "... status=sent (250 2.0.0 Ok: queued as
/// 6E955A72018)".
std::string_view queuedAs(std::string_view text) noexcept;

/// Between the first `begin` and the `end` behind it; empty: it has none.
std::string_view between(std::string_view text, std::string_view begin, std::string_view end) noexcept;

/// "IPv6:2001:db8::1", as addresses stand in mail (RFC 5321 section 4.1.3).
std::string_view withoutTag(std::string_view address) noexcept;

/// Or a network.
bool isAddress(std::string_view text);

/// Of "192.0.2.1", "192.0.2.1:40000" and "IPv6:2001:db8::1"; empty: it is none. What may be an address as a whole is one.
std::string_view addressOf(std::string_view word);

/// The single addresses among the words of the text, with or without a port, each once; not the text itself.
std::vector<std::string> addressesIn(std::string_view text);

}  // namespace mailgate::answers
