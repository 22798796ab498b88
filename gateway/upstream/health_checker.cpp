// SPDX-License-Identifier: Apache-2.0
#include "gateway/upstream/health_checker.h"

#include "gateway/io/socket_address.h"
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

Endpoint localEnd(int fd) {
    sockaddr_storage own{};
    socklen_t size = sizeof own;
    ::getsockname(fd, reinterpret_cast<sockaddr*>(&own), &size);
    return SocketAddress::toEndpoint(own);
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
    return proxy::encodeV1({localEnd(fd), server});
}

}  // namespace

/// One conversation, from connect() to the last byte.
class HealthChecker::Check {
  public:
    struct Outcome {
        bool good = false;
        Millis waited = 0;  ///< in vain, for a time-out
        std::string reason;
    };

    Check(std::shared_ptr<const UpstreamPool> pool, const Endpoint& server, const Plan& plan, Millis now)
        : pool_(std::move(pool)),
          server_(server),
          name_(plan.name),
          connect_limit_(std::max(upstream().check_timeout, plan.connect).count()),
          step_limit_(std::max(upstream().check_timeout, plan.greeting).count()) {
        const SocketAddress address(server);
        fd_ = ::socket(address.family(), SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
        if (fd_ < 0) return;
        deadline_ = now + connect_limit_;
        if (::connect(fd_, address.get(), address.size()) == 0)
            connected(now);
        else if (errno != EINPROGRESS)
            unreachable(describeError(errno), 0);
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
                return unreachable("no answer to the connection attempt", connect_limit_);
            case State::Talking:
                decide({false, step_limit_,
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

    const UpstreamConfig& upstream() const noexcept { return pool_->config(); }

    void extend(Millis now) {
        deadline_ = now + (dialogue_->teasing() ? std::max(step_limit_, kTeaserLimit) : step_limit_);
    }

    /// The first verdict stands.
    void decide(Outcome outcome) {
        if (!std::exchange(decided_, true)) outcome_ = std::move(outcome);
    }

    void unreachable(std::string reason, Millis waited) {
        decide({false, waited, std::move(reason)});
        state_ = State::Over;
    }

    void finishConnecting(Millis now) {
        int error = 0;
        socklen_t size = sizeof error;
        ::getsockopt(fd_, SOL_SOCKET, SO_ERROR, &error, &size);
        if (error != 0) return unreachable(describeError(error), 0);
        connected(now);
    }

    void connected(Millis now) {
        state_ = State::Talking;
        dialogue_.emplace(upstream().check_protocol, heloName(name_, localEnd(fd_).address));
        // One send, as for sessions: servers refuse a header in two segments.
        const std::string header = checkHeader(upstream().send_proxy, fd_, server_);
        if (!header.empty() && !send(header, now)) return;
        extend(now);
        take(dialogue_->open(), now);
    }

    bool send(const std::string& bytes, Millis now) {
        const ssize_t sent = ::send(fd_, bytes.data(), bytes.size(), MSG_NOSIGNAL);
        if (sent == static_cast<ssize_t>(bytes.size())) return true;
        decide({false, 0, sent < 0 ? describeError(errno) : "did not take a whole line"});
        end(now);
        return false;
    }

    void take(const HealthDialogue::Step& step, Millis now) {
        if (step.decided) decide({dialogue_->good(), 0, dialogue_->reason()});
        if (!step.send.empty() && !send(step.send, now)) return;
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
            take(dialogue_->onBytes({buffer.data(), static_cast<std::size_t>(got)}), now);
            if (state_ == State::Talking) extend(now);
        }
    }

    void closed(int error) {
        if (state_ == State::Talking) {
            if (error != 0)
                decide({false, 0,
                        talked_ ? "reset the connection after its greeting"
                                : "reset the connection without a greeting"});
            dialogue_->onEnd();
            decide({dialogue_->good(), 0, dialogue_->reason()});
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

    // Of the plan that it was begun by.
    std::shared_ptr<const UpstreamPool> pool_;
    Endpoint server_;
    std::string name_;
    Millis connect_limit_;
    Millis step_limit_;
    std::optional<HealthDialogue> dialogue_;  ///< once connected
    int fd_ = -1;
    State state_ = State::Connecting;
    Millis deadline_ = 0;
    bool talked_ = false;
    bool decided_ = false;
    std::optional<Outcome> outcome_;
};

/// An eventfd that lives as long as a pool may ring it.
class HealthChecker::Alarm final : public CheckAlarm {
  public:
    Alarm() : fd_(::eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC)) {
        if (fd_ < 0) throw std::system_error(errno, std::generic_category(), "eventfd");
    }
    ~Alarm() override { ::close(fd_); }
    Alarm(const Alarm&) = delete;
    Alarm& operator=(const Alarm&) = delete;

    void ring() noexcept override {
        // A full counter is a wake-up that is already on its way.
        [[maybe_unused]] const int ignored = ::eventfd_write(fd_, 1);
    }
    pollfd interest() const noexcept { return {fd_, POLLIN, 0}; }
    void silence() noexcept {
        eventfd_t rings = 0;
        [[maybe_unused]] const int ignored = ::eventfd_read(fd_, &rings);
    }

  private:
    int fd_;
};

HealthChecker::HealthChecker() : alarm_(std::make_shared<Alarm>()), random_(std::random_device{}()) {
    thread_ = std::thread([this] { run(); });
}

HealthChecker::~HealthChecker() {
    stop();
}

void HealthChecker::follow(Plan plan) noexcept {
    for (const auto& pool : plan.pools)
        pool->watch(pool->config().check ? alarm_ : nullptr);
    {
        const std::lock_guard lock(mutex_);
        std::swap(plan_, plan);
        plan_changed_ = true;
    }
    alarm_->ring();
}

void HealthChecker::stop() {
    if (!thread_.joinable()) return;
    stopping_ = true;
    alarm_->ring();
    thread_.join();
    for (const auto& pool : plan_.pools)
        pool->watch(nullptr);
    plan_ = current_ = {};
    targets_.clear();
}

void HealthChecker::run() {
    while (!stopping_) {
        const Millis now = monotonic();
        try {
            if (now - refreshed_ >= kRefreshInterval || planChanged()) refreshTargets(now);
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

bool HealthChecker::planChanged() {
    const std::lock_guard lock(mutex_);
    return plan_changed_;
}

// An endpoint that is gone takes its check with it: the server is asked nothing more, and hears an end of
// file. One that a new plan treats in another way is asked anew.
void HealthChecker::refreshTargets(Millis now) {
    {
        const std::lock_guard lock(mutex_);
        if (plan_changed_) current_ = plan_;
        plan_changed_ = false;
    }
    std::vector<Target> next;
    for (const auto& pool : current_.pools) {
        if (!pool->config().check) continue;
        for (auto& endpoint : pool->endpoints())
            next.push_back({pool, std::move(endpoint), now, nullptr});
    }
    for (Target& target : next) {
        const auto known = std::find_if(targets_.begin(), targets_.end(), [&](const Target& before) {
            return before.endpoint == target.endpoint;
        });
        if (known == targets_.end()) continue;
        if (known->pool == target.pool || known->pool->config() == target.pool->config())
            target.due = known->due;
        target.check = std::move(known->check);
        target.extra = known->extra;
    }
    targets_ = std::move(next);
    refreshed_ = now;
}

void HealthChecker::startDue(Millis now) {
    for (Target& target : targets_) {
        if (target.check || target.due > now) continue;
        target.extra = target.extra == Target::Extra::Due ? Target::Extra::Made : Target::Extra::None;
        target.check = std::make_unique<Check>(target.pool, target.endpoint->endpoint, current_, now);
        settle(target, now);
    }
}

void HealthChecker::await(Millis now) {
    Millis next = now + kRefreshInterval;
    std::vector<pollfd> watched{alarm_->interest()};
    for (const Target& target : targets_) {
        next = std::min(next, target.check ? target.check->deadline() : target.due);
        if (target.check) watched.push_back(target.check->interest());
    }
    ::poll(watched.data(), watched.size(), static_cast<int>(std::max<Millis>(next - now, 0)));
    now = monotonic();
    alarm_->silence();
    std::size_t at = 0;
    for (Target& target : targets_) {
        // The check under way, or the one made since the last regular one, is the answer.
        const bool wanted = target.endpoint->health.takeCheckRequest();
        if (target.check) {
            if (watched[++at].revents != 0) target.check->onReady(now);
            if (!target.check->over() && now >= target.check->deadline()) target.check->onDeadline(now);
            settle(target, now);
        } else if (wanted && target.extra == Target::Extra::None && !stopping_) {
            target.extra = Target::Extra::Due;
            target.due = now;
        }
    }
}

void HealthChecker::settle(Target& target, Millis now) {
    if (const auto outcome = target.check->takeOutcome()) {
        if (outcome->good)
            target.pool->checkPassed(*target.endpoint, now);
        else
            target.pool->checkFailed(*target.endpoint, outcome->reason, weightOf(target, outcome->waited));
        target.due = stopping_ ? INT64_MAX : now + delayAfter(target, outcome->waited > 0);
    }
    if (!target.check->over()) return;
    // Without an outcome there was no descriptor for it, which says nothing about the server.
    target.due = std::max(target.due, now + kRisingInterval);
    target.check.reset();
}

// A check that waits in vain for as long as a client would takes the time of several.
std::uint32_t HealthChecker::weightOf(const Target& target, Millis waited) {
    const UpstreamConfig& upstream = target.pool->config();
    const Millis times = std::min<Millis>(waited / upstream.check_timeout.count(), upstream.fall);
    return static_cast<std::uint32_t>(std::max<Millis>(times, 1));
}

Millis HealthChecker::delayAfter(const Target& target, bool slow_failure) {
    const Millis interval = target.pool->config().interval.count();
    const EndpointHealth& health = target.endpoint->health;
    if (health.state() != Health::Down)
        return health.failedChecks() == 0 ? jitter(interval) : std::min(interval, kDownInterval);
    if (health.goodChecks() > 0) return std::min(interval, kRisingInterval);
    // Each check of a mute server is a connection more that waits for it to wake up.
    return slow_failure ? jitter(interval) : std::min(interval, kDownInterval);
}

Millis HealthChecker::jitter(Millis interval) {
    return interval + std::uniform_int_distribution<Millis>(-interval / 10, interval / 10)(random_);
}

}  // namespace mailgate
