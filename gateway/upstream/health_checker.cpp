#include "gateway/upstream/health_checker.h"

#include "gateway/net/socket_address.h"
#include "protocols/health_dialogue.h"
#include "protocols/proxy/encoder.h"

#include <poll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <new>
#include <optional>
#include <system_error>
#include <utility>

namespace mailgate {
namespace {

// In doubt a server is asked more often: one that answers at once that it is down every second, so that a
// restart is seen; one that has begun to answer, so that it gets its sessions back within a second.
constexpr Millis kDownInterval = 1'000;
constexpr Millis kRisingInterval = 200;
// How long the server may take to close after our end of file.
constexpr Millis kEndLimit = 1'000;
// postscreen's teaser: the greeting has begun and the rest comes when postscreen_greet_wait (6 s) is over.
constexpr Millis kTeaserLimit = 15'000;
// How often the pools are asked for new endpoints.
constexpr Millis kRefreshInterval = 500;

Millis monotonic() {
    return std::chrono::duration_cast<std::chrono::milliseconds>(
               std::chrono::steady_clock::now().time_since_epoch())
        .count();
}

std::string describeError(int error) {
    std::string text = std::generic_category().message(error);
    if (!text.empty() && text[0] >= 'A' && text[0] <= 'Z') text[0] = static_cast<char>(text[0] - 'A' + 'a');
    return text;
}

std::string checkHeader(SendProxy dialect, int fd, const Endpoint& server) {
    switch (dialect) {
        case SendProxy::Off:
            return {};
        case SendProxy::V2:
            return proxy::encodeLocal();
        case SendProxy::V1:
            break;
    }
    sockaddr_storage own{};
    socklen_t size = sizeof own;
    ::getsockname(fd, reinterpret_cast<sockaddr*>(&own), &size);
    return proxy::encodeV1({SocketAddress::toEndpoint(own), server});
}

}  // namespace

/// One conversation, from connect() to the last byte.
class HealthChecker::Check {
  public:
    struct Outcome {
        bool good = false;
        bool slow = false;  ///< it took the time-out to find out
        std::string reason;
    };

