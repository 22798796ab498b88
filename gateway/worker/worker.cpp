// SPDX-License-Identifier: Apache-2.0
#include "gateway/worker/worker.h"

#include "gateway/base/clock.h"
#include "gateway/base/memory_reserve.h"
#include "gateway/io/socket_address.h"
#include "gateway/io/socket_transport.h"
#include "gateway/session/session.h"
#include "gateway/session/session_report.h"

#include <fmt/format.h>

#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <iterator>
#include <limits>
#include <utility>

namespace mailgate {
namespace {

constexpr Millis kSweepInterval = 5'000;

// A handshake under way takes some 60 KiB.
constexpr std::size_t kHandshakesAtOnce = 1'024;

// The end of a drain that somebody else decides.
constexpr Millis kForever = Millis{1} << 40;

bool isTrusted(const ListenerConfig& listener, const IpAddress& peer) {
    return std::any_of(listener.trusted.begin(), listener.trusted.end(),
                       [&](const Network& network) { return network.contains(peer.bytes); });
}

/// A listener that the configuration has no longer gets an index that no rule names: those for all listeners count.
store::ListenerIndex indexOf(const Config& config, std::string_view listener) {
    const auto found = std::find_if(config.listeners.begin(), config.listeners.end(),
                                    [&](const ListenerConfig& one) { return one.name == listener; });
    return static_cast<store::ListenerIndex>(found - config.listeners.begin());
}

/// A listener that would let the client in again.
bool onlyMonitors(const Config& config, std::string_view listener) {
    const auto index = indexOf(config, listener);
    return index < config.listeners.size() && config.listeners[index].mode == ListenerMode::Monitor;
}

/// By a rule: a listener's default ends no session.
bool isDenied(const store::AccessTable& table, const Endpoint& client, store::ListenerIndex listener,
              UnixSeconds now) {
    const auto match = table.lookup(client.address.bytes, listener, now);
    return match && match->verdict == store::Verdict::Deny;
}

}  // namespace

Worker::Worker(GatewayState& state, std::shared_ptr<const Generation> generation,
               std::vector<ListeningSocket> listening)
    : state_(state),
      scratch_(kReadBytes),
      edited_(kBlockBytes),
      repeats_([this](store::JournalSession&& record) { report::keep(*this, std::move(record)); },
               ids_.random()),
      generation_(std::move(generation)) {
    if (state.journal) recorder_.emplace(*state.journal);
    for (ListeningSocket& socket : listening) {
        acceptors_.push_back(makeAcceptor(std::move(socket)));
    }
}

// NOLINTNEXTLINE(bugprone-exception-escape): it goes with the process, and what is thrown here may end that.
Worker::~Worker() {
    // A start that fails after this one's has nobody else to stop it.
    stop();
    while (sessions_)
        sessions_->abort(CloseReason::Shutdown);
    repeats_.sweep(std::numeric_limits<Millis>::max());
    acceptors_.clear();
}

std::unique_ptr<Acceptor> Worker::makeAcceptor(ListeningSocket socket) {
    Acceptor::Owner& owner = *this;
    return std::make_unique<Acceptor>(reactor_, set_, owner, std::move(socket));
}

void Worker::start(const std::string& name) {
    thread_.setName(name);
    thread_.start(*this);
}

void Worker::run() {
    memory_reserve::leaveTheLastToOthers();
    reactor_.run();
}

void Worker::apply(std::shared_ptr<const Generation> generation, std::vector<ListeningSocket> added) {
    if (stopping_) return;
    // What can fail comes first. None of these accepts before this turn is over.
    std::vector<std::unique_ptr<Acceptor>> opened;
    opened.reserve(added.size());
    for (ListeningSocket& socket : added)
        opened.push_back(makeAcceptor(std::move(socket)));
    const std::vector<ListenerConfig>& listeners = generation->config.listeners;
    std::vector<std::size_t> indices;  // of the new listeners, by acceptor; no listener's: it is closed
    for (const auto& acceptor : acceptors_) {
        const bool stays = staysBound(generation_->config, generation->config, acceptor->local());
        const auto found =
            std::find_if(listeners.begin(), listeners.end(), [&](const ListenerConfig& listener) {
                return stays && std::find(listener.addresses.begin(), listener.addresses.end(),
                                          acceptor->local()) != listener.addresses.end();
            });
        indices.push_back(static_cast<std::size_t>(found - listeners.begin()));
    }
    std::vector<std::unique_ptr<Acceptor>> kept;
    kept.reserve(acceptors_.size() + opened.size());
    // Closing comes next, while the acceptors' indices still mean the old generation. Nothing fails from here on.
    for (std::size_t i = 0; i < acceptors_.size(); ++i) {
        if (indices[i] < listeners.size())
            kept.push_back(std::move(acceptors_[i]));
        else
            acceptors_[i]->acceptWaiting();
    }
    std::erase(indices, listeners.size());
    acceptors_ = std::move(kept);
    generation_ = std::move(generation);
    table_ = {};
    for (std::size_t i = 0; i < acceptors_.size(); ++i)
        acceptors_[i]->moveTo(indices[i], listeners[indices[i]]);
    std::move(opened.begin(), opened.end(), std::back_inserter(acceptors_));
}

/// Visiting may end the session visited, and no other.
template <typename Visit>
void Worker::forEachSession(Visit visit) {
    for (Session* session = sessions_; session;) {
        Session* const next = session->next;
        visit(*session);
        session = next;
    }
}

void Worker::drain() {
    stopping_ = true;
    acceptors_.clear();
    const Drain drain{CloseReason::Shutdown, now(), now() + kForever};
    forEachSession([&](Session& session) { session.drain(drain); });
}

void Worker::abort() {
    while (sessions_)
        sessions_->abort(CloseReason::Shutdown);
}

std::vector<LiveSession> Worker::liveSessions() const {
    std::vector<LiveSession> live;
    for (const Session* session = sessions_; session; session = session->next)
        if (!session->ending()) live.push_back(session->live());
    return live;
}

LiveSessions Worker::newestSessions(std::size_t most) const {
    LiveSessions live;
    for (const Session* session = sessions_; session; session = session->next) {
        if (session->ending()) continue;
        if (live.found++ < most) live.sessions.push_back(session->live());
    }
    return live;
}

bool Worker::kill(std::string_view id) {
    for (Session* session = sessions_; session; session = session->next) {
        if (session->id().text() != id) continue;
        return session->kill();
    }
    return false;
}

std::size_t Worker::cut(const Network& network, const std::vector<std::string>& listeners,
                        const Generation* rules) {
    const auto table = rules ? rules->access->current() : nullptr;
    const UnixSeconds now = wallClock() / 1000;
    std::size_t ended = 0;
    forEachSession([&](Session& session) {
        const std::string& listener = session.listener().name;
        const bool listed =
            listeners.empty() || std::find(listeners.begin(), listeners.end(), listener) != listeners.end();
        if (!listed || !session.identified() || !network.contains(session.client().address.bytes)) return;
        if (table && (!isDenied(*table, session.client(), indexOf(rules->config, listener), now) ||
                      onlyMonitors(rules->config, listener)))
            return;
        if (session.kill()) ++ended;
    });
    return ended;
}

void Worker::drainServer(const std::string& upstream, const std::string& server, Millis spread) {
    std::vector<Session*> sessions;
    forEachSession([&](Session& session) {
        if (session.usesServer(upstream, server)) sessions.push_back(&session);
    });
    for (std::size_t i = 0; i < sessions.size(); ++i) {
        const bool at_once = transfersMail(sessions[i]->listener().protocol);
        const Millis share =
            at_once ? 0 : spread * static_cast<Millis>(i) / static_cast<Millis>(sessions.size());
        sessions[i]->drain({CloseReason::Drained, now() + share, now() + spread});
    }
}

void Worker::undrainServer(const std::string& upstream, const std::string& server) {
    forEachSession([&](Session& session) {
        if (session.usesServer(upstream, server)) session.undrain();
    });
}

void Worker::stop() {
    if (!thread_.isRunning()) return;
    set_.post([this] { reactor_.end(); });
    thread_.join();
}

void Worker::onAccepted(const ListeningSocket& listening, Descriptor client, const Endpoint& peer) {
    count(state_.counters.accepted);
    count(generation_->listeners[listening.listener]->accepted);
    const ListenerConfig& listener = generation_->config.listeners[listening.listener];
    const bool trusted = listener.proxy != ProxyMode::Off && isTrusted(listener, peer.address);
    const AcceptedConnection arrival{generation_, static_cast<store::ListenerIndex>(listening.listener), peer,
                                     trusted};
    if (listener.proxy == ProxyMode::Require && !trusted) {
        report::rejected(*this, arrival, Rejection::UntrustedPeer, {}, 0);
        return;
    }
    // Beyond the sessions that are served and those that are told why they are not, there is only closing.
    const std::size_t most = state_.max_sessions.load(std::memory_order_relaxed);
    if (state_.sessions.load(std::memory_order_relaxed) > most + GatewayState::refusedBeside(most)) {
        constexpr auto kFull = static_cast<std::size_t>(Refusal::GatewayFull);
        count(state_.counters.turned_away);
        count(state_.counters.refusals[kFull]);
        count(generation_->listeners[listening.listener]->refusals[kFull]);
        return;
    }
    Endpoint here = listening.local;
    if (!trusted && listening.wildcard) {
        sockaddr_storage local{};
        socklen_t size = sizeof local;
        if (::getsockname(client.get(), reinterpret_cast<sockaddr*>(&local), &size) == 0) {
            here = SocketAddress::toEndpoint(local);
        }
    }
    auto session = std::make_unique<Session>(*this, arrival, here);
    auto transport = SocketTransport::adopt(set_, client.release(), *session, Session::kClientSlot, true);
    if (!transport) return;
    state_.sessions.fetch_add(1, std::memory_order_relaxed);
    Session* const started = session.release();
    started->next = sessions_;
    if (sessions_) sessions_->previous = started;
    sessions_ = started;
    started->start(std::move(transport));
}

void Worker::onPaused(const ListeningSocket& listening, int error) {
    generation_->listeners[listening.listener]->paused.fetch_add(1, std::memory_order_relaxed);
    LogLine line = log().line(LogLevel::Critical, "listener.paused");
    line.text("listener", generation_->config.listeners[listening.listener].name);
    line.text("address", listening.local.toString());
    line.text("reason", std::strerror(error));
    line.text("hint",
              fmt::format("new connections wait in the kernel's queue; raise {} or lower max_sessions",
                          error == ENOMEM ? "the memory limit" : "LimitNOFILE"));
    log().write(line);
}

void Worker::onResumed(const ListeningSocket& listening, bool closed) {
    generation_->listeners[listening.listener]->paused.fetch_sub(1, std::memory_order_relaxed);
    if (closed) return;
    LogLine line = log().line(LogLevel::Warning, "listener.resumed");
    line.text("listener", generation_->config.listeners[listening.listener].name);
    line.text("address", listening.local.toString());
    log().write(line);
}

void Worker::release(Session& session) noexcept {
    if (session.previous)
        session.previous->next = session.next;
    else
        sessions_ = session.next;
    if (session.next) session.next->previous = session.previous;
    state_.sessions.fetch_sub(1, std::memory_order_relaxed);
    set_.retire(std::unique_ptr<EventHandler>(&session));
}

const store::AccessTable& Worker::accessTable(const Generation& generation) noexcept {
    if (&generation != generation_.get()) {
        older_table_ = generation.access->current();
        return *older_table_;
    }
    return table_.of(generation.access->tables());
}

void Worker::sawClient(const Generation& generation, store::ListenerIndex listener,
                       const IpAddress& client) noexcept {
    ListenerCounters& counters = *generation.listeners[listener];
    const AddressVote::Result result = counters.address_vote.add(client);
    if (result == AddressVote::Result::Open) return;
    const bool lost = result == AddressVote::Result::OneAddress;
    if (counters.address_alarm.exchange(lost, std::memory_order_relaxed) != lost)
        logAddressAlarm(generation.config.listeners[listener].name, lost, client.toString());
}

void Worker::logAddressAlarm(const std::string& listener, bool lost, const std::string& client) {
    LogLine line =
        log().line(lost ? LogLevel::Critical : LogLevel::Warning, lost ? "address.lost" : "address.back");
    line.text("listener", listener);
    if (lost) {
        line.text("client", client);
        line.text("detail",
                  "most sessions come from this one private address: the clients' own addresses are being "
                  "lost in front of "
                  "mailgate");
        line.text(
            "hint",
            fmt::format(
                "enable the PROXY protocol (send-proxy) on {0}, or on the balancer in front of it; if {0} "
                "sends PROXY headers, the listener's trusted has to name it, and its proxy not be off",
                client));
    }
    log().write(line);
}

std::int64_t Worker::wallClock() const noexcept {
    return unixMillis();
}

std::unique_ptr<Transport> Worker::connect(const Endpoint& to, EventHandler& handler, unsigned slot,
                                           bool speaks_first, int& error) noexcept {
    return SocketTransport::connect(set_, to, handler, slot, speaks_first, error);
}

bool Worker::full() const noexcept {
    return state_.sessions.load(std::memory_order_relaxed) >
           state_.max_sessions.load(std::memory_order_relaxed) +
               state_.refused.load(std::memory_order_relaxed);
}

bool Worker::keepRefused() noexcept {
    const std::size_t most = state_.max_sessions.load(std::memory_order_relaxed);
    if (state_.refused.fetch_add(1, std::memory_order_relaxed) < GatewayState::refusedBeside(most))
        return true;
    refusedGone();
    return false;
}

bool Worker::mayLogRejection(const IpAddress& peer, Rejection rejection, std::uint32_t& suppressed) noexcept {
    armSweeper();
    return repeats_.mayLog(peer, rejection, now(), suppressed);
}

bool Worker::handshakeBegins() noexcept {
    if (handshakes_ == kHandshakesAtOnce) return false;
    ++handshakes_;
    return true;
}

bool Worker::mayShakeHands() noexcept {
    if (std::exchange(handshake_turn_, set_.turn()) != set_.turn()) ration_.beginTurn();
    return ration_.take(std::chrono::steady_clock::now());
}

bool Worker::mayLogTlsFailure(const IpAddress& client, TlsFailure failure,
                              std::uint32_t& suppressed) noexcept {
    armSweeper();
    return repeats_.mayLog(client, failure, now(), suppressed);
}

std::unique_ptr<store::JournalSession>* Worker::repeatedRefusal(const IpAddress& client,
                                                                store::ListenerIndex listener,
                                                                Refusal refusal) {
    armSweeper();
    return repeats_.repeated(client, listener, refusal, now());
}

void Worker::armSweeper() {
    if (!sweeper_.armed()) set_.arm(sweeper_, now() + kSweepInterval);
}

void Worker::Sweeper::onTimer() {
    worker_.repeats_.sweep(worker_.now());
    if (worker_.repeats_.used()) worker_.armSweeper();
}

}  // namespace mailgate
