// SPDX-License-Identifier: Apache-2.0
/// \file  Every event of the log: its name, its level, and when it comes.
///
/// Names are a contract with whatever reads the log. What logs an event names it as it stands here; the table of docs/log.md
/// is made of these rows, and mailgate-log(5) tells of the same events.
#pragma once

#include "gateway/log/log_config.h"

#include <optional>
#include <string_view>

namespace mailgate {

struct EventRow {
    std::string_view name;
    LogLevel level;
    std::string_view when;
    std::optional<LogLevel> when_refused = std::nullopt;  ///< of an order that was not carried out
};

inline constexpr EventRow kEvents[] = {
    {"gateway.start", LogLevel::Information, "listeners are bound and the access rules are loaded"},
    {"gateway.stop", LogLevel::Information, "the last session is over or the drain time-out has passed"},
    {"config.reloaded", LogLevel::Information,
     "a new configuration is in force; `changes` says what is different"},
    {"config.failed", LogLevel::Error, "a reload was refused (`detail`); nothing has changed"},
    {"admin.order", LogLevel::Information,
     "somebody gave an order over the admin socket: `order` (`kill`, `cut`, `drain`, `ready`, "
     "`reload`), `user`, `target`, `ok`, `detail`",
     LogLevel::Warning},
    {"journal.failed", LogLevel::Error,
     "the journal cannot be written (`detail`); sessions wait in memory, mail goes on"},
    {"journal.recovered", LogLevel::Warning, "it can again; `lost` sessions are in the log only"},
    {"address.lost", LogLevel::Critical,
     "most sessions of a listener come from one private address (`client`): the clients' own "
     "addresses are being lost in front of mailgate (`hint`)"},
    {"address.back", LogLevel::Warning, "that is over"},
    {"access.changed", LogLevel::Information, "a new set of access rules is in force"},
    {"access.failed", LogLevel::Critical,
     "the access rules cannot be read, or the triggers of their file were altered; the last good "
     "ones stay in force"},
    {"access.recovered", LogLevel::Warning, "they can be read again"},
    {"access.unknown_listener", LogLevel::Warning,
     "rules name listeners that the configuration does not have: they decide nothing"},
    {"session.end", LogLevel::Information, "an admitted session is over"},
    {"session.mail", LogLevel::Information,
     "a mail is over that has no place in its session's `session.end`: from the 21st on, and "
     "earlier ones that are too long together"},
    {"session.refused", LogLevel::Information, "a client was refused before it had a server"},
    {"session.failed", LogLevel::Error,
     "a connection ended for want of memory or descriptors before its client was known "
     "(`session`, `listener`, `peer`, `detail`)"},
    {"session.check", LogLevel::Debug, "a balancer's health check was answered"},
    {"proxy.rejected", LogLevel::Warning,
     "a connection was closed because of its PROXY header, or the lack of one"},
    {"backend.up", LogLevel::Warning, "an upstream server answers again"},
    {"backend.resolved", LogLevel::Information, "a server's name has other addresses now"},
    {"backend.unresolved", LogLevel::Warning,
     "a server's name has no answer (`reason`); the last addresses stay in use"},
    {"backend.down", LogLevel::Error, "an upstream server stopped answering"},
    {"listener.paused", LogLevel::Critical,
     "the process has no descriptors or memory left: new connections wait in the kernel's queue"},
    {"listener.resumed", LogLevel::Warning, "they are accepted again"},
    {"config.warning", LogLevel::Warning, "what `mailgate check` warns about, at start (`detail`)"},
    {"gateway.defect", LogLevel::Critical, "a defect of mailgate itself (`detail`): please report it"},
    {"log.lost", LogLevel::Error,
     "lines were dropped while the log could not be written; `lines` says how many"},
    {"log.failed", LogLevel::Error,
     "the file could not be reopened (`target`, `error`); the old one stays in use"},
};

}  // namespace mailgate
