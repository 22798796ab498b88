// SPDX-License-Identifier: Apache-2.0
#include "gateway/http/server.h"

#include "gateway/base/descriptor.h"
#include "gateway/http/fair_places.h"
#include "gateway/io/socket_address.h"
#include "protocols/values/network.h"

#include <Poco/ErrorHandler.h>
#include <Poco/Net/HTTPRequestHandler.h>
#include <Poco/Net/HTTPServerConnection.h>
#include <Poco/Net/HTTPServerRequest.h>
#include <Poco/Net/HTTPServerResponse.h>
#include <Poco/Net/NetException.h>
#include <Poco/Net/StreamSocketImpl.h>
#include <fmt/format.h>

#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <string_view>
#include <system_error>
#include <utility>

namespace mailgate::http {
namespace {

namespace net = Poco::Net;

const Poco::Timespan kPeerPause(std::chrono::microseconds(Server::kPauseLimit).count());

/// All peers of a Unix socket are one.
IpAddress peerOf(int connection) noexcept {
    sockaddr_storage peer{};
    socklen_t size = sizeof peer;
    ::getpeername(connection, reinterpret_cast<sockaddr*>(&peer), &size);
    return SocketAddress::toEndpoint(peer).address;
}

constexpr unsigned kClientPrefix = 64,
                   kSitePrefix = 48;  // of IPv6: a customer's network, and what a customer may have

/// Who is one with `address`: of IPv4 that alone.
Network around(const IpAddress& address, unsigned v6_prefix) noexcept {
    return address.isV4() ? Network{address.bytes, 128} : networkAround(address.bytes, v6_prefix);
}

std::vector<Holder> holdersOf(const std::vector<IpAddress>& addresses) {
    std::vector<Holder> holders;
    holders.reserve(addresses.size());
    for (const IpAddress& address : addresses)
        holders.push_back({address});
    return holders;
}

net::HTTPServerParams::Ptr serverParams() {
    net::HTTPServerParams::Ptr params = new net::HTTPServerParams;
    params->setTimeout(kPeerPause);
    params->setKeepAlive(false);  // a connection that waits would keep a thread
    params->setSoftwareVersion("mailgate");
    return params;
}

int checked(int fd, const char* what) {
    if (fd < 0) throw std::system_error(errno, std::generic_category(), what);
    return fd;
}

int descriptorOf(const net::Socket& socket) {
    return socket.impl()->sockfd();
}

Descriptor duplicateOf(const net::Socket& socket) {
    return Descriptor(::fcntl(descriptorOf(socket), F_DUPFD_CLOEXEC, 0));
}

/// Whether there are as many as serving a request takes.
bool hasSpareDescriptors(int connection) noexcept {
    std::array<Descriptor, Server::kSpareDescriptors> spare;
    return std::all_of(spare.begin(), spare.end(), [&](Descriptor& one) {
        one = Descriptor(::fcntl(connection, F_DUPFD_CLOEXEC, 0));
        return one.get() >= 0;
    });
}

/// A peer that takes nothing, or little at a time, gets the answer from the kernel, which forgets it after a while; best effort.
void takeAnswers(int connection) noexcept {
    const int size = Server::kSendBuffer;
    ::setsockopt(connection, SOL_SOCKET, SO_SNDBUF, &size, sizeof size);
    const auto limit = static_cast<unsigned>(std::chrono::milliseconds(Server::kPeerLimit).count());
    ::setsockopt(connection, IPPROTO_TCP, TCP_USER_TIMEOUT, &limit, sizeof limit);
}

bool isForApi(const RequestHead& request) noexcept {
    return request.target.starts_with("/api/");
}

bool isShortage(int error) noexcept {
    return error == EMFILE || error == ENFILE || error == ENOBUFS || error == ENOMEM;
}

/// Poco would ask for a body before anybody has looked at the request: who reads it does (body.cpp).
class Unasked final : public net::HTTPRequestHandlerFactory {
  public:
    explicit Unasked(net::HTTPRequestHandlerFactory::Ptr handlers) : handlers_(std::move(handlers)) {}

    net::HTTPRequestHandler* createRequestHandler(const net::HTTPServerRequest& request) override {
        auto handler = std::make_unique<Handler>(handlers_->createRequestHandler(request));
        request.response().setStatus(net::HTTPResponse::HTTP_CONTINUE);
        return handler.release();
    }

