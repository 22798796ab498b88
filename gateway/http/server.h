// SPDX-License-Identifier: Apache-2.0
/// \file  An HTTP server that slow and hostile peers cost little: a listening socket and the threads that serve it.
///
/// A connection gets a thread only once the head of its request has arrived and is well-formed, with the body if that is
/// small, and the TLS handshake before it is done. Until then it costs a descriptor and
/// waits with the others in one thread, for at most kHeadLimit from its beginning, however its bytes trickle in; when
/// too many wait, the oldest of whoever has most of them is closed (fair_places.h). After that, the time to send a small body and to take the response is limited
/// as a whole, too; what the kernel has of it goes on until the peer takes none for as long. /readyz and /healthz are answered by the one waiting thread itself, so slow or silent peers
/// cannot delay a balancer. Requests that take long whoever sends them may have threads of their own, and those whose body
/// is still to come have: somebody known may send it slowly, too, and delays such requests alone. Of the places of those that
/// take long one client has few, and all networks have an equal share.
///
/// Whoever is answered before all of the request was read gets the answer nevertheless: what still comes is thrown away for a moment,
/// by the waiting thread, since closing a connection with unread bytes takes the answer back (RFC 9112 9.6).
#pragma once

#include "gateway/base/descriptor.h"
#include "gateway/http/request_head.h"
#include "gateway/http/tls_socket.h"
#include "gateway/tls/server_context.h"
#include "protocols/values/address.h"

#include <Poco/Net/HTTPRequestHandlerFactory.h>
#include <Poco/Net/HTTPServerParams.h>
#include <Poco/Net/ServerSocket.h>
#include <Poco/Net/StreamSocket.h>

#include <chrono>
#include <condition_variable>
#include <cstddef>
#include <deque>
#include <functional>
#include <list>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

namespace mailgate::http {

class Server {
  public:
    using Clock = std::chrono::steady_clock;
    static constexpr auto kHeadLimit = std::chrono::seconds(5);
    static constexpr auto kPeerLimit = std::chrono::seconds(10);
    /// How long a thread waits for a peer's next byte, within its limit.
    static constexpr auto kPauseLimit = std::chrono::seconds(5);
    static constexpr std::size_t kMaxConnections = 256;
    static constexpr std::size_t kMaxHead = std::size_t{28} << 10;
    static constexpr std::size_t kMaxSmallBody = std::size_t{4}
                                                 << 10;  ///< it is here before a thread is asked for
    /// What a client is told whose body does not come, whoever waits for it.
    static constexpr const char *kBodyLate = "the rest of the request has not come in time",
                                *kBodyCutShort = "the request ends before its body does";
    static constexpr unsigned kThreads = 32;
    /// Of these one client has so many at once, an address or a /64, as long as it may take: most are left for others. So has an account,
    /// whatever addresses it comes from.
    static constexpr std::size_t kMostOfClient = 4;
    /// As much of an answer as that waits in the kernel for who does not take it, for kPeerLimit, and no thread with it.
    static constexpr int kSendBuffer = 512 << 10;
    static constexpr unsigned kBodyThreads = 3;  ///< besides, for requests with a body that is not here
    /// Of these one client has so many, and so many of its requests wait for one.
    static constexpr std::size_t kMostBodiesOfClient = kBodyThreads - 1, kMaxBodiesWaiting = 8;
    static constexpr unsigned kSlowThreads = 2;  ///< besides, for slow requests
    static constexpr std::size_t kMaxSlow = 16;  ///< of which so many may wait for a thread
    // Of slow requests, waiting and under way together.
    static constexpr std::size_t kMaxSlowOfClient = 2;  ///< an address, of IPv6 a /64
    static constexpr std::size_t kMaxSlowOfSite = 4;    ///< of IPv6 a /48, which has as many /64 as one likes
    static constexpr auto kLastBytesLimit = std::chrono::seconds(2);
    static constexpr std::size_t kMaxLastBytes = std::size_t{24} << 20;  ///< of a connection
    static constexpr std::size_t kMaxEnding = 64;                        ///< connections
    /// How long nobody is accepted after there was no descriptor or memory for one.
    static constexpr auto kPause = std::chrono::seconds(1);
    /// How many descriptors there have to be for a request to be served, beside its connection's; else it is answered with 503.
    static constexpr int kSpareDescriptors = 3;
    static constexpr auto kExhaustedQuiet = std::chrono::minutes(1);

