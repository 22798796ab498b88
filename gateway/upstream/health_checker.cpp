// SPDX-License-Identifier: Apache-2.0
#include "gateway/upstream/health_checker.h"

#include "gateway/base/clock.h"
#include "gateway/upstream/polled_connection.h"
#include "protocols/health_dialogue.h"
#include "protocols/proxy/encoder.h"

#include <poll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
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
constexpr const char* kNotTaken = "did not take a whole line";

std::string describeError(int error) {
    std::string text = std::generic_category().message(error);
    if (!text.empty() && text[0] >= 'A' && text[0] <= 'Z') text[0] = static_cast<char>(text[0] - 'A' + 'a');
    return text;
}

std::string checkHeader(SendProxy dialect, const proxy::Connection& ends) {
    switch (dialect) {
        case SendProxy::Off:
            return {};
        case SendProxy::V2:
            return proxy::encodeLocal();
        case SendProxy::V1:
            break;
    }
    return proxy::encodeV1(ends);
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

    Check(std::shared_ptr<const UpstreamPool> pool, std::shared_ptr<ServerEndpoint> server, const Plan& plan,
          Millis now)
        : pool_(std::move(pool)),
          server_(std::move(server)),
          name_(plan.name),
          connect_limit_(std::max(upstream().check_timeout, plan.connect).count()),
          step_limit_(std::max(upstream().check_timeout, plan.greeting).count()),
          deadline_(now + connect_limit_) {
        const auto header = [this](const proxy::Connection& ends) {
            return checkHeader(upstream().send_proxy, ends);
        };
        const auto tls = [this](const proxy::Connection& ends) {
            return pool_->tlsTo(*server_, UpstreamPool::Handshake::Full,
                                {upstream().check_protocol, name_, ends.source.address});
        };
        proceed(connection_.begin(server_->endpoint, header, tls), now);
    }
    Check(const Check&) = delete;
    Check& operator=(const Check&) = delete;

    pollfd interest() const noexcept { return connection_.interest(); }
    Millis deadline() const noexcept { return deadline_; }
    bool over() const noexcept { return state_ == State::Over; }
    /// Once, when it is known.
    std::optional<Outcome> takeOutcome() { return std::exchange(outcome_, std::nullopt); }

    void onReady(short events, Millis now) {
        switch (state_) {
            case State::Connecting:
                return proceed(connection_.onReady(events), now);
            case State::Talking:
            case State::Ending:
                connection_.note(events);
                return read(now);
            case State::Over:
                return;
        }
    }

    void onDeadline(Millis now) {
        switch (state_) {
            case State::Connecting:
                return connectionLate();
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

    void connectionLate() {
        if (connection_.shakingHands()) {
            server_->handshakes.failed({TlsFailure::Reason::Timeout});
            return unreachable(std::string(toString(ServerFailure::NoHandshake)), connect_limit_);
        }
        if (connection_.startingTls()) return unreachable("stopped answering before TLS", step_limit_);
        unreachable("no answer to the connection attempt", connect_limit_);
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

    void proceed(const Connector::Progress& progress, Millis now) {
        if (std::holds_alternative<Connector::Connected>(progress))
            return connected(connection_.greeting(), now);
        if (const auto* greeted = std::get_if<Connector::Greeted>(&progress))
            return connected(greeted->bytes, now);
        if (connection_.startingTls()) {
            deadline_ = now + step_limit_;
            started_tls_ = true;
        } else if (connection_.shakingHands() && std::exchange(started_tls_, false)) {
            deadline_ = now + connect_limit_;
        }
        // Without a descriptor there is no outcome: that says nothing about the server.
        if (std::holds_alternative<Connector::NoResources>(progress)) state_ = State::Over;
        const auto* failed = std::get_if<Connector::Failed>(&progress);
        if (!failed) return;
        if (failed->error != 0) return unreachable(describeError(failed->error), 0);
        if (failed->tls) server_->handshakes.failed(failed->tls);
        decide({false, 0, failed->failure == ServerFailure::HeaderNotTaken ? kNotTaken : describe(*failed)});
        end(now);
    }

    /// `heard`: its greeting, where that came before TLS.
    void connected(std::string_view heard, Millis now) {
        state_ = State::Talking;
        if (const TlsTransport* tls = connection_.tls()) server_->shookHands(*tls);
        dialogue_.emplace(upstream().check_protocol, heloName(name_, connection_.ends().source.address));
        extend(now);
        take(dialogue_->open(), now);
        if (!heard.empty() && state_ == State::Talking) {
            talked_ = true;
            take(dialogue_->onBytes(heard), now);
        }
        read(now);  // the greeting may have come with the handshake
    }

    bool send(const std::string& bytes, Millis now) {
        const IoResult put = connection_.transport().write(bytes);
        if (put.status == IoStatus::Ok && put.bytes == bytes.size()) return true;
        decide({false, 0, put.status == IoStatus::Error ? describeError(put.error) : kNotTaken});
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
        while (connection_.transport().readable()) {
            const IoResult got = connection_.transport().read(buffer);
            if (got.status == IoStatus::WouldBlock) return;
            if (got.status != IoStatus::Ok) return closed(got.error);
            if (state_ == State::Talking) {
                talked_ = true;
                take(dialogue_->onBytes({buffer.data(), got.bytes}), now);
            }
            if (got.last) return closed(0);
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
        connection_.transport().shutdownWrite();
    }

    // Of the plan that it was begun by.
    std::shared_ptr<const UpstreamPool> pool_;
    std::shared_ptr<ServerEndpoint> server_;
    std::string name_;
    Millis connect_limit_;
    Millis step_limit_;
    Millis deadline_;
    PolledConnection connection_;
    std::optional<HealthDialogue> dialogue_;  ///< once connected
    State state_ = State::Connecting;
    bool started_tls_ = false;  ///< STARTTLS has been under way, and the handshake is to begin
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
        const Millis now = monotonicMillis();
        try {
            if (now - refreshed_ >= kRefreshInterval || planChanged()) refreshTargets(now);
            startDue(now);
            await(now);
        } catch (const std::bad_alloc&) {
            ::poll(nullptr, 0, static_cast<int>(kRisingInterval));  // there may be memory then
        }
    }
    for (Target& target : targets_) {
        if (target.check) target.check->hurry(monotonicMillis());
        target.due = INT64_MAX;
    }
    while (std::any_of(targets_.begin(), targets_.end(),
                       [](const Target& target) { return target.check != nullptr; }))
        await(monotonicMillis());
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
        target.check = std::make_unique<Check>(target.pool, target.endpoint, current_, now);
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
    now = monotonicMillis();
    alarm_->silence();
    std::size_t at = 0;
    for (Target& target : targets_) {
        // The check under way, or the one made since the last regular one, is the answer.
        const bool wanted = target.endpoint->health.takeCheckRequest();
        if (target.check) {
            if (const short events = watched[++at].revents; events != 0) target.check->onReady(events, now);
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
