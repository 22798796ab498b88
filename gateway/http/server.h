// SPDX-License-Identifier: Apache-2.0
/// \file  An HTTP server that slow and hostile peers cost little: a listening socket and the threads that serve it.
///
/// A connection gets a thread only once the head of its request has arrived and is well-formed, with the body if that is
/// small, and the TLS handshake before it is done. Until then it costs a descriptor and
/// waits with the others in one thread, for at most kHeadLimit from its beginning, however its bytes trickle in; when
/// too many wait, the oldest of the client that has most of them is closed. After that, the time to send a small body and to take the response is limited
/// as a whole, too. /readyz and /healthz are answered by the one waiting thread itself, so slow or silent peers
/// cannot delay a balancer.
#pragma once

#include "gateway/http/tls_socket.h"
#include "gateway/tls/server_context.h"
#include "protocols/values/network.h"

#include <Poco/Net/HTTPRequestHandlerFactory.h>
#include <Poco/Net/HTTPServerParams.h>
#include <Poco/Net/ServerSocket.h>
#include <Poco/Net/StreamSocket.h>

#include <chrono>
#include <condition_variable>
#include <deque>
#include <functional>
#include <list>
#include <map>
#include <memory>
#include <mutex>
#include <string_view>
#include <thread>
#include <vector>

namespace mailgate::http {

class Server {
  public:
    using Clock = std::chrono::steady_clock;
    static constexpr auto kHeadLimit = std::chrono::seconds(5);
    static constexpr auto kPeerLimit = std::chrono::seconds(10);
    static constexpr std::size_t kMaxConnections = 256;
    static constexpr std::size_t kMaxHead = std::size_t{28} << 10;
    static constexpr std::size_t kMaxSmallBody = std::size_t{4}
                                                 << 10;  ///< it is here before a thread is asked for
    static constexpr unsigned kThreads = 4;

    /// The context for a new connection, asked by the waiting thread; without one it is HTTP in the clear.
    using Tls = std::function<std::shared_ptr<const TlsServerContext>()>;
    using Handlers = std::function<Poco::Net::HTTPRequestHandlerFactory::Ptr(Server&)>;

    /// `socket` listens. Throws std::system_error when there is no descriptor to be had.
    Server(const Poco::Net::ServerSocket& socket, const Handlers& handlers, Tls tls = {});
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

  private:
    struct Waiting {
        Poco::Net::StreamSocket socket;
        std::unique_ptr<TlsConnection> tls;  ///< null: in the clear; else `socket` is none yet
        Network client;  ///< who it is, as far as one closes for another: an address, of IPv6 the /64
        Clock::time_point until;

        int descriptor() const { return tls ? tls->descriptor() : socket.impl()->sockfd(); }
    };
    using WaitingList = std::list<Waiting>;
    enum class Head : std::uint8_t { Incomplete, Complete, Probe, TooLong, Malformed, Gone };

    void watch();
    void accept();
    void look(WaitingList::iterator waiting);
    Head headOf(const Poco::Net::StreamSocket& socket);
    static Head headOf(TlsConnection& connection);
    static Head headOf(std::string_view text) noexcept;
    Poco::Net::StreamSocket acceptConnection(std::unique_ptr<TlsConnection>& tls);
    void drop(WaitingList::iterator waiting);
    WaitingList::iterator oneTooMany();
    int enforceLimits();
    void work();
    void serve(const Poco::Net::StreamSocket& socket);
    void wake() noexcept;
    void limitPeer(Clock::time_point until);

    Poco::Net::ServerSocket socket_;
    Tls tls_;
    Poco::Net::HTTPServerParams::Ptr params_;
    Poco::Net::HTTPRequestHandlerFactory::Ptr handlers_;
    int epoll_;
    int wake_fd_;
    std::vector<char> head_;

    // The watching thread's own.
    WaitingList waiting_;  ///< the oldest first
    std::map<int, WaitingList::iterator> by_descriptor_;

    std::mutex mutex_;  ///< everything below
    std::condition_variable changed_;
    bool stopping_ = false;
    /// Moved from thread to thread: no two threads hold the same socket, whatever Poco's reference counts say.
    std::deque<std::unique_ptr<Poco::Net::StreamSocket>> ready_;
    struct Served {
        int handle;  ///< a descriptor of its own: the connection's may be closed, and its number taken
        Clock::time_point until;
    };
    std::map<std::thread::id, Served> served_;

    std::vector<std::thread> threads_;
};

}  // namespace mailgate::http