  private:
    class Handler final : public net::HTTPRequestHandler {
      public:
        explicit Handler(net::HTTPRequestHandler* handler) : handler_(handler) {}
        void handleRequest(net::HTTPServerRequest& request, net::HTTPServerResponse& response) override {
            response.setStatus(net::HTTPResponse::HTTP_OK);
            handler_->handleRequest(request, response);
        }

      private:
        const std::unique_ptr<net::HTTPRequestHandler> handler_;
    };

    net::HTTPRequestHandlerFactory::Ptr handlers_;
};

}  // namespace

/// What the waiting thread answers itself: a line, or to programs a problem document (RFC 9457), as the API has them.
struct Server::Refusal {
    int status;
    std::string_view code, detail;
    unsigned retry_after = 0;  ///< seconds; 0: trying again is of no use

    std::string text(bool is_for_api) const {
        const std::string& title =
            net::HTTPResponse::getReasonForStatus(static_cast<net::HTTPResponse::HTTPStatus>(status));
        const std::string body = is_for_api ? fmt::format(
                                                  "{{\"type\":\"about:blank\",\"title\":\"{}\",\"status\":{},"
                                                  "\"code\":\"{}\",\"detail\":\"{}\"}}\n",
                                                  title, status, code, detail)
                                            : fmt::format("{}\n", detail);
        return fmt::format(
            "HTTP/1.1 {} {}\r\nContent-Type: {}\r\n{}Content-Length: {}\r\nConnection: close\r\n\r\n{}",
            status, title, is_for_api ? "application/problem+json" : "text/plain",
            retry_after > 0 ? fmt::format("Retry-After: {}\r\n", retry_after) : "", body.size(), body);
    }
};

Server::Server(const net::ServerSocket& socket, const Handlers& handlers, Options options)
    : socket_(socket),
      options_(std::move(options)),
      params_(serverParams()),
      handlers_(new Unasked(handlers(*this))),
      epoll_(checked(::epoll_create1(EPOLL_CLOEXEC), "epoll_create1")),
      wake_fd_(::eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC)),
      head_(kMaxHead + kMaxSmallBody) {
    // Between an event and accept() the peer may be gone.
    ::fcntl(descriptorOf(socket_), F_SETFL, ::fcntl(descriptorOf(socket_), F_GETFL) | O_NONBLOCK);
    for (const int fd : {wake_fd_, descriptorOf(socket_)}) {
        epoll_event event{};
        event.events = EPOLLIN;
        event.data.fd = fd;
        if (fd >= 0 && ::epoll_ctl(epoll_, EPOLL_CTL_ADD, fd, &event) == 0) continue;
        const int error = errno;
        ::close(epoll_);
        if (wake_fd_ >= 0) ::close(wake_fd_);
        throw std::system_error(error, std::generic_category(), "epoll_ctl");
    }
}

Server::~Server() {
    stop();
    ::close(epoll_);
    ::close(wake_fd_);
}

void Server::start() {
    threads_.emplace_back([this] { watch(); });
    for (unsigned i = 0; i < kThreads; ++i)
        threads_.emplace_back([this] { work(usual_); });
    for (unsigned i = 0; i < kBodyThreads; ++i)
        threads_.emplace_back([this] { work(bodies_); });
    for (unsigned i = 0; options_.slow_client && i < kSlowThreads; ++i)
        threads_.emplace_back([this] { work(slow_); });
}

void Server::stop() {
    {
        const std::lock_guard lock(mutex_);
        stopping_ = true;
        usual_.ready.clear();
        bodies_.ready.clear();
        slow_.ready.clear();
        answered_.clear();
        // Nothing more is read; the answer to a request under way may still go out.
        for (const auto& [thread, served] : served_)
            ::shutdown(served.handle, SHUT_RD);
    }
    usual_.changed.notify_all();
    bodies_.changed.notify_all();
    slow_.changed.notify_all();
    wake();
    for (std::thread& thread : threads_)
        thread.join();
    threads_.clear();
    by_descriptor_.clear();
    waiting_.clear();
    ending_by_descriptor_.clear();
    ending_.clear();
    answered_.clear();  // by requests that were under way
    socket_.close();
}

