// SPDX-License-Identifier: Apache-2.0
/// \file  A worker: one thread, one reactor, its listening sockets and its sessions.
///
/// The reactor holds the listening sockets, nothing else; the SessionSet is what it waits by.
#pragma once

#include "gateway/io/pools.h"
#include "gateway/io/session_set.h"
#include "gateway/log/event_log.h"
#include "gateway/session/generation.h"
#include "gateway/session/live_session.h"
#include "gateway/session/session_host.h"
#include "gateway/worker/acceptor.h"
#include "gateway/worker/handshake_ration.h"
#include "gateway/worker/journal_recorder.h"
#include "gateway/worker/listening_sockets.h"
#include "gateway/worker/reactor.h"
#include "gateway/worker/rejection_log.h"
#include "protocols/values/snapshot.h"
#include "store/journal/journal.h"

#include <Poco/Runnable.h>
#include <Poco/Thread.h>

#include <atomic>
#include <chrono>
#include <functional>
#include <future>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

namespace mailgate {

/// What all workers share.
struct GatewayState {
    /// `most_sessions`: what the table of clients is made for.
    GatewayState(EventLog& event_log, store::Journal* session_journal, std::size_t most_sessions)
        : log(event_log), journal(session_journal), clients(most_sessions) {}

    EventLog& log;
    store::Journal* journal = nullptr;  ///< null: off
    Counters counters;
    ClientTable clients;
    std::atomic<std::size_t> sessions{0};      ///< of any state, refused ones included
    std::atomic<std::size_t> refused{0};       ///< those of them that stay only for their refusal
    std::atomic<std::size_t> max_sessions{0};  ///< as configured, or what the descriptor limit allows

    /// How many refused sessions there is room for beside those that are served. A refused one has one descriptor, a
    /// served one two.
    static constexpr std::size_t refusedBeside(std::size_t served) noexcept { return served / 8 + 16; }
    /// How many sessions can be served with this many descriptors.
    static constexpr std::size_t servedWith(std::size_t descriptors) noexcept {
        return (descriptors - 16) * 8 / 17;
    }
};

class Worker final : public SessionHost, public Poco::Runnable, private Acceptor::Owner {
  public:
    /// What one may take to answer a call.
    static constexpr std::chrono::seconds kAnswerLimit{5};

    Worker(GatewayState& state, std::shared_ptr<const Generation> generation,
           std::vector<ListeningSocket> listening);
    // NOLINTNEXTLINE(bugprone-exception-escape): as its definition says.
    ~Worker() override;

    void start(const std::string& name);
    /// Any thread: ends the loop, and joins.
    void stop();
    /// Any thread: runs `task` with this worker on its thread; the future is ready once it has run, with
    /// what it returned.
    template <typename Task>
    auto call(Task task) {
        auto [packaged, result] = package(std::move(task));
        post(std::move(packaged));
        return std::move(result);
    }
    /// The two halves of call(): the first may fail, the second cannot.
    template <typename Task>
    auto package(Task task) {
        auto packaged = std::make_shared<std::packaged_task<std::invoke_result_t<Task, Worker&>(Worker&)>>(
            std::move(task));
        auto result = packaged->get_future();
        return std::pair(std::function<void()>([this, packaged] { (*packaged)(*this); }), std::move(result));
    }
    void post(std::function<void()> packaged) { set_.post(std::move(packaged)); }
    /// How late the last timer tick was, in milliseconds. Any thread.
    Millis lag() const noexcept { return set_.lag(); }

    // The worker's own thread only, that is: by call().

    /// A new configuration: listening sockets whose address it has stay, others are closed, `added` are
    /// opened. Sessions keep the generation they began with.
    void apply(std::shared_ptr<const Generation> generation, std::vector<ListeningSocket> added);
    /// Closes the listening sockets and ends sessions as they come to a point where that breaks nothing.
    void drain();
    /// Ends all sessions now.
    void abort();
    /// Without those that are ending anyway, which kill() would not find.
    std::vector<LiveSession> liveSessions() const;
    /// Of these the newest, `most` of them, in their order: the others cost next to nothing.
    LiveSessions newestSessions(std::size_t most) const;
    /// False: there is no such session, or it is ending.
    bool kill(std::string_view id);
    /// Ends the sessions of clients in `network` on `listeners` (none named: all), and returns how many. `rules`: only
    /// those whom its access rules deny now; null: whatever the rules say.
    std::size_t cut(const Network& network, const std::vector<std::string>& listeners,
                    const Generation* rules);
    /// Ends the sessions of one server within `spread` (IMAP, POP3 and ManageSieve evenly over it; SMTP as
    /// soon as a transaction is over), at the latest then.
    void drainServer(const std::string& upstream, const std::string& server, Millis spread);
    void undrainServer(const std::string& upstream, const std::string& server);