    /// The context for a new connection, asked by the waiting thread; without one it is HTTP in the clear.
    using Tls = std::function<std::shared_ptr<const TlsServerContext>()>;
    using Handlers = std::function<Poco::Net::HTTPRequestHandlerFactory::Ptr(Server&)>;
    /// Whose place a request takes that takes long.
    struct SlowClient {
        IpAddress address;
        bool is_known = false;  ///< has a place before those who are not, whoever is in its network
    };
    /// Whose request it is.
    struct Account {
        std::string name{};            ///< empty: that is not known
        bool is_behind_proxy = false;  ///< then the peer's address tells nothing
    };
    struct Options {
        Tls tls{};
        /// Whose place a request takes, which is here with its body, if it takes long whoever sends it; nothing: it does not, or is
        /// refused anyway. Asked by the waiting thread. None takes long, and there are no threads for such, where it is empty.
        std::function<std::optional<SlowClient>(const RequestHead& request, const IpAddress& peer)>
            slow_client{};
        /// Who has that name has threads as one client has, wherever it comes from, and places to wait for one. Empty: nobody is known.
        /// Asked by the waiting thread, so it must not block.
        std::function<Account(const RequestHead& request, const IpAddress& peer)> account{};
        /// Told by the waiting thread: nobody can be accepted, because of an errno; 0: that is over. Once each.
        std::function<void(int error)> on_paused{};
        /// A request was refused because hardly any descriptors are left; by any thread, once in kExhaustedQuiet.
        std::function<void()> on_exhausted{};
    };

    /// `socket` listens. Throws std::system_error when there is no descriptor to be had.
    Server(const Poco::Net::ServerSocket& socket, const Handlers& handlers, Options options);
    Server(const Poco::Net::ServerSocket& socket, const Handlers& handlers)
        : Server(socket, handlers, Options()) {}
    ~Server();
    Server(const Server&) = delete;
    Server& operator=(const Server&) = delete;

    /// Throws std::system_error.
    void start();
    /// Ends the connections and waits for the requests under way.
    void stop();

    // For the handler of a request, on the thread that called it. The time limit is for the peer alone: it does not
    // run while the gateway works on the request.

    void suspendPeerLimit();
    void restartPeerLimit();
    /// Whether this is one of the threads for slow requests. Where as many as may wait do so already, of all or of this client, the
    /// others get such a request as well, and have to refuse it; likewise one that had to give way to somebody of whose network fewer
    /// wait.
    bool mayTakeLong();
    /// Whether the peer has closed, so that nobody takes an answer. On a Unix socket both of its directions; TCP does not tell that from
    /// a client that has only said that nothing more comes, which is taken for gone as well.
    bool hasPeerLeft();
    /// Whether stop() waits for this request.
    bool isStopping();

  private:
    struct Waiting {
        Poco::Net::StreamSocket socket;
        std::unique_ptr<TlsConnection> tls;  ///< null: in the clear; else `socket` is none yet
        IpAddress peer;
        Clock::time_point until;

