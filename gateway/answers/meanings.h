// SPDX-License-Identifier: Apache-2.0
/// \file  What a text that names a session, a mail or somebody may mean: for `mailgate who` and searches. Pure.
#pragma once

#include "store/journal/backend.h"

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace mailgate::answers {

/// One of the ways to take a text.
struct Meaning {
    std::string_view name;      ///< as fields have it in JSON: "client", "from", "message_id"
    std::string_view words;     ///< as people say it: "a client", "a sender"
    std::string command;        ///< that asks for all of it, for a shell
    std::string ascii_command;  ///< the same for a screen that shows no more than ASCII
    store::JournalFilter filter;
    std::string session_id{};  ///< instead of the filter: the beginning of an id
    bool is_slow =
        false;  ///< the whole journal is read for it, or it says less: only where nothing else was meant

    /// Of a fleet's journals. Their database has no index of balancers.
    bool isSlowFor(bool fleet) const noexcept { return is_slow || (fleet && filter.balancer); }
};

/// One word for a POSIX shell, whatever is in it: text as it is, between quotes where it has to be, and $'\303\274' where it has what
/// controls, reorders or hides text. A shell that does not know this (dash) takes it for one word, too.
std::string shellWord(std::string_view text);
/// The same in ASCII.
std::string asciiShellWord(std::string_view text);

/// The likely ones first; none for an empty text. Of a line of a mail server's or a balancer's log they are of the ids and addresses
/// in it.
std::vector<Meaning> meaningsOf(std::string_view text);

}  // namespace mailgate::answers