void Server::wake() noexcept {
    [[maybe_unused]] const int ignored = ::eventfd_write(wake_fd_, 1);
}

// ---- those who have not asked yet

void Server::watch() {
    while (true) {
        std::array<epoll_event, 64> events;
        const int count = ::epoll_wait(epoll_, events.data(), events.size(), enforceLimits());
        {
            const std::lock_guard lock(mutex_);
            if (stopping_) return;
        }
        eventfd_t wakes = 0;
        [[maybe_unused]] const int ignored = ::eventfd_read(wake_fd_, &wakes);
        try {
            takeEnding();
            bool is_asked = false;
            for (int i = 0; i < count; ++i) {
                const epoll_event& event = events[static_cast<std::size_t>(i)];
                const int fd = event.data.fd;
                const auto waiting = by_descriptor_.find(fd);
                const auto ending = ending_by_descriptor_.find(fd);
                if (waiting != by_descriptor_.end())
                    look(waiting->second, (event.events & EPOLLRDHUP) != 0 ? Still::Ended : Still::Comes);
                else if (ending != ending_by_descriptor_.end())
                    throwAway(ending->second);
                else if (fd == descriptorOf(socket_))
                    is_asked = true;
            }
            // Last: it may close some of these, and give their numbers to others.
            if (is_asked) accept();
        } catch (const std::exception& error) {
            Poco::ErrorHandler::handle(error);
        }
    }
}

/// Closes what is beyond its limit; returns how long to wait for the next, in milliseconds.
int Server::enforceLimits() {
    const Clock::time_point now = Clock::now();
    while (!waiting_.empty() && waiting_.front().until <= now)
        giveUp();
    while (!ending_.empty() && ending_.front().until <= now)
        drop(ending_.begin());
    if (paused_until_ <= now) resume();
    Clock::time_point next =
        std::min(waiting_.empty() ? now + kHeadLimit : waiting_.front().until, paused_until_);
    if (!ending_.empty()) next = std::min(next, ending_.front().until);
    const std::lock_guard lock(mutex_);
    for (const auto& [thread, served] : served_) {
        if (served.until <= now)
            ::shutdown(served.handle, SHUT_RDWR);
        else
            next = std::min(next, served.until);
    }
    // Who was shut down is out of served_ soon.
    return static_cast<int>(std::chrono::ceil<std::chrono::milliseconds>(next - now).count());
}

/// As many as there are, up to what may wait: then it is others' turn.
void Server::accept() {
    for (std::size_t accepted = 0; accepted < kMaxConnections; ++accepted) {
        const int fd = ::accept4(descriptorOf(socket_), nullptr, nullptr, SOCK_CLOEXEC);
        if (fd < 0) {
            // Without a descriptor left that is said though nobody may be there.
            if (isShortage(errno) && accepted == 0) pause(errno);
            return;  // else nobody is there, or gone again
        }
        if (std::exchange(told_of_pause_, false) && options_.on_paused) options_.on_paused(0);
        if (!options_.tls) {
            await(net::StreamSocket(new net::StreamSocketImpl(fd)), nullptr);
            continue;
        }
        ::fcntl(fd, F_SETFL, ::fcntl(fd, F_GETFL) | O_NONBLOCK);
        if (auto tls = TlsConnection::accept(fd, options_.tls())) await(net::StreamSocket(), std::move(tls));
    }
}

/// The kernel goes on telling of clients that cannot be accepted.
void Server::pause(int error) {
    ::epoll_ctl(epoll_, EPOLL_CTL_DEL, descriptorOf(socket_), nullptr);
    paused_until_ = Clock::now() + kPause;
    if (!std::exchange(told_of_pause_, true) && options_.on_paused) options_.on_paused(error);
}

void Server::resume() {
    epoll_event event{};
    event.events = EPOLLIN;
    event.data.fd = descriptorOf(socket_);
    const bool is_watched = ::epoll_ctl(epoll_, EPOLL_CTL_ADD, event.data.fd, &event) == 0;
    paused_until_ = is_watched ? Clock::time_point::max() : Clock::now() + kPause;
}

