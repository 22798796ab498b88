// SPDX-License-Identifier: Apache-2.0
#include "tests/bench/load/run.h"

#include <fmt/format.h>

#include <signal.h>
#include <sys/epoll.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <memory>
#include <vector>

namespace mailgate::load {

namespace {

using Clock = std::chrono::steady_clock;

/// Nothing moved for so long: what is still under way counts as failed.
constexpr std::chrono::seconds kStalled{20};
/// 127.1.0.1 and the addresses after it: the balancers, as the gateway sees them.
constexpr std::uint32_t kFirstSource = 0x7F010001;
/// 203.0.113.10: where the clients believe that they connected to.
constexpr std::uint32_t kDestination = 0xCB00710A;

/// SIGTERM: no further session begins, and those under way are the last.
volatile sig_atomic_t stopping = 0;

class Runner;

/// A place for sessions, one after another.
class Session : public Handler {
  public:
    Session(Runner& runner, const Script& script) : runner_(runner), script_(script) {}

    void start(std::uint64_t number);
    void release();  ///< from the step that holds it
    void onReady(std::uint32_t events) override;
    void fail(std::string reason);

    const Descriptor& socket() const { return stream_.socket(); }
    bool isUnderWay() const { return stream_.isOpen(); }
    bool wasResumed() const { return stream_.wasResumed(); }
    bool isHolding() const { return holding_; }

  private:
    bool receive();
    bool take(std::string_view bytes);
    bool onLine(std::string_view line);
    bool advance();
    void say(std::string_view text);
    void flush();
    void onEnd();

    Runner& runner_;
    const Script& script_;
    Stream stream_;
    Clock::time_point started_;
    Clock::time_point asked_;  ///< when the latest answer was asked for
    std::size_t step_ = 0;
    std::string line_;           ///< a line that has begun to arrive
    std::uint64_t literal_ = 0;  ///< octets of it that are still to come
    bool continues_ = false;     ///< what follows is the rest of the line that a literal interrupted
    std::string header_;
    std::string_view unsent_;  ///< of header_ or of the script
    bool holding_ = false;
};

class Runner {
  public:
    explicit Runner(const RunOptions& options);

    bool run();
    void watch(Session& session) {
        loop_.watch(session.socket(), session, EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET);
    }
    Descriptor connect(std::uint64_t number) const;
    std::string header(std::uint64_t number) const;
    TlsClients* tls() { return tls_ ? &*tls_ : nullptr; }
    void onAnswer(Clock::duration took) { answers_.push_back(milliseconds(took)); }
    void onFinished(Session& session, Clock::duration took);
    void onFailed(Session& session, std::string reason);
    void onHolding() { --under_way_, ++holding_; }
    void onReceived(std::size_t bytes) { bytes_ += bytes; }

  private:
    static double milliseconds(Clock::duration took) {
        return std::chrono::duration<double, std::milli>(took).count();
    }
    static double percentile(std::vector<double>& values, double part);
    void startMore();
    bool mayStart() const;
    void drive();
    void failTheRest();
    void holdIdle();
    void print();