    Check(const UpstreamConfig& upstream, const Endpoint& server, const std::string& name, Millis now)
        : upstream_(upstream), server_(server), dialogue_(upstream.check_protocol, name) {
        const SocketAddress address(server);
        fd_ = ::socket(address.family(), SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
        if (fd_ < 0) return;
        extend(now);
        if (::connect(fd_, address.get(), address.size()) == 0)
            connected(now);
        else if (errno != EINPROGRESS)
            unreachable(describeError(errno), false);
    }
    ~Check() {
        if (fd_ >= 0) ::close(fd_);
    }
    Check(const Check&) = delete;
    Check& operator=(const Check&) = delete;

    pollfd interest() const noexcept {
        return {fd_, static_cast<short>(state_ == State::Connecting ? POLLOUT : POLLIN), 0};
    }
    Millis deadline() const noexcept { return deadline_; }
    bool over() const noexcept { return fd_ < 0 || state_ == State::Over; }
    /// Once, when it is known.
    std::optional<Outcome> takeOutcome() { return std::exchange(outcome_, std::nullopt); }

    void onReady(Millis now) {
        switch (state_) {
            case State::Connecting:
                return finishConnecting(now);
            case State::Talking:
            case State::Ending:
                return read(now);
            case State::Over:
                return;
        }
    }

    void onDeadline(Millis now) {
        switch (state_) {
            case State::Connecting:
                return unreachable("no answer to the connection attempt", true);
            case State::Talking:
                decide({false, true,
                        talked_ ? "stopped answering"
                                : "took the connection but sent no greeting (are all its processes busy?)"});
                return end(now);
            case State::Ending:
            case State::Over:
                state_ = State::Over;
                return;
        }
    }

    /// No more than the goodbye.
    void hurry(Millis now) {
        if (state_ == State::Connecting)
            state_ = State::Over;
        else
            deadline_ = std::min(deadline_, now + kEndLimit);
    }

  private:
    enum class State : std::uint8_t { Connecting, Talking, Ending, Over };

    void extend(Millis now) {
        const Millis limit = upstream_.check_timeout.count();
        deadline_ = now + (dialogue_.teasing() ? std::max(limit, kTeaserLimit) : limit);
    }

    /// The first verdict stands.
    void decide(Outcome outcome) {
        if (!std::exchange(decided_, true)) outcome_ = std::move(outcome);
    }

    void unreachable(std::string reason, bool slow) {
        decide({false, slow, std::move(reason)});
        state_ = State::Over;
    }

    void finishConnecting(Millis now) {
        int error = 0;
        socklen_t size = sizeof error;
        ::getsockopt(fd_, SOL_SOCKET, SO_ERROR, &error, &size);
        if (error != 0) return unreachable(describeError(error), false);
        connected(now);
    }

    void connected(Millis now) {
        state_ = State::Talking;
        // One send, as for sessions: servers refuse a header in two segments.
        const std::string header = checkHeader(upstream_.send_proxy, fd_, server_);
        if (!header.empty() && !send(header, now)) return;
        extend(now);
        take(dialogue_.open(), now);
    }

    bool send(const std::string& bytes, Millis now) {
        const ssize_t sent = ::send(fd_, bytes.data(), bytes.size(), MSG_NOSIGNAL);
        if (sent == static_cast<ssize_t>(bytes.size())) return true;
        decide({false, false, sent < 0 ? describeError(errno) : "did not take a whole line"});
        end(now);
        return false;
    }

    void take(const HealthDialogue::Step& step, Millis now) {
        if (step.decided) decide({dialogue_.good(), false, dialogue_.reason()});
        if (!step.say.empty() && !send(step.say, now)) return;
        if (step.done) end(now);
    }

    void read(Millis now) {
        std::array<char, 4096> buffer;
        while (true) {
            const ssize_t got = ::recv(fd_, buffer.data(), buffer.size(), 0);
            if (got < 0 && errno == EINTR) continue;
            if (got < 0 && errno == EAGAIN) return;
            if (got <= 0) return closed(got == 0 ? 0 : errno);
            if (state_ != State::Talking) continue;
            talked_ = true;
            take(dialogue_.hear({buffer.data(), static_cast<std::size_t>(got)}), now);
            if (state_ == State::Talking) extend(now);
        }
    }

    void closed(int error) {
        if (state_ == State::Talking) {
            if (error != 0)
                decide({false, false,
                        talked_ ? "reset the connection after its greeting"
                                : "reset the connection without a greeting"});
            dialogue_.ended();
            decide({dialogue_.good(), false, dialogue_.reason()});
        }
        state_ = State::Over;
    }

    // Our end of file; what the server still says is read, because closing over it would be a reset.
    void end(Millis now) {
        if (state_ == State::Over) return;
        state_ = State::Ending;
        deadline_ = now + kEndLimit;
        ::shutdown(fd_, SHUT_WR);
    }

    const UpstreamConfig& upstream_;
    Endpoint server_;
    HealthDialogue dialogue_;
    int fd_ = -1;
    State state_ = State::Connecting;
    Millis deadline_ = 0;
    bool talked_ = false;
    bool decided_ = false;
    std::optional<Outcome> outcome_;
};

HealthChecker::HealthChecker(const std::vector<UpstreamPool*>& pools, std::string name)
    : name_(std::move(name)),
      random_(std::random_device{}()),
      wake_fd_(::eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC)) {
    if (wake_fd_ < 0) throw std::system_error(errno, std::generic_category(), "eventfd");
    for (UpstreamPool* pool : pools) {
        if (!pool->config().check) continue;
        pools_.push_back(pool);
        pool->watch([this] { wake(); });
    }
}

HealthChecker::~HealthChecker() {
    stop();
    ::close(wake_fd_);
}

void HealthChecker::start() {
    if (!pools_.empty()) thread_ = std::thread([this] { run(); });
}

void HealthChecker::stop() {
    stopping_ = true;
    wake();
    if (thread_.joinable()) thread_.join();
    for (UpstreamPool* pool : pools_)
        pool->watch(nullptr);
    pools_.clear();
}

void HealthChecker::wake() noexcept {
    // A full counter is a wake-up that is already on its way.
    [[maybe_unused]] const int ignored = ::eventfd_write(wake_fd_, 1);
}

void HealthChecker::run() {
    while (!stopping_) {
        const Millis now = monotonic();
        if (now - refreshed_ >= kRefreshInterval) refreshTargets(now);
        try {
            startDue(now);
            await(now);
        } catch (const std::bad_alloc&) {
            ::poll(nullptr, 0, static_cast<int>(kRisingInterval));  // there may be memory then
        }
    }
    for (Target& target : targets_) {
        if (target.check) target.check->hurry(monotonic());
        target.due = INT64_MAX;
    }
    while (std::any_of(targets_.begin(), targets_.end(),
                       [](const Target& target) { return target.check != nullptr; }))
        await(monotonic());
}

// An endpoint that is gone takes its check with it: the server is asked nothing more, and hears an end of
// file.
void HealthChecker::refreshTargets(Millis now) {
    refreshed_ = now;
    std::vector<Target> next;
    for (UpstreamPool* pool : pools_) {
        for (const auto& endpoint : pool->endpoints()) {
            const auto known = std::find_if(targets_.begin(), targets_.end(), [&](const Target& target) {
                return target.endpoint == endpoint && target.pool == pool;
            });
            next.push_back(known == targets_.end() ? Target{pool, endpoint, now, nullptr}
                                                   : std::move(*known));
        }
    }
    targets_ = std::move(next);
}

void HealthChecker::startDue(Millis now) {
    for (Target& target : targets_) {
        if (target.check || target.due > now) continue;
        target.check = std::make_unique<Check>(target.pool->config(), target.endpoint->endpoint, name_, now);
        settle(target, now);
    }
}

void HealthChecker::await(Millis now) {
    Millis next = now + kRefreshInterval;
    std::vector<pollfd> watched{{wake_fd_, POLLIN, 0}};
    for (const Target& target : targets_) {
        next = std::min(next, target.check ? target.check->deadline() : target.due);
        if (target.check) watched.push_back(target.check->interest());
    }
    ::poll(watched.data(), watched.size(), static_cast<int>(std::max<Millis>(next - now, 0)));
    now = monotonic();
    eventfd_t alarms = 0;
    const bool alarmed = ::eventfd_read(wake_fd_, &alarms) == 0;
    std::size_t at = 0;
    for (Target& target : targets_) {
        if (target.check) {
            if (watched[++at].revents != 0) target.check->onReady(now);
            if (!target.check->over() && now >= target.check->deadline()) target.check->onDeadline(now);
            settle(target, now);
        } else if (alarmed && target.endpoint->health == Health::Down) {
            target.due = std::min(target.due, now + kDownInterval);
        }
    }
}

void HealthChecker::settle(Target& target, Millis now) {
    if (const auto outcome = target.check->takeOutcome()) {
        if (outcome->good)
            target.pool->checkPassed(*target.endpoint, now);
        else
            target.pool->checkFailed(*target.endpoint, outcome->reason);
        target.due = stopping_ ? INT64_MAX : now + delayAfter(target, outcome->slow);
    }
    if (!target.check->over()) return;
    // Without an outcome there was no descriptor for it, which says nothing about the server.
    target.due = std::max(target.due, now + kRisingInterval);
    target.check.reset();
}

Millis HealthChecker::delayAfter(const Target& target, bool slow_failure) {
    const Millis interval = target.pool->config().interval.count();
    const ServerEndpoint& endpoint = *target.endpoint;
    if (endpoint.health != Health::Down)
        return endpoint.failures == 0 ? jitter(interval) : std::min(interval, kDownInterval);
    if (endpoint.successes > 0) return std::min(interval, kRisingInterval);
    // Each check of a mute server is a connection more that waits for it to wake up.
    return slow_failure ? jitter(interval) : std::min(interval, kDownInterval);
}

Millis HealthChecker::jitter(Millis interval) {
    return interval + std::uniform_int_distribution<Millis>(-interval / 10, interval / 10)(random_);
}

}  // namespace mailgate