    // SessionHost
    EventSink& log() noexcept override { return state_.log; }
    Recorder* recorder() noexcept override { return recorder_ ? &*recorder_ : nullptr; }
    Counters& counters() noexcept override { return state_.counters; }
    const store::AccessTable& accessTable(const Generation& generation) noexcept override;
    const Relay::Resources& resources() noexcept override { return resources_; }
    SessionId newSessionId() noexcept override { return ids_.next(wallClock()); }
    Millis now() const noexcept override { return set_.now(); }
    std::int64_t wallClock() const noexcept override;
    void arm(Timer& timer, Millis deadline) noexcept override { set_.arm(timer, deadline); }
    std::unique_ptr<Transport> connect(const Endpoint& to, EventHandler& handler, unsigned slot,
                                       bool speaks_first, int& error) noexcept override;
    void defer(EventHandler& handler, unsigned slot) override { set_.defer(handler, slot); }
    ClientTable& clients() noexcept override { return state_.clients; }
    bool full() const noexcept override;
    bool keepRefused() noexcept override;
    void refusedGone() noexcept override { state_.refused.fetch_sub(1, std::memory_order_relaxed); }
    bool stopping() const noexcept override { return stopping_; }
    bool mayLogRejection(const IpAddress& peer, Rejection rejection,
                         std::uint32_t& suppressed) noexcept override;
    bool handshakeBegins() noexcept override;
    void handshakeOver() noexcept override { --handshakes_; }
    bool mayShakeHands() noexcept override;
    bool mayLogTlsFailure(const IpAddress& client, TlsFailure failure,
                          std::uint32_t& suppressed) noexcept override;
    std::unique_ptr<store::JournalSession>* repeatedRefusal(const IpAddress& client,
                                                            store::ListenerIndex listener,
                                                            Refusal refusal) override;
    void sawClient(const Generation& generation, store::ListenerIndex listener,
                   const IpAddress& client) noexcept override;
    void release(Session& session) noexcept override;

  private:
    void run() override;
    void onAccepted(const ListeningSocket& listening, Descriptor client, const Endpoint& peer) override;
    // At once: what clients say first has come with them, mostly.
    void onTurnOver() override { reactor_.serve(); }
    void onPaused(const ListeningSocket& listening, int error) override;
    void onResumed(const ListeningSocket& listening, bool closed) override;
    std::unique_ptr<Acceptor> makeAcceptor(ListeningSocket socket);
    template <typename Visit>
    void forEachSession(Visit visit);

    /// Reports repeated refusals when their time is over.
    class Sweeper final : public Timer {
      public:
        explicit Sweeper(Worker& worker) : worker_(worker) {}

      private:
        void onTimer() override;
        Worker& worker_;
    };

    void armSweeper();
    void logAddressAlarm(const std::string& listener, bool lost, const std::string& client);

    GatewayState& state_;
    std::optional<JournalRecorder> recorder_;  ///< none: the journal is off
    std::vector<char> scratch_;
    std::vector<char> edited_;
    BlockPool blocks_;
    PipePool pipes_;
    Relay::Resources resources_{scratch_, edited_, blocks_, pipes_};
    SessionIds ids_;
    RejectionLog repeats_;
    std::shared_ptr<const Generation> generation_;
    CachedShare<store::AccessTable> table_;  ///< of the generation's
    std::shared_ptr<const store::AccessTable>
        older_table_;             ///< kept while a session of an older generation looks at it
    std::size_t handshakes_ = 0;  ///< TLS handshakes under way
    HandshakeRation ration_;      ///< of their steps, in this turn:
    unsigned handshake_turn_ = 0;
    bool stopping_ = false;
    Session* sessions_ = nullptr;  ///< intrusive list
    SessionSet set_;
    Sweeper sweeper_{*this};
    Reactor reactor_{set_};
    std::vector<std::unique_ptr<Acceptor>> acceptors_;
    Poco::Thread thread_;
};

}  // namespace mailgate