        int descriptor() const { return tls ? tls->descriptor() : socket.impl()->sockfd(); }
    };
    using WaitingList = std::list<Waiting>;
    enum class Head : std::uint8_t {
        Incomplete,
        Unaccompanied,
        Complete,
        AwaitsBody,
        Probe,
        TooLong,
        Malformed,
        Gone
    };
    /// Whether more may come.
    enum class Still : std::uint8_t { Comes, Ended, TooLate };
    struct Seen {
        Head head = Head::Incomplete;
        bool has_body = false;
        std::optional<SlowClient> slow_client{};
        Account account{};
        bool is_for_api = false;  ///< who asks is a program, and reads problem documents
        bool has_ended = false;   ///< nothing more comes
    };
    /// Answered; what still comes is thrown away.
    struct Ending {
        Descriptor socket;
        Clock::time_point until;
        std::size_t left = kMaxLastBytes;
    };
    using EndingList = std::list<Ending>;
    /// Waits for a thread.
    struct Ready {
        std::unique_ptr<Poco::Net::StreamSocket> socket;
        IpAddress peer;
        bool has_body = false;
        std::optional<SlowClient> slow_client{};  ///< only where it is for a thread for slow requests
        Account account{};
    };
    struct Lane {
        std::size_t most_of_client = kMostOfClient;  ///< of its threads
        std::condition_variable changed{};
        /// Moved from thread to thread: no two threads hold the same socket, whatever Poco's reference counts say.
        std::deque<Ready> ready{};
    };

    void watch();
    void accept();
    void look(WaitingList::iterator waiting, Still still);
    // With the mutex:
    Lane& laneFor(Head head, Ready& ready);
    void add(Lane& lane, Ready ready);
    bool makeRoomFor(const SlowClient& client);
    std::size_t nextSlow() const;
    std::vector<IpAddress> slowWaiting() const;
    std::vector<IpAddress> slowServed() const;
    bool mayBeServed(const Lane& lane, const Ready& ready) const;
    bool hasTooManyBodies(const Ready& ready) const;
    std::optional<Ready> takeFrom(Lane& lane);
    // Without:
    Seen headOf(const Poco::Net::StreamSocket& socket, const IpAddress& peer);
    Seen headOf(TlsConnection& connection, const IpAddress& peer);
    Seen headOf(std::string_view text, const IpAddress& peer) const;
    Seen ofWhole(const RequestHead& request, const IpAddress& peer) const;
    void pause(int error);
    void resume();
    void await(const Poco::Net::StreamSocket& socket, std::unique_ptr<TlsConnection> tls);
    void giveUp();
    void drop(WaitingList::iterator waiting);
    WaitingList::iterator oneTooMany();
    struct Refusal;
    void refuse(Poco::Net::StreamSocket& socket, const Refusal& refusal, bool is_for_api);
    void tellOfExhaustion();
    void takeEnding();
    void end(Descriptor socket);
    void throwAway(EndingList::iterator ending);
    void drop(EndingList::iterator ending);
    int enforceLimits();
    void work(Lane& lane);
    void serve(const Ready& ready, const Lane* lane);
    void wake() noexcept;
    void limitPeer(Clock::time_point until);

    Poco::Net::ServerSocket socket_;
    Options options_;
    Poco::Net::HTTPServerParams::Ptr params_;
    Poco::Net::HTTPRequestHandlerFactory::Ptr handlers_;
    int epoll_;
    int wake_fd_;
    std::vector<char> head_;

    // The watching thread's own.
    WaitingList waiting_;  ///< the oldest first
    std::map<int, WaitingList::iterator> by_descriptor_;
    EndingList ending_;  ///< the oldest first
    std::map<int, EndingList::iterator> ending_by_descriptor_;
    Clock::time_point paused_until_ = Clock::time_point::max();  ///< max: it is not paused
    bool told_of_pause_ = false;

    std::mutex mutex_;  ///< everything below
    bool stopping_ = false;
    Lane usual_, bodies_{.most_of_client = kMostBodiesOfClient}, slow_;
    std::vector<Descriptor> answered_;   ///< for the waiting thread to end
    Clock::time_point exhausted_until_;  ///< until then nothing more is told of it
    struct Served {
        int handle;  ///< a descriptor of its own: the connection's may be closed, and its number taken
        Clock::time_point until;
        const Lane* lane;  ///< null: the waiting thread itself
        IpAddress peer;
        std::optional<SlowClient> slow_client;
        Account account;
    };
    std::map<std::thread::id, Served> served_;

    std::vector<std::thread> threads_;
};

}  // namespace mailgate::http
