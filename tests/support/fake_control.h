// SPDX-License-Identifier: Apache-2.0
/// \file  A gateway with made-up state that notes the orders it gets.
#pragma once

#include "gateway/admin/control.h"
#include "store/store_error.h"

#include <algorithm>
#include <atomic>
#include <optional>
#include <string>
#include <vector>

namespace mailgate::admin {

class FakeControl : public Control {
  public:
    FakeControl() {
        now.name = "gw.example.net";
        now.version = "1.2.3";
        now.started_ms = 1'795'000'000'000;  // 2026-11-18T09:46:40Z
        now.max_sessions = 1000;
        now.live = 2;
        now.listeners = {{"smtp", "smtp", {"0.0.0.0:25", "[::]:25"}, {12, 7, 3, 0}, 4, 2, false},
                         {"imap", "imap", {"0.0.0.0:143"}, {3, 3, 0, 6}, 0, 0, true}};
        now.listeners[0].refusals = {{"access", 3}, {"too_many", 1}};
        now.listeners[1].handshakes = {{"done", "TLSv1.3", 5}, {"not_tls", "", 2}};
        now.tls_files = {{"listener", "imap"}};
        now.certificates = {{"imap",
                             "/etc/mailgate/tls/a.pem",
                             {"mail.example.net"},
                             "CN=mail.example.net",
                             "EC",
                             "00ff",
                             1'790'000'000,
                             1'800'000'000}};
        now.servers = {server("postfix", "mx1", "127.0.0.1:10025"),
                       server("dovecot", "imap1", "127.0.0.1:10143")};
        now.servers[1].handshakes = {{"done", "TLSv1.3", 4}, {"certificate_expired", "", 1}};
        now.servers[1].certificate_expires = 1'900'000'000;
        live = {session("01A", "smtp", "192.0.2.7"), session("01B", "imap", "2001:db8::7")};
    }

    static ServerStatus server(const char* upstream, const char* name, const char* address) {
        ServerStatus status;
        status.upstream = upstream;
        status.server = name;
        status.address = address;
        return status;
    }

    static LiveSession session(const char* id, const char* listener, const char* client) {
        LiveSession live;
        live.id = id;
        live.listener = live.protocol = listener;
        live.state = "relay";
        live.client = Endpoint{*IpAddress::parse(client), 40000};
        live.started_ms = 1'795'000'001'000;
        return live;
    }

    Status status() override { return now; }
    bool rulesFailed() override { return now.rules_failed; }
    std::optional<ConfigChange> configChange() override { return now.config_change; }
    std::vector<LiveSession> sessions() override { return live; }
    LiveSessions newestSessions(std::size_t) override { return {live.size(), live}; }
    bool kill(std::string_view id) override {
        orders.push_back("kill " + std::string(id));
        return std::ranges::any_of(live, [&](const LiveSession& session) { return session.id == id; });
    }
    std::optional<std::size_t> cut(const Cut& cut) override {
        std::string order = "cut " + cut.network.toString();
        for (const std::string& listener : cut.listeners)
            order += " " + listener;
        if (cut.rules_version) order += " denied by version " + std::to_string(*cut.rules_version);
        orders.push_back(order);
        if (cut.rules_version > now.rules_version) return std::nullopt;
        return 3;
    }
    Outcome setServer(std::string_view upstream, std::string_view server, AdminState state,
                      std::string_view by) override {
        ordered_by = by;
        orders.push_back((state == AdminState::Drain ? "drain " : "ready ") + std::string(upstream) + "/" +
                         std::string(server));
        return server == "mx1" ? Outcome{} : Outcome{false, "there is no such server"};
    }
    Outcome setServerEverywhere(std::string_view upstream, std::string_view server, AdminState state,
                                std::string_view by) override {
        if (fleet_failure) throw store::StoreError(*fleet_failure, "the fleet's database does not answer");
        return Control::setServerEverywhere(upstream, server, state, by);
    }
    Outcome reload() override {
        orders.push_back("reload");
        return reload_outcome;
    }
    Readiness ready(std::string_view listener) override {
        if (!is_ready) return Readiness::NotReady;
        for (const ListenerStatus& own : now.listeners) {
            if (own.name == listener) return own.available ? Readiness::Ready : Readiness::NoServer;
        }
        return listener.empty() ? Readiness::Ready : Readiness::UnknownListener;
    }

    store::FleetStatus fleet() override { return now.fleet; }
    store::ShipperStatus fleetJournal() override { return now.fleet_journal; }

    Status now;
    std::vector<LiveSession> live;
    std::vector<std::string> orders;
    std::string ordered_by;  ///< whose the last order to a server was
    Outcome reload_outcome;
    std::optional<store::StoreError::Kind> fleet_failure;  ///< none: it has no part in a fleet
    std::atomic<bool> is_ready{true};
};

}  // namespace mailgate::admin