/// Where TLS is spoken, the connection is `tls`'s.
void Server::await(const net::StreamSocket& socket, std::unique_ptr<TlsConnection> tls) {
    if (waiting_.size() >= kMaxConnections) drop(oneTooMany());
    const IpAddress peer = peerOf(tls ? tls->descriptor() : descriptorOf(socket));
    waiting_.push_back({socket, std::move(tls), peer, Clock::now() + kHeadLimit});
    const int fd = waiting_.back().descriptor();
    const auto added = std::prev(waiting_.end());
    by_descriptor_[fd] = added;
    epoll_event event{};
    event.events = EPOLLIN | EPOLLRDHUP | EPOLLET;
    event.data.fd = fd;
    if (::epoll_ctl(epoll_, EPOLL_CTL_ADD, fd, &event) != 0) drop(added);
}

void Server::look(WaitingList::iterator waiting, Still still) {
    const Seen seen =
        waiting->tls ? headOf(*waiting->tls, waiting->peer) : headOf(waiting->socket, waiting->peer);
    if (seen.has_ended && still == Still::Comes) still = Still::Ended;
    if (seen.head == Head::Incomplete || seen.head == Head::Unaccompanied) {
        if (still == Still::Comes) return;
        if (seen.head == Head::Incomplete) return drop(waiting);
    }
    const int fd = waiting->descriptor();
    ::epoll_ctl(epoll_, EPOLL_CTL_DEL, fd, nullptr);
    by_descriptor_.erase(fd);
    Ready ready;
    ready.socket = std::make_unique<net::StreamSocket>(
        waiting->tls ? socketOver(std::move(waiting->tls), static_cast<int>(kPeerPause.totalMilliseconds()))
                     : waiting->socket);
    ready.peer = waiting->peer;
    ready.has_body = seen.has_body;
    ready.slow_client = seen.slow_client;
    ready.account = seen.account;
    waiting_.erase(waiting);
    const auto refuseWith = [&](const Refusal& refusal) { refuse(*ready.socket, refusal, seen.is_for_api); };
    if (seen.head != Head::Gone && !hasSpareDescriptors(fd)) {
        tellOfExhaustion();
        return refuseWith({503, "exhausted", "The gateway has hardly any descriptors left just now", 1});
    }
    switch (seen.head) {
        case Head::Probe:
            return serve(ready, nullptr);
        case Head::TooLong:
            return refuseWith({431, "head_too_long", "The head of the request is too long"});
        case Head::Malformed:
            return refuseWith({400, "malformed", "This is no well-formed request of HTTP/1.0 or 1.1"});
        case Head::Unaccompanied:
            if (still == Still::TooLate) return refuseWith({408, "incomplete_body", kBodyLate});
            return refuseWith({400, "incomplete_body", kBodyCutShort});
        case Head::Complete:
        case Head::AwaitsBody: {
            std::unique_lock lock(mutex_);
            if (seen.head == Head::AwaitsBody && hasTooManyBodies(ready)) {
                lock.unlock();
                return refuseWith(
                    {503, "busy", "too many requests of yours are being sent: send one after the other", 2});
            }
            Lane& lane = laneFor(seen.head, ready);
            return add(lane, std::move(ready));
        }
        case Head::Incomplete:
        case Head::Gone:
            return;
    }
}

Server::Lane& Server::laneFor(Head head, Ready& ready) {
    if (head == Head::AwaitsBody) return bodies_;
    if (ready.slow_client && makeRoomFor(*ready.slow_client)) return slow_;
    ready.slow_client.reset();
    return usual_;
}

void Server::add(Lane& lane, Ready ready) {
    if (lane.ready.size() >= kMaxConnections) {
        std::vector<Holder> holders;
        for (const Ready& waiting : lane.ready)
            holders.push_back({waiting.peer, waiting.account.name});
        lane.ready.erase(lane.ready.begin() + static_cast<std::ptrdiff_t>(whoHasMost(holders)));
    }
    lane.ready.push_back(std::move(ready));
    lane.changed.notify_one();
}

std::vector<IpAddress> Server::slowWaiting() const {
    std::vector<IpAddress> clients;
    for (const Ready& waiting : slow_.ready)
        clients.push_back(waiting.slow_client->address);
    return clients;
}

std::vector<IpAddress> Server::slowServed() const {
    std::vector<IpAddress> clients;
    for (const auto& [thread, served] : served_)
        if (served.slow_client) clients.push_back(served.slow_client->address);
    return clients;
}

