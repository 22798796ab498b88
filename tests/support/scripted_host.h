// SPDX-License-Identifier: Apache-2.0
/// \file  A worker whose clock, network and servers are the test's.
#pragma once

#include "gateway/session/session.h"
#include "tests/support/scripted_peer.h"

#include <algorithm>
#include <cerrno>
#include <deque>
#include <memory>
#include <new>
#include <string>
#include <utility>
#include <vector>

namespace mailgate::test {

/// A server of the configuration at one address.
inline ServerConfig serverAt(const std::string& name, const Endpoint& endpoint) {
    ServerConfig server;
    server.name = name;
    server.address = endpoint.toString();
    server.endpoints = {endpoint};
    return server;
}

/// One listener in front of two servers.
inline Config makeConfig(Protocol protocol = Protocol::Smtp) {
    Config config;
    config.name = "gw.example";
    ListenerConfig listener;
    listener.name = "front";
    listener.protocol = protocol;
    listener.proxy = ProxyMode::Require;
    listener.access = AccessDefault::Open;
    listener.upstream = "backend";
    config.listeners.push_back(listener);
    UpstreamConfig upstream;
    upstream.name = "backend";
    upstream.servers = {serverAt("mx1", {*IpAddress::parse("192.0.2.1"), 25}),
                        serverAt("mx2", {*IpAddress::parse("192.0.2.2"), 25})};
    config.upstreams.push_back(upstream);
    return config;
}

/// Remembers events as lines of JSON.
class RememberedEvents final : public EventSink {
  public:
    bool enabled(LogLevel level) const noexcept override { return level >= least; }
    void write(LogLine& line) noexcept override { text += line.finish(); }

    std::string text;
    LogLevel least = LogLevel::Debug;  ///< others are not enabled

  private:
    LogFormat format() const noexcept override { return LogFormat::Json; }
};

class RememberedRecords final : public Recorder {
  public:
    void record(store::JournalSession&& session) noexcept override { kept.push_back(std::move(session)); }
    void recordFailed() noexcept override { ++failed; }

    std::vector<store::JournalSession> kept;
    int failed = 0;
};

class ScriptedHost final : public SessionHost {
  public:
    explicit ScriptedHost(Config configuration)
        : generation_(std::make_shared<Generation>()), wheel_(kStart) {
        generation_->config = std::move(configuration);
        for (const UpstreamConfig& upstream : generation_->config.upstreams) {
            std::shared_ptr<TlsUpstream> tls;
            if (upstream.tls != UpstreamTls::Off)
                tls = std::make_shared<TlsUpstream>(upstream.tls_options, upstream.client_certificate,
                                                    TlsUpstream::Callbacks{});
            generation_->upstreams.push_back(
                std::make_unique<UpstreamPool>(upstream, UpstreamPool::Events{}, std::move(tls)));
            generation_->upstream_counters.push_back(std::make_shared<UpstreamCounters>());
        }
        for (std::size_t i = 0; i < generation_->config.listeners.size(); ++i) {
            generation_->listeners.push_back(std::make_shared<ListenerCounters>());
        }
    }
    ~ScriptedHost() override {
        while (!sessions_.empty())
            sessions_.front()->abort(CloseReason::Shutdown);
    }

    /// TLS ends at the first listener, with `listener`.
    void endTlsWith(std::shared_ptr<TlsListener> listener) { generation_->tls = {std::move(listener)}; }
    /// For sessions that arrive from now on.
    void showRuleNotes(RuleNotes notes) {
        generation_->rule_notes =
            std::make_shared<Snapshot<RuleNotes>>(std::make_shared<RuleNotes>(std::move(notes)));
    }

    /// A client arrives. `expect_header`: as a trusted balancer's connection.
    Session& arrive(std::shared_ptr<ScriptedPeer> client, bool expect_header, std::size_t listener = 0) {
        sessions_.push_back(std::make_unique<Session>(*this, arrival(expect_header, listener), local()));
        Session& session = *sessions_.back();
        session.start(std::make_unique<ScriptedTransport>(std::move(client)));
        return session;
    }

    AcceptedConnection arrival(bool expect_header, std::size_t listener = 0) const {
        return {generation_,
                static_cast<store::ListenerIndex>(listener),
                {*IpAddress::parse("10.0.0.9"), 40001},
                expect_header};
    }
    static Endpoint local() { return {*IpAddress::parse("203.0.113.10"), 25}; }

    /// The next server that a session connects to; without one, connecting fails with `connect_error`.
    std::shared_ptr<ScriptedPeer> nextServer() {
        return servers_.emplace_back(std::make_shared<ScriptedPeer>());
    }

    void advance(Millis by) {
        now_ += by;
        wheel_.advance(now_);
        runAgain();
    }
    void runAgain() {
        while (!again_.empty()) {
            const auto [handler, slot] = again_.front();
            again_.pop_front();
            handler->onEvents(slot, 0);
        }
        retired_.clear();
    }