    RunOptions options_;
    Script script_;
    std::optional<TlsClients> tls_;
    EventLoop loop_;
    std::vector<std::unique_ptr<Session>> sessions_;
    std::vector<Session*> free_;
    std::vector<double> latencies_;  ///< milliseconds, of the sessions without error
    std::vector<double> answers_;    ///< milliseconds, of the steps that are timed
    Clock::time_point began_;
    double seconds_ = 0;
    std::uint64_t started_ = 0, under_way_ = 0, holding_ = 0, errors_ = 0, bytes_ = 0, resumed_ = 0;
    std::string first_error_;
};

void Session::start(std::uint64_t number) {
    started_ = Clock::now();
    step_ = 0;
    line_.clear();
    literal_ = 0;
    holding_ = continues_ = false;
    header_ = runner_.header(number);
    unsent_ = header_;
    stream_.open(runner_.connect(number));
    runner_.watch(*this);
}

void Session::release() {
    holding_ = false;
    say(script_.steps[step_++].send);
}

void Session::onReady(std::uint32_t events) {
    if (!isUnderWay()) return;
    if (events & EPOLLOUT) flush();
    if (isUnderWay() && (events & ~static_cast<std::uint32_t>(EPOLLOUT))) receive();
}

/// False: the session is over.
bool Session::receive() {
    static std::array<char, 256 * 1024> buffer;
    for (;;) {
        const Stream::Result got = stream_.read(buffer);
        if (got.state == Stream::State::Later) return true;
        if (got.state != Stream::State::Moved) {
            got.state == Stream::State::Ended ? onEnd() : fail(fmt::format("read: {}", got.error));
            return false;
        }
        runner_.onReceived(got.bytes);
        if (!take({buffer.data(), got.bytes})) return false;
    }
}

bool Session::take(std::string_view bytes) {
    while (!bytes.empty()) {
        const std::size_t skipped = std::min<std::uint64_t>(literal_, bytes.size());
        literal_ -= skipped;
        bytes.remove_prefix(skipped);
        const std::size_t end = bytes.find('\n');
        line_ += bytes.substr(0, end);
        if (end == bytes.npos) return true;
        bytes.remove_prefix(end + 1);
        if (line_.ends_with('\r')) line_.pop_back();
        if (!onLine(std::exchange(line_, {}))) return false;
    }
    return true;
}

bool Session::onLine(std::string_view line) {
    if (std::exchange(continues_, false)) return true;
    const bool expects = step_ < script_.steps.size() && !holding_;
    if (expects && line.starts_with(script_.steps[step_].expect)) return advance();
    if (expects && line.starts_with(script_.steps[step_].interim)) {
        literal_ = literalSize(line).value_or(0);
        continues_ = literal_ > 0;
        return true;
    }
    fail(fmt::format("step {}: {}", step_, line.substr(0, 200)));
    return false;
}

bool Session::advance() {
    if (script_.steps[step_].hold) {
        holding_ = true;
        runner_.onHolding();
        return true;
    }
    if (script_.steps[step_].timed) runner_.onAnswer(Clock::now() - asked_);
    say(script_.steps[step_++].send);
    return isUnderWay();
}

void Session::say(std::string_view text) {
    asked_ = Clock::now();
    unsent_ = text;
    flush();
}

/// The header goes out in the clear; what follows it in TLS, if that is asked for.
void Session::flush() {
    while (!unsent_.empty()) {
        const Stream::Result put = stream_.write(unsent_);
        if (put.state == Stream::State::Later) return;
        if (put.state != Stream::State::Moved) return fail(fmt::format("write: {}", put.error));
        unsent_.remove_prefix(put.bytes);
    }
    if (!runner_.tls() || stream_.isSecure()) return;
    stream_.secure(*runner_.tls());
    receive();  // the handshake's first message is ours
}

void Session::onEnd() {
    if (step_ < script_.steps.size()) return fail(fmt::format("closed in step {}", step_));
    runner_.onFinished(*this, Clock::now() - started_);
    stream_.close();
}

void Session::fail(std::string reason) {
    stream_.close();
    runner_.onFailed(*this, std::move(reason));
}

Runner::Runner(const RunOptions& options)
    : options_(options), script_(scriptFor(options.workload, options.octets)), began_(Clock::now()) {
    if (options_.tls != TlsUse::None) tls_.emplace(options_.tls);
    const bool holds =
        std::any_of(script_.steps.begin(), script_.steps.end(), [](const Step& step) { return step.hold; });
    const std::uint64_t places =
        holds ? options_.count : std::min<std::uint64_t>(options_.concurrency, options_.count);
    for (std::uint64_t place = 0; place < places; ++place) {
        sessions_.push_back(std::make_unique<Session>(*this, script_));
        free_.push_back(sessions_.back().get());
    }
}

Descriptor Runner::connect(std::uint64_t number) const {
    Endpoint source;
    source.address.sin_family = AF_INET;
    source.address.sin_addr.s_addr =
        htonl(kFirstSource + static_cast<std::uint32_t>(number % options_.sources));
    return connectTo(options_.target, source);
}

std::string Runner::header(std::uint64_t number) const {
    const auto port = static_cast<std::uint16_t>(1024 + number % 60000);
    return proxyHeader(options_.clients.at(number), port, kDestination, script_.service_port);
}

bool Runner::mayStart() const {
    const bool in_time = !options_.duration || Clock::now() - began_ < *options_.duration;
    // The first alone brings what the others resume.
    const std::uint64_t at_once = tls_ && !tls_->isReady() ? 1 : options_.concurrency;
    return !stopping && started_ < options_.count && under_way_ < at_once && !free_.empty() && in_time;
}

void Runner::startMore() {
    while (mayStart()) {
        Session* const session = free_.back();
        free_.pop_back();
        ++under_way_;
        session->start(started_++);
    }
}

void Runner::onFinished(Session& session, Clock::duration took) {
    latencies_.push_back(milliseconds(took));
    resumed_ += session.wasResumed();
    --under_way_;
    free_.push_back(&session);
}

void Runner::onFailed(Session& session, std::string reason) {
    if (errors_++ == 0) first_error_ = std::move(reason);
    --(session.isHolding() ? holding_ : under_way_);
    free_.push_back(&session);
}

void Runner::drive() {
    startMore();
    while (under_way_ > 0) {
        if (!loop_.runOnce(kStalled)) failTheRest();
        startMore();
    }
}

void Runner::failTheRest() {
    for (const auto& session : sessions_)
        if (session->isUnderWay() && !session->isHolding()) session->fail("stalled");
    started_ = options_.count;
}

/// The gateway is measured meanwhile; a session that it ends shows when the others are released.
void Runner::holdIdle() {
    fmt::print("{{\"idle\": {}}}\n", holding_);
    std::fflush(stdout);
    char ignored = 0;
    check(static_cast<int>(read(STDIN_FILENO, &ignored, 1)), "read");
    for (const auto& session : sessions_) {
        if (!session->isHolding()) continue;
        --holding_, ++under_way_;
        session->release();
    }
}

bool Runner::run() {
    struct sigaction ending {};
    ending.sa_handler = [](int) { stopping = 1; };
    check(sigaction(SIGTERM, &ending, nullptr), "sigaction");
    drive();
    if (holding_ > 0) {
        holdIdle();
        drive();
    }
    seconds_ = std::chrono::duration<double>(Clock::now() - began_).count();
    print();
    return errors_ == 0;
}

double Runner::percentile(std::vector<double>& values, double part) {
    if (values.empty()) return 0;
    const auto rank = static_cast<std::ptrdiff_t>(std::ceil(part * static_cast<double>(values.size()))) - 1;
    std::nth_element(values.begin(), values.begin() + rank, values.end());
    return values[rank];
}

void Runner::print() {
    std::string quoted;
    for (const char c : first_error_)
        if (c >= ' ' && c < 0x7F && c != '"' && c != '\\') quoted += c;
    fmt::print(
        "{{\"workload\": \"{}\", \"sessions\": {}, \"errors\": {}, \"first_error\": \"{}\", "
        "\"seconds\": {:.3f}, \"bytes_received\": {}, \"p50_ms\": {:.3f}, \"p99_ms\": {:.3f}, "
        "\"resumed\": {}, \"answers\": {}, \"answer_p50_ms\": {:.3f}, \"answer_p99_ms\": {:.3f}}}\n",
        kWorkloadNames[static_cast<std::size_t>(options_.workload)], latencies_.size(), errors_, quoted,
        seconds_, bytes_, percentile(latencies_, 0.50), percentile(latencies_, 0.99), resumed_,
        answers_.size(), percentile(answers_, 0.50), percentile(answers_, 0.99));
}

}  // namespace

bool run(const RunOptions& options) {
    return Runner(options).run();
}

}  // namespace mailgate::load