/// Who has to give way is answered by the threads that refuse.
bool Server::makeRoomFor(const SlowClient& client) {
    const auto waiting = slowWaiting(), served = slowServed();
    const auto of = [&](unsigned v6_prefix) {
        const Network circle = around(client.address, v6_prefix);
        const auto is_in = [&](const IpAddress& other) { return circle.contains(other.bytes); };
        return static_cast<std::size_t>(std::count_if(waiting.begin(), waiting.end(), is_in) +
                                        std::count_if(served.begin(), served.end(), is_in));
    };
    if (of(kClientPrefix) >= kMaxSlowOfClient) return false;
    if (!client.is_known && of(kSitePrefix) >= kMaxSlowOfSite) return false;
    if (waiting.size() < kMaxSlow) return true;
    // Among those that are not known; who is known has its place as if it were served.
    std::vector<IpAddress> unknown, others = served;
    std::vector<std::size_t> places;
    for (std::size_t at = 0; at < slow_.ready.size(); ++at) {
        const SlowClient& one = *slow_.ready[at].slow_client;
        (one.is_known ? others : unknown).push_back(one.address);
        if (!one.is_known) places.push_back(at);
    }
    if (unknown.empty()) return false;
    auto giving_way = whoGivesWay(unknown, others, client.address);
    if (!giving_way && client.is_known) giving_way = whoHasMost(holdersOf(unknown));
    if (!giving_way) return false;
    const auto place = slow_.ready.begin() + static_cast<std::ptrdiff_t>(places[*giving_way]);
    Ready refused = std::move(*place);
    slow_.ready.erase(place);
    refused.slow_client.reset();
    add(usual_, std::move(refused));
    return true;
}

/// Whether one client has sent both: an account, or an address that is no proxy's.
template <typename One, typename Other>
bool isOfSameClient(const One& one, const Other& other) {
    if (!one.account.name.empty() && one.account.name == other.account.name) return true;
    return !one.account.is_behind_proxy && !other.account.is_behind_proxy &&
           around(one.peer, kClientPrefix).contains(other.peer.bytes);
}

/// Where requests take long, whoever sends them, or whoever reads the answers, leaves a thread for others.
bool Server::mayBeServed(const Lane& lane, const Ready& ready) const {
    if (ready.peer == IpAddress{}) return true;  // a Unix socket: all are one, and there are no others
    const auto same = std::count_if(served_.begin(), served_.end(), [&](const auto& one) {
        return one.second.lane == &lane && isOfSameClient(ready, one.second);
    });
    return static_cast<std::size_t>(same) < lane.most_of_client;
}

bool Server::hasTooManyBodies(const Ready& ready) const {
    if (ready.peer == IpAddress{}) return false;
    const auto same =
        std::ranges::count_if(bodies_.ready, [&](const Ready& one) { return isOfSameClient(ready, one); });
    return static_cast<std::size_t>(same) >= kMaxBodiesWaiting;
}

std::size_t Server::nextSlow() const {
    const auto known =
        std::ranges::find_if(slow_.ready, [](const Ready& one) { return one.slow_client->is_known; });
    if (known != slow_.ready.end()) return static_cast<std::size_t>(known - slow_.ready.begin());
    return whoIsNext(slowWaiting(), slowServed());
}

/// None: whoever waits there has as many threads as may be.
std::optional<Server::Ready> Server::takeFrom(Lane& lane) {
    auto place = lane.ready.begin();
    if (lane.ready.empty()) return std::nullopt;
    if (&lane == &slow_)
        place += static_cast<std::ptrdiff_t>(nextSlow());
    else
        place = std::ranges::find_if(lane.ready, [&](const Ready& one) { return mayBeServed(lane, one); });
    if (place == lane.ready.end()) return std::nullopt;
    Ready ready = std::move(*place);
    lane.ready.erase(place);
    return ready;
}

Server::Seen Server::headOf(const net::StreamSocket& socket, const IpAddress& peer) {
    const ssize_t got = ::recv(descriptorOf(socket), head_.data(), head_.size(), MSG_PEEK | MSG_DONTWAIT);
    if (got < 0) return {errno == EAGAIN || errno == EINTR ? Head::Incomplete : Head::Gone};
    if (got == 0) return {Head::Gone};
    return headOf(std::string_view(head_.data(), static_cast<std::size_t>(got)), peer);
}