    std::size_t openSessions() const { return sessions_.size(); }
    std::vector<std::string> connected_to;  ///< addresses, in order
    std::vector<bool> spoke_first;          ///< to each of them

    /// Ends what is left and returns the log.
    std::string takeLog() {
        endAll();
        return std::exchange(events.text, {});
    }

    RememberedEvents events;
    RememberedRecords records;

    int connect_error = ECONNREFUSED;
    bool is_full = false;
    bool out_of_memory = false;  ///< for what tells one refusal from many
    int refused_places = 1;
    int handshakes = 0;  ///< under way
    int most_handshakes = 100;
    int handshake_steps = 10'000;  ///< left
    bool is_stopping = false;
    bool keeps_records = true;
    bool logs_rejections = true;
    std::uint32_t rejections_suppressed = 0;
    std::unique_ptr<store::JournalSession>* repeated = nullptr;  ///< where one that is repeated is kept
    std::shared_ptr<const store::AccessTable> table = std::make_shared<store::AccessTable>();

    EventSink& log() noexcept override { return events; }
    Recorder* recorder() noexcept override { return keeps_records ? &records : nullptr; }
    Counters& counters() noexcept override { return counters_; }
    const store::AccessTable& accessTable(const Generation&) noexcept override { return *table; }
    const Relay::Resources& resources() noexcept override { return resources_; }
    SessionId newSessionId() noexcept override { return ids_.next(wallClock()); }
    Millis now() const noexcept override { return now_; }
    std::int64_t wallClock() const noexcept override { return 1'800'000'000'000 + now_; }
    void arm(Timer& timer, Millis deadline) noexcept override { wheel_.arm(timer, deadline); }
    std::unique_ptr<Transport> connect(const Endpoint& to, EventHandler&, unsigned slot, bool speaks_first,
                                       int& error) noexcept override {
        connected_to.push_back(to.toString());
        spoke_first.push_back(speaks_first);
        if (servers_.empty()) {
            error = connect_error;
            return nullptr;
        }
        auto server = servers_.front();
        servers_.pop_front();
        server->slot = slot;
        return std::make_unique<ScriptedTransport>(std::move(server));
    }
    void defer(EventHandler& handler, unsigned slot) override { again_.emplace_back(&handler, slot); }
    ClientTable& clients() noexcept override { return clients_; }
    bool full() const noexcept override { return is_full; }
    bool keepRefused() noexcept override { return refused_places > 0 && refused_places-- > 0; }
    void refusedGone() noexcept override { ++refused_places; }
    bool stopping() const noexcept override { return is_stopping; }
    bool handshakeBegins() noexcept override { return handshakes < most_handshakes && ++handshakes; }
    void handshakeOver() noexcept override { --handshakes; }
    bool mayShakeHands() noexcept override { return handshake_steps > 0 && handshake_steps--; }
    bool mayLogTlsFailure(const IpAddress&, TlsFailure, std::uint32_t&) noexcept override { return true; }
    bool mayLogRejection(const IpAddress&, Rejection, std::uint32_t& suppressed) noexcept override {
        suppressed = rejections_suppressed;
        return logs_rejections;
    }
    std::unique_ptr<store::JournalSession>* repeatedRefusal(const IpAddress&, store::ListenerIndex,
                                                            Refusal) override {
        if (out_of_memory) throw std::bad_alloc();
        return repeated;
    }
    void sawClient(const Generation&, store::ListenerIndex, const IpAddress&) noexcept override {}
    void release(Session& session) noexcept override {
        const auto found = std::find_if(sessions_.begin(), sessions_.end(),
                                        [&](const auto& candidate) { return candidate.get() == &session; });
        std::erase_if(again_, [&](const auto& again) { return again.first == &session; });
        retired_.push_back(std::move(*found));
        sessions_.erase(found);
    }

  private:
    static constexpr Millis kStart = 1'000'000;

    void endAll() {
        while (!sessions_.empty())
            sessions_.front()->abort(CloseReason::Killed);
    }

    std::shared_ptr<Generation> generation_;
    Counters counters_;
    std::vector<char> scratch_ = std::vector<char>(kReadBytes);
    std::vector<char> edited_ = std::vector<char>(kBlockBytes);
    BlockPool blocks_;
    PipePool pipes_;
    Relay::Resources resources_{scratch_, edited_, blocks_, pipes_};
    SessionIds ids_;
    ClientTable clients_{16};
    Millis now_ = kStart;
    TimerWheel wheel_;
    std::deque<std::shared_ptr<ScriptedPeer>> servers_;
    std::deque<std::pair<EventHandler*, unsigned>> again_;
    std::vector<std::unique_ptr<Session>> sessions_;
    std::vector<std::unique_ptr<Session>> retired_;
};

}  // namespace mailgate::test
