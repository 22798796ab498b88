// SPDX-License-Identifier: Apache-2.0
/// \file  What mailgate itself sends in the client's protocol: refusals, and the short dialogues around them.
///
/// Texts and codes: RFC 5321 3.1, 3.8 and 4.3; RFC 3463; RFC 2033 (LMTP); RFC 9051 7.1.5 and RFC 5530 (IMAP);
/// RFC 1939, 2449 and 3206 (POP3); RFC 5804 1.2 and 1.3 (ManageSieve). Only an explicit rule and the client's
/// own breach of protocol are permanent refusals, and where RefusalText::soft says so not even these; every fault of
/// ours is temporary. LMTP's peers are the site's own mail servers: never 5xx for a rule.
#pragma once

#include "protocols/dialogue/dialogue.h"
#include "protocols/dialogue/refusal_wording.h"
#include "protocols/values/protocol.h"

#include <memory>
#include <string>
#include <string_view>

namespace mailgate {

/// One line with its CRLF, at most kMaxReplyLineBytes (a footer is cut if need be); empty for Protocol::Tcp, where the
/// protocol asks for silence (POP3 idle after login, RFC 1939 3), and where it has no such refusal. The footer follows
/// what isPolicy() alone.
std::string refusalLine(Protocol protocol, Refusal refusal, const RefusalText& text);
/// Whether a footer without footerError() is never cut, but for a rule's note, whoever the client is.
bool footerFits(Protocol protocol, std::string_view gateway, std::string_view footer);

/// The refusal `line`, and what must follow it: after SMTP's 554, 503 to everything until QUIT (RFC
/// 5321 3.1), and after its 450 likewise 450; for all others the dialogue is done at once.
std::unique_ptr<Dialogue> makeRefusalDialogue(Protocol protocol, Refusal refusal, const RefusalText& text);

/// A balancer probe (PROXY LOCAL, UNKNOWN, UNSPEC): with `up`, the protocol's greeting, then EHLO/HELO/LHLO, NOOP,
/// RSET, VRFY, HELP, QUIT (SMTP, LMTP; MAIL is refused), CAPABILITY, NOOP, LOGOUT (IMAP), CAPA, NOOP, QUIT (POP3),
/// CAPABILITY, NOOP, LOGOUT (ManageSieve) and an error for anything else; without, the NoServer refusal.
/// Protocol::Tcp: says nothing, done if not up.
std::unique_ptr<Dialogue> makeCheckDialogue(Protocol protocol, bool up, const RefusalText& text);

}  // namespace mailgate