Server::Seen Server::headOf(TlsConnection& connection, const IpAddress& peer) {
    const bool goes_on = connection.advance(kMaxHead + kMaxSmallBody);
    Seen seen = headOf(connection.received(), peer);
    if (!goes_on && seen.head != Head::Unaccompanied) return {Head::Gone};
    seen.has_ended = connection.hasEnded();
    if (seen.head == Head::Probe) seen.head = Head::Complete;  // its answer may have to wait
    return seen;
}

Server::Seen Server::headOf(std::string_view text, const IpAddress& peer) const {
    const RequestHead request = readHead(text, kMaxHead, kMaxSmallBody);
    switch (request.state) {
        case RequestState::Malformed:
            return {.head = Head::Malformed, .is_for_api = isForApi(request)};
        case RequestState::TooLong:
            return {.head = Head::TooLong, .is_for_api = isForApi(request)};
        case RequestState::Whole:
            return ofWhole(request, peer);
        case RequestState::Unaccompanied:
            return {.head = Head::Unaccompanied, .is_for_api = isForApi(request)};
        case RequestState::Incomplete:
            break;
    }
    return {Head::Incomplete};
}

Server::Seen Server::ofWhole(const RequestHead& request, const IpAddress& peer) const {
    if (isProbe(request)) return {Head::Probe};
    Account account = options_.account ? options_.account(request, peer) : Account();
    if (request.awaits_body)
        return {Head::AwaitsBody, true, std::nullopt, std::move(account), isForApi(request)};
    auto client = options_.slow_client ? options_.slow_client(request, peer) : std::nullopt;
    return {Head::Complete, request.has_body, client, std::move(account), isForApi(request)};
}

/// Who opens many closes its own, and not those of others. Whose it is behind a proxy is in the head, which is not here yet.
Server::WaitingList::iterator Server::oneTooMany() {
    std::vector<Holder> peers;
    for (const Waiting& waiting : waiting_)
        peers.push_back({waiting.peer});
    return std::next(waiting_.begin(), static_cast<std::ptrdiff_t>(whoHasMost(peers)));
}

/// The oldest, whose time is over: it is told so, if there is something to be said.
void Server::giveUp() {
    const std::size_t before = waiting_.size();
    try {
        look(waiting_.begin(), Still::TooLate);
    } catch (const std::exception& error) {
        Poco::ErrorHandler::handle(error);
    }
    if (waiting_.size() == before) drop(waiting_.begin());
}

void Server::drop(WaitingList::iterator waiting) {
    by_descriptor_.erase(waiting->descriptor());
    waiting_.erase(waiting);
}

// ---- those who have been answered

/// The first answer there is on a connection: the kernel has room for it, so it waits for nobody.
void Server::refuse(net::StreamSocket& socket, const Refusal& refusal, bool is_for_api) {
    const std::string response = refusal.text(is_for_api);
    Descriptor handle = duplicateOf(socket);
    // With nothing to wait by for the end, what is here must not be left unread: closing would take the answer back.
    if (handle.get() < 0) ::recv(descriptorOf(socket), head_.data(), head_.size(), MSG_DONTWAIT);
    try {
        socket.sendBytes(response.data(), static_cast<int>(response.size()));
        socket.shutdownSend();
        if (handle.get() >= 0) end(std::move(handle));
    } catch (const Poco::Exception&) {  // NOLINT(bugprone-empty-catch): the peer left, which is its right
    }
}

void Server::tellOfExhaustion() {
    {
        const std::lock_guard lock(mutex_);
        const auto now = Clock::now();
        if (now < exhausted_until_) return;
        exhausted_until_ = now + kExhaustedQuiet;
    }
    if (options_.on_exhausted) options_.on_exhausted();
}

void Server::takeEnding() {
    std::vector<Descriptor> answered;
    {
        const std::lock_guard lock(mutex_);
        answered.swap(answered_);
    }
    for (Descriptor& socket : answered)
        end(std::move(socket));
}

