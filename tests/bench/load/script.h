// SPDX-License-Identifier: Apache-2.0
/// \file  What a client of a workload says and expects, as data: the same script for every session of a run.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace mailgate::load {

/// Waits for a line that begins with `expect`, then sends `send`. A line that begins with `interim` may come
/// before it; any other line is an error. An interim line that ends with an IMAP literal's {SIZE} is followed
/// by that many octets.
struct Step {
    std::string expect;
    std::string interim;
    std::string send;
    bool hold = false;   ///< stay here, without sending, until all sessions of the run have got here
    bool timed = false;  ///< how long this took, since the step before it sent, is of interest
};

enum class Workload { SmtpSessions, SmtpSerial, ConnectQuit, ImapBulk, ImapIdle, ImapLogout, ImapAnswers };

inline constexpr std::string_view kWorkloadNames[] = {
    "smtp-sessions", "smtp-serial", "connect-quit", "imap-bulk", "imap-idle", "imap-logout", "imap-answers"};

struct Script {
    std::vector<Step> steps;  ///< after the last one the server closes
    std::uint16_t service_port;
};

/// `octets`: of the message (SMTP) or of the literal (imap-bulk).
Script scriptFor(Workload workload, std::uint64_t octets);

/// SIZE of a line that ends with {SIZE}.
std::optional<std::uint64_t> literalSize(std::string_view line);

}  // namespace mailgate::load
