// SPDX-License-Identifier: Apache-2.0
#include "gateway/admin/json.h"

#include "gateway/base/clock.h"
#include "gateway/tls/expiry.h"
#include "protocols/values/text.h"

#include <Poco/JSON/Array.h>
#include <Poco/TextConverter.h>
#include <Poco/UTF8Encoding.h>

#include <sstream>

namespace mailgate::admin {
namespace {

using Poco::Dynamic::Var;
using Poco::JSON::Array;
using Poco::JSON::Object;

Object ordered() {
    return Object(Poco::JSON_PRESERVE_KEY_ORDER);
}

std::string wellFormed(const std::string& text) {
    constexpr int kReplacementCharacter = 0xFFFD;
    const Poco::UTF8Encoding utf8;
    std::string converted;
    Poco::TextConverter(utf8, utf8, kReplacementCharacter).convert(text, converted);
    return converted;
}

Var textOrNull(const std::string& text) {
    return text.empty() ? Var() : Var(wellFormed(text));
}

Var timeOrNull(std::int64_t unix_ms) {
    return unix_ms == 0 ? Var() : Var(formatUtc(unix_ms / 1000));
}

std::int64_t daysUntil(UnixSeconds time) {
    return daysLeft(time, unixMillis() / 1000);
}

Array textArray(const std::vector<std::string>& texts) {
    Array array;
    for (const std::string& text : texts)
        array.add(wellFormed(text));
    return array;
}

Object countsByName(const std::vector<std::pair<std::string, std::uint64_t>>& counts) {
    Object object = ordered();
    for (const auto& [name, count] : counts)
        object.set(name, count);
    return object;
}

/// The counters of a group, under their rows' names.
template <typename Rows, typename Values>
void setTotals(Object& object, const Rows& rows, const Values& values, CounterGroup group) {
    for (std::size_t i = 0; i < values.size(); ++i) {
        if (rows[i].group == group && !rows[i].name.empty()) object.set(std::string(rows[i].name), values[i]);
    }
}

Object toJson(const ListenerStatus& listener) {
    Object object = ordered();
    object.set("name", listener.name);
    object.set("protocol", listener.protocol);
    object.set("mode", listener.mode);
    object.set("addresses", textArray(listener.addresses));
    setTotals(object, kListenerCounters, listener.totals, CounterGroup::Sessions);
    object.set("refused", listener.refused);
    object.set("refusals", countsByName(listener.refusals));
    object.set("would_refuse", countsByName(listener.would_refuse));
    setTotals(object, kListenerCounters, listener.totals, CounterGroup::Content);
    object.set("upstream", textOrNull(listener.upstream));
    object.set("available", listener.available);
    object.set("access", listener.access);
    object.set("closed", listener.closed);
    object.set("trusted", textArray(listener.trusted));
    object.set("live", listener.live);
    object.set("paused", listener.paused);
    return object;
}

Object toJson(const ServerStatus& server) {
    Object object = ordered();
    object.set("upstream", server.upstream);
    object.set("server", server.server);
    object.set("address", server.address);
    object.set("healthy", server.healthy);
    object.set("reason", textOrNull(server.reason));
    object.set("changed", timeOrNull(server.changed_ms));
    object.set("draining", server.draining);
    object.set("admin_state", server.draining ? "drain" : "ready");
    object.set("drained_since", timeOrNull(server.drained.since * 1000));
    object.set("drained_by", textOrNull(server.drained.by));
    object.set("backup", server.backup);
    object.set("weight", server.weight);
    object.set("sessions", server.sessions);
    object.set("sessions_total", server.sessions_total);
    object.set("failures_total", server.failures_total);
    object.set("certificate_not_after", timeOrNull(server.certificate_expires * 1000));
    object.set("certificate_days_left",
               server.certificate_expires == 0 ? Var() : Var(daysUntil(server.certificate_expires)));
    return object;
}

Object toJson(const CertificateStatus& certificate) {
    Object object = ordered();
    object.set("listener", certificate.listener);
    object.set("file", wellFormed(certificate.file));
    object.set("names", textArray(certificate.names));
    object.set("subject", wellFormed(certificate.subject));
    object.set("key_type", certificate.key_type);
    object.set("sha256", certificate.sha256);
    object.set("not_before", formatUtc(certificate.not_before));
    object.set("not_after", formatUtc(certificate.not_after));
    object.set("days_left", daysUntil(certificate.not_after));
    return object;
}

Object toJson(const TlsFilesStatus& files) {
    Object object = ordered();
    object.set("used_by", files.used_by);
    object.set("name", files.name);
    object.set("failure", textOrNull(files.failure));
    return object;
}

Object toJson(const RejectionTally::Row& rejection) {
    Object object = ordered();
    object.set("reason", std::string(rejection.reason));
    object.set("balancer", rejection.balancer);
    object.set("count", rejection.count);
    return object;
}

template <typename Item>
Array toArray(const std::vector<Item>& items) {
    Array array;
    for (const Item& item : items)
        array.add(toJson(item));
    return array;
}

Object totalsOf(const Status& status) {
    Object object = ordered();
    setTotals(object, kGatewayCounters, status.totals, CounterGroup::Sessions);
    setTotals(object, kGatewayCounters, status.totals, CounterGroup::Content);
    object.set("ends", countsByName(status.ends));
    object.set("refusals", countsByName(status.refusals));
    object.set("rejections", toArray(status.rejections));
    return object;
}

Object rulesOf(const Status& status) {
    Object object = ordered();
    object.set("count", status.rules);
    object.set("bytes", status.rules_bytes);
    object.set("version", status.rules_version);
    object.set("loaded", timeOrNull(status.rules_loaded_ms));
    object.set("store_failed", status.rules_failed);
    object.set("expiring", status.rules_expiring);
    object.set("without_listener", countsByName(status.rules_without_listener));
    return object;
}

Object journalOf(const Status& status) {
    Object object = ordered();
    object.set("queued", status.journal_queued);
    object.set("written", status.journal_written);
    object.set("lost", status.journal_lost);
    object.set("failure", textOrNull(status.journal_failure));
    object.set("failed_since", timeOrNull(status.journal_failed_since_ms));
    object.set("bytes", status.journal_bytes);
    object.set("max_bytes", status.journal_max_bytes);
    object.set("oldest", timeOrNull(status.journal_oldest_ms));
    return object;
}

/// Null: none is.
Var missingOf(const store::MissedRecords& missing) {
    if (missing.records == 0) return {};
    Object object = ordered();
    object.set("records", missing.records);
    object.set("exact", missing.exact);
    object.set("from", timeOrNull(missing.from_ms));
    object.set("to", timeOrNull(missing.to_ms));
    return object;
}

/// Null: what is in force is what its files say.
Var configChangeOf(const Status& status) {
    if (!status.config_change) return {};
    Object object = ordered();
    object.set("file", textOrNull(status.config_change->file));
    object.set("at", timeOrNull(status.config_change->at_ms));
    object.set("failure", textOrNull(status.config_change->failure));
    object.set("restart", textArray(status.config_change->restart));
    object.set("refused", textOrNull(status.config_change->refused));
    return object;
}

/// Null: it stays here.
Var fleetJournalOf(const store::ShipperStatus& journal) {
    if (!journal.configured) return {};
    Object object = ordered();
    object.set("connected", journal.connected);
    object.set("since", timeOrNull(journal.since_ms));
    object.set("failure", textOrNull(journal.failure));
    object.set("behind", journal.behind);
    object.set("lag_seconds", journal.lag_seconds);
    object.set("shipped", journal.shipped);
    object.set("missed", journal.missed);
    object.set("missing", missingOf(journal.missing));
    object.set("rejected", journal.rejected);
    return object;
}

/// Null: they are this gateway's alone.
Var fleetTicketsOf(const TicketKeysStatus& tickets) {
    if (!tickets.configured) return {};
    Object object = ordered();
    object.set("shared", tickets.until != 0);
    object.set("until", timeOrNull(tickets.until * 1'000));
    object.set("failure", textOrNull(tickets.failure));
    return object;
}

/// Null: the gateway has no part in one.
Var fleetOf(const Status& status) {
    const store::FleetStatus& fleet = status.fleet;
    if (!fleet.configured) return {};
    Object object = ordered();
    object.set("connected", fleet.connected);
    object.set("since", timeOrNull(fleet.since_ms));
    object.set("failure", textOrNull(fleet.failure));
    object.set("notified", fleet.notified);
    object.set("rules_version", fleet.version);
    object.set("lag_seconds", fleet.lag_seconds);
    object.set("clock_ahead_seconds", fleet.clock_ahead_seconds);
    object.set("same_name_started", timeOrNull(fleet.same_name_started * 1'000));
    object.set("journal", fleetJournalOf(status.fleet_journal));
    object.set("tickets", fleetTicketsOf(status.fleet_tickets));
    return object;
}

}  // namespace

Object toJson(const Status& status) {
    Object object = ordered();
    object.set("name", status.name);
    object.set("version", status.version);
    object.set("config_file", textOrNull(status.config_file));
    object.set("config_change", configChangeOf(status));
    object.set("store", textOrNull(status.store));
    object.set("pid", status.pid);
    object.set("started", timeOrNull(status.started_ms));
    object.set("draining", status.draining);
    object.set("last_reload_failed", status.last_reload_failed);
    object.set("live", status.live);
    object.set("max_sessions", status.max_sessions);
    object.set("configured_sessions", status.configured_sessions);
    object.set("listeners", toArray(status.listeners));
    object.set("servers", toArray(status.servers));
    object.set("certificates", toArray(status.certificates));
    object.set("tls_files", toArray(status.tls_files));
    object.set("totals", totalsOf(status));
    object.set("rules", rulesOf(status));
    object.set("fleet", fleetOf(status));
    object.set("journal", journalOf(status));
    object.set("log_lines_lost", status.log_lines_lost);
    object.set("log_failure", textOrNull(status.log_failure));
    object.set("log_failed_since", timeOrNull(status.log_failed_since_ms));
    Array lags;
    for (const double lag : status.worker_lag_seconds)
        lags.add(lag);
    object.set("worker_lag_seconds", lags);
    object.set("address_alarms", textArray(status.address_alarms));
    return object;
}

Object toJson(const LiveSession& session) {
    Object object = ordered();
    object.set("session", session.id);
    object.set("listener", session.listener);
    object.set("protocol", session.protocol);
    object.set("state", session.state);
    object.set("client", session.client ? Var(session.client->address.toString()) : Var());
    object.set("client_port", session.client ? Var(session.client->port) : Var());
    object.set("balancer", session.balancer ? Var(session.balancer->toString()) : Var());
    object.set("upstream", textOrNull(session.upstream));
    object.set("server", textOrNull(session.server));
    object.set("helo", textOrNull(session.helo));
    object.set("user", textOrNull(session.user));
    Poco::Dynamic::Var tls;
    if (!session.tls.empty()) {
        Object mode = ordered();
        mode.set("mode", session.tls);
        tls = mode;
    }
    object.set("tls", tls);
    object.set("from", textOrNull(session.from));
    object.set("mail_count", session.mail_count);
    object.set("bytes_in", session.bytes_in);
    object.set("bytes_out", session.bytes_out);
    object.set("started", timeOrNull(session.started_ms));
    object.set("idle_ms", session.idle_ms);
    return object;
}

std::string toText(const Object& object) {
    std::ostringstream text;
    object.stringify(text);
    return text.str();
}

}  // namespace mailgate::admin
