// SPDX-License-Identifier: Apache-2.0
/// \file  Every event of the log: its name, its level, and when it comes.
///
/// Names are a contract with whatever reads the log. What logs an event names it as it stands here; the table of
/// docs/log.md is made of these rows, and mailgate-log(5) describes the same events.
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
    {"gateway.stop", LogLevel::Information, "the last session has ended, or the drain timeout has passed"},
    {"config.reloaded", LogLevel::Information,
     "a new configuration is in force; `changes` says what is different"},
    {"config.failed", LogLevel::Error, "a reload was refused (`detail`); nothing has changed"},
    {"admin.order", LogLevel::Information,
     "an administrator gave an order over the admin socket or the API: `order` (`kill`, `cut`, `drain`, "
     "`ready`, `probe`, `reload`; a change of rules only where it was not made because who gave it waited no "
     "more), "
     "`user`, `target`, `ok`, `detail`",
     LogLevel::Warning},
    {"api.failed", LogLevel::Error,
     "a request of the API or of the console needed a database that cannot be used (`detail`); once a "
     "minute"},
    {"console.login", LogLevel::Information,
     "somebody has logged in at the console (`user`, `role`, `client`)"},
    {"console.login_failed", LogLevel::Warning,
     "a password, a token or the user that a trusted proxy named was refused (`client`, `user`, `with`: "
     "`password`, `token` or "
     "`proxy`, `reason`); after five in a row from one client nothing more is logged of it for a minute"},
    {"console.client_unknown", LogLevel::Warning,
     "a trusted proxy's `X-Forwarded-For` has no address where its client should be (`proxy`, "
     "`forwarded_for`): the proxy "
     "is taken for the client, and failed log-ins through it count together; once a minute"},
    {"journal.failed", LogLevel::Error,
     "the journal cannot be written (`detail`); sessions wait in memory, mail goes on"},
    {"journal.recovered", LogLevel::Warning,
     "the journal can be written again; `lost` sessions are in the log only"},
    {"fleet.failed", LogLevel::Error,
     "the fleet's database cannot be reached, or this gateway has no part in it (`detail`): the rules go on "
     "as they "
     "are, and are changed with `--here` alone"},
    {"fleet.changes_kept", LogLevel::Error,
     "what is old in the fleet's log of changes cannot be removed (`detail`): it grows until it can; once "
     "until then"},
    {"fleet.overruled", LogLevel::Warning,
     "what was made of a `rule` on this gateway alone, with the sqlite3 shell, is gone, since the fleet has "
     "changed the same (`by`; "
     "`here`, how it was here, and `fleet`, how it is there: empty where it was not, or is not)"},
    {"fleet.unreadable", LogLevel::Error,
     "a rule of the fleet cannot be read by this gateway (`detail`), and is not in force here"},
    {"fleet.recovered", LogLevel::Warning, "the gateway has the fleet's rules again"},
    {"fleet.server_drained", LogLevel::Information,
     "the fleet has a server drained at all gateways, and so does this one now (`upstream`, `server`, `by`, "
     "`detail`)"},
    {"fleet.server_ready", LogLevel::Information,
     "that is over, and this gateway has put the server back (`upstream`, `server`, `detail`)"},
    {"fleet.servers_failed", LogLevel::Error,
     "which servers the fleet has drained is not known, or cannot be kept for the next start (`detail`)"},
    {"fleet.tickets_shared", LogLevel::Information,
     "TLS session tickets are sealed with the fleet's keys: each of its gateways takes them"},
    {"fleet.tickets_failed", LogLevel::Error,
     "the fleet's keys of session tickets cannot be had (`detail`): the last ones go on to the end of their "
     "time, then this gateway's own"},
    {"fleet.journal_failed", LogLevel::Error,
     "the gateway's journal does not get to the fleet's database (`detail`); it is kept here meanwhile"},
    {"fleet.journal_recovered", LogLevel::Warning, "it does again; `records` are still to come"},
    {"fleet.journal_missed", LogLevel::Error,
     "the journal's own retention has removed what had not got to the fleet's database yet: `records`, or so "
     "many "
     "at most (`detail`), in `pieces` of up to 16,384"},
    {"fleet.journal_placed", LogLevel::Warning,
     "the fleet's database did not know how far it has this gateway's journal, which goes on where its "
     "records end "
     "there (`detail`)"},
    {"fleet.journal_rejected", LogLevel::Error,
     "the fleet's database cannot have the record of a session (`detail`), which is left out there; only the "
     "first "
     "20 since the start are told"},
    {"address.lost", LogLevel::Critical,
     "most sessions of a listener come from one private address (`client`): the clients' own "
     "addresses are being lost in front of mailgate (`hint`)"},
    {"address.back", LogLevel::Warning, "this is no longer the case"},
    {"access.changed", LogLevel::Information, "a new set of access rules is in force"},
    {"access.failed", LogLevel::Critical,
     "the access rules cannot be read, or the triggers of their file were altered, or it was lost and is "
     "empty now; the rules read last stay in force"},
    {"access.recovered", LogLevel::Warning, "the access rules can be read again"},
    {"access.name_changed", LogLevel::Information, "what the name of a rule stands for has changed"},
    {"access.name_failed", LogLevel::Warning,
     "the name of a rule has no answer that can be used; the last one stays in force"},
    {"access.name_warning", LogLevel::Warning,
     "the name of a rule stands for the site's own balancers or servers"},
    {"access.unknown_listener", LogLevel::Warning,
     "rules name listeners that the configuration does not have: they have no effect"},
    {"access.closed", LogLevel::Error,
     "the last rule that let somebody into an allowlist has expired or is gone (`listener`, `detail`): all "
     "are "
     "refused"},
    {"access.expiring", LogLevel::Warning,
     "a rule expires within `rules.warn_expiry` (`rule`, `verdict`, `network`, `listener`, `set`, `owner`, "
     "`ticket`, `expires_at`); once a rule, and again after a start; of more than ten at once the tenth says "
     "how many follow (`more`)"},
    {"access.pruned", LogLevel::Information,
     "`rules` that expired longer ago than `rules.keep_expired`, and `entries` of the audit trail older than "
     "`rules.keep_audit`, were removed"},
    {"session.end", LogLevel::Information, "an admitted session has ended"},
    {"session.mail", LogLevel::Information,
     "a mail transaction has ended that has no room in its session's `session.end`: from the 21st on, or "
     "earlier if they are too long together"},
    {"session.refused", LogLevel::Information, "a client was refused before it reached a server"},
    {"session.failed", LogLevel::Error,
     "a connection ended before its client was known, because memory or descriptors were used up (`session`, "
     "`listener`, `peer`, `detail`)"},
    {"session.tls_failed", LogLevel::Information,
     "the TLS handshake of an admitted client failed (`reason`); failures that repeat are counted "
     "(`suppressed`)"},
    {"session.check", LogLevel::Debug, "a balancer probe was answered"},
    {"proxy.rejected", LogLevel::Warning,
     "a connection was closed because of its PROXY header, or the lack of one"},
    {"server.up", LogLevel::Warning, "a server is healthy again"},
    {"server.resolved", LogLevel::Information, "a server's host name has new addresses"},
    {"server.unresolved", LogLevel::Warning,
     "a server's host name could not be resolved (`reason`); the last addresses stay in use"},
    {"server.down", LogLevel::Error, "a server failed its health checks, or sessions could not reach it"},
    {"backend.up", LogLevel::Warning,
     "the former name of `server.up`, written beside it for one more release"},
    {"backend.resolved", LogLevel::Information,
     "the former name of `server.resolved`, written beside it for one more release"},
    {"backend.unresolved", LogLevel::Warning,
     "the former name of `server.unresolved`, written beside it for one more release"},
    {"backend.down", LogLevel::Error,
     "the former name of `server.down`, written beside it for one more release"},
    {"listener.paused", LogLevel::Critical,
     "the process has no descriptors or memory left: new connections wait in the kernel's queue"},
    {"listener.resumed", LogLevel::Warning, "new connections are accepted again"},
    {"listener.exhausted", LogLevel::Critical,
     "hardly any descriptors are left: requests to `listener` (`console`, `admin.http`, `admin.socket`) are "
     "answered "
     "with 503; once a minute"},
    {"config.warning", LogLevel::Warning, "at start: a warning as from `mailgate check` (`detail`)"},
    {"gateway.defect", LogLevel::Critical, "a defect of mailgate itself (`detail`): please report it"},
    {"tls.certificate_renewed", LogLevel::Information,
     "the files of a certificate have changed: new sessions get the new one (`listener`, `certificate`, "
     "`names`, `not_after`; of a `client_ca` the first two; `upstream` instead of `listener`: those for TLS "
     "with its servers)"},
    {"tls.certificate_refused", LogLevel::Error,
     "the files of a certificate have changed, and cannot be used (`detail`): the one before stays in use"},
    {"tls.certificate_expires", LogLevel::Warning,
     "a certificate expires within 14 days, or has (`certificate`, `names`, `not_after`, `days_left`; of a "
     "server's `upstream`, `server`, `address`); once a day"},
    {"log.lost", LogLevel::Error,
     "lines were dropped while the log could not be written; `lines` says how many"},
    {"log.failed", LogLevel::Error,
     "the file could not be reopened (`target`, `error`); the old one stays in use"},
};

}  // namespace mailgate