/// Closed once the peer has closed, and before long in any case.
void Server::end(Descriptor socket) {
    ::shutdown(socket.get(), SHUT_WR);
    if (ending_.size() >= kMaxEnding) drop(ending_.begin());
    const int fd = socket.get();
    ending_.push_back({std::move(socket), Clock::now() + kLastBytesLimit});
    const auto added = std::prev(ending_.end());
    ending_by_descriptor_[fd] = added;
    epoll_event event{};
    event.events = EPOLLIN | EPOLLRDHUP;
    event.data.fd = fd;
    if (fd < 0 || ::epoll_ctl(epoll_, EPOLL_CTL_ADD, fd, &event) != 0) drop(added);
}

/// One piece, and then it is others' turn.
void Server::throwAway(EndingList::iterator ending) {
    const ssize_t got = ::recv(ending->socket.get(), head_.data(), head_.size(), MSG_DONTWAIT);
    if (got < 0 && (errno == EAGAIN || errno == EINTR)) return;
    if (got <= 0 || static_cast<std::size_t>(got) >= ending->left) return drop(ending);
    ending->left -= static_cast<std::size_t>(got);
}

void Server::drop(EndingList::iterator ending) {
    ending_by_descriptor_.erase(ending->socket.get());
    ending_.erase(ending);
}

// ---- those who have

void Server::work(Lane& lane) {
    std::unique_lock lock(mutex_);
    while (true) {
        std::optional<Ready> ready;
        lane.changed.wait(lock, [&] { return stopping_ || (ready = takeFrom(lane)); });
        if (stopping_) return;
        // It has its place before anybody else counts them; serve() says the rest.
        served_[std::this_thread::get_id()] = {-1,          Clock::time_point::max(), &lane,
                                               ready->peer, ready->slow_client,       ready->account};
        lock.unlock();
        serve(*ready, &lane);
        ready.reset();
        lock.lock();
        lane.changed.notify_one();  // who has waited for this client's place
    }
}

void Server::serve(const Ready& ready, const Lane* lane) {
    const net::StreamSocket& socket = *ready.socket;
    Descriptor handle = duplicateOf(socket);
    {
        const std::lock_guard lock(mutex_);
        if (stopping_) return;
        served_[std::this_thread::get_id()] = {handle.get(), Clock::now() + kPeerLimit, lane,
                                               ready.peer,   ready.slow_client,         ready.account};
    }
    wake();
    try {
        takeAnswers(descriptorOf(socket));
        net::StreamSocket(socket).setSendTimeout(kPeerPause);
        net::HTTPServerConnection(socket, params_, handlers_).run();
        if (options_.tls) net::StreamSocket(socket).shutdownSend();  // close_notify: that was all
    } catch (const Poco::Exception& error) {
        // Else the peer left, which is its right.
        if (isShortage(error.code())) tellOfExhaustion();
    } catch (const std::exception& error) {
        Poco::ErrorHandler::handle(error);
    }
    const std::lock_guard lock(mutex_);
    served_.erase(std::this_thread::get_id());
    if (!ready.has_body || stopping_) return;
    answered_.push_back(std::move(handle));
    wake();
}

bool Server::mayTakeLong() {
    const std::lock_guard lock(mutex_);
    return served_.at(std::this_thread::get_id()).slow_client.has_value();
}

bool Server::hasPeerLeft() {
    const std::lock_guard lock(mutex_);
    if (stopping_) return false;  // what it has closed itself
    const Served& served = served_.at(std::this_thread::get_id());
    const bool is_unix = served.peer == IpAddress{};
    pollfd peer{served.handle, static_cast<short>(is_unix ? 0 : POLLRDHUP), 0};
    return ::poll(&peer, 1, 0) > 0 && (peer.revents & (POLLRDHUP | POLLHUP | POLLERR)) != 0;
}

bool Server::isStopping() {
    const std::lock_guard lock(mutex_);
    return stopping_;
}

void Server::suspendPeerLimit() {
    limitPeer(Clock::time_point::max());
}

void Server::restartPeerLimit() {
    limitPeer(Clock::now() + kPeerLimit);
}

void Server::limitPeer(Clock::time_point until) {
    {
        const std::lock_guard lock(mutex_);
        served_.at(std::this_thread::get_id()).until = until;
    }
    wake();
}

}  // namespace mailgate::http
