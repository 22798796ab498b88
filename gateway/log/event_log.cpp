// SPDX-License-Identifier: Apache-2.0
#include "gateway/log/event_log.h"

#include "gateway/base/clock.h"
#include "gateway/base/signals_blocked.h"
#include "gateway/log/log_target.h"

#include <fmt/format.h>

#include <pthread.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <mutex>
#include <new>
#include <string>
#include <utility>

namespace mailgate {

namespace {

using namespace std::chrono_literals;

constexpr auto kBatchInterval = 20ms;
constexpr auto kRetryInterval = 250ms;
constexpr auto kFarewell = 2s;
constexpr auto kSlowWrite = 1s;  // longer: the target takes nothing

std::uint64_t countLines(std::string_view text) {
    return static_cast<std::uint64_t>(std::count(text.begin(), text.end(), '\n'));
}

}  // namespace

class EventLog::Writer {
  public:
    explicit Writer(const LogConfig& config)
        : config_(config), target_(openLogTarget(config.target)), next_config_(config) {}

    /// Until stop(); on the writer's thread.
    void run();

    void add(std::string_view line, LogLevel level) noexcept;
    void requestReopen() noexcept;
    void moveTo(Next next) noexcept;
    /// That of the configuration that it has, or is to have.
    std::string target() const;
    std::uint64_t lost() const noexcept { return lost_.load(std::memory_order_relaxed); }
    Trouble trouble() const;

    void stop();
    /// False when the thread has not come to its end in time.
    bool awaitEnd(std::chrono::milliseconds limit);

  private:
    /// Without memory of its own, which may be short just then.
    struct Failure {
        std::error_code error;
        std::int64_t since_ms = 0;
        void note(std::error_code now) {
            if (now && !error) since_ms = unixMillis();
            error = now;
        }
    };

    bool takePending();
    void writeBatch();
    void onWriteResult(std::error_code error);
    void reopen();
    void repeatHalfLine();
    bool writeOwn(LogLine& line);
    void rest(std::chrono::milliseconds limit);
    void end();

    // Of the writer's thread alone.
    LogConfig config_;
    std::unique_ptr<LogTarget> target_;
    LogBatch batch_;
    std::size_t written_ = 0;  ///< bytes of batch_
    bool failing_ = false;
    std::uint64_t lost_told_ = 0;

    mutable std::mutex mutex_;
    std::condition_variable wake_;
    std::condition_variable ended_;
    LogBatch pending_;           // under mutex_, like all that follows
    std::size_t in_flight_ = 0;  ///< bytes of batch_ not known to be written
    bool idle_ = false;          ///< the writer waits for a line: wake it
    bool stop_ = false;
    bool reopen_ = false;
    LogConfig next_config_;
    std::unique_ptr<LogTarget> next_target_;  ///< not null: the writer is to go on there
    bool end_ = false;
    Failure write_failure_, reopen_failure_;
    std::chrono::steady_clock::time_point write_began_{};  ///< of the one under way

    std::atomic<std::uint64_t> lost_{0};
};

void EventLog::Writer::add(std::string_view line, LogLevel level) noexcept {
    bool wake = false;
    try {
        const std::lock_guard lock(mutex_);
        if (pending_.text.size() + in_flight_ + line.size() > kMaxQueuedLogBytes) {
            lost_.fetch_add(1, std::memory_order_relaxed);
            return;
        }
        pending_.levels.push_back(level);
        try {
            pending_.text.append(line);
        } catch (...) {
            pending_.levels.pop_back();
            throw;
        }
        wake = std::exchange(idle_, false);
    } catch (const std::bad_alloc&) {
        lost_.fetch_add(1, std::memory_order_relaxed);
    }
    if (wake) wake_.notify_one();
}

void EventLog::Writer::requestReopen() noexcept {
    {
        const std::lock_guard lock(mutex_);
        reopen_ = true;
        idle_ = false;
    }
    wake_.notify_one();
}

std::string EventLog::Writer::target() const {
    const std::lock_guard lock(mutex_);
    return next_config_.target;
}

void EventLog::Writer::moveTo(Next next) noexcept {
    {
        const std::lock_guard lock(mutex_);
        next_config_ = std::move(next.config);
        next_target_ = std::move(next.target);
        idle_ = false;
    }
    wake_.notify_one();
}

EventLog::Trouble EventLog::Writer::trouble() const {
    const std::lock_guard lock(mutex_);
    constexpr std::string_view kWaiting = "its lines wait in memory, and would be lost in a stop";
    const auto writing = std::chrono::steady_clock::now() - write_began_;
    if (write_failure_.error)
        return {fmt::format("cannot be written: {}; {}", write_failure_.error.message(), kWaiting),
                write_failure_.since_ms};
    if (write_began_ != std::chrono::steady_clock::time_point{} && writing > kSlowWrite)
        return {fmt::format("is not taken by its target; {}", kWaiting),
                unixMillis() - std::chrono::duration_cast<std::chrono::milliseconds>(writing).count()};
    if (reopen_failure_.error)
        return {
            fmt::format("cannot be opened again: {}; its lines go to the file before, and a start would fail",
                        reopen_failure_.error.message()),
            reopen_failure_.since_ms};
    return {};
}

void EventLog::Writer::stop() {
    {
        const std::lock_guard lock(mutex_);
        stop_ = true;
        idle_ = false;
    }
    wake_.notify_one();
}

bool EventLog::Writer::awaitEnd(std::chrono::milliseconds limit) {
    std::unique_lock lock(mutex_);
    return ended_.wait_for(lock, limit, [&] { return end_; });
}

void EventLog::Writer::run() {
    while (takePending()) {
        writeBatch();
        rest(failing_ ? kRetryInterval : kBatchInterval);
    }
    end();
}

/// Waits for something to do; false when that is to end.
bool EventLog::Writer::takePending() {
    bool reopening = false;
    {
        std::unique_lock lock(mutex_);
        const auto something = [&] {
            return stop_ || reopen_ || next_target_ || failing_ || !pending_.text.empty();
        };
        idle_ = !something();
        wake_.wait(lock, something);
        idle_ = false;
        reopening = std::exchange(reopen_, false);
        if (next_target_) {
            target_ = std::move(next_target_);
            config_ = next_config_;
            reopen_failure_ = {};
            repeatHalfLine();
        }
        if (stop_) return false;
    }
    if (reopening) reopen();
    return true;
}

void EventLog::Writer::writeBatch() {
    {
        const std::lock_guard lock(mutex_);
        if (batch_.text.empty()) {
            std::swap(batch_, pending_);
            in_flight_ = batch_.text.size();
        }
        write_began_ = std::chrono::steady_clock::now();
    }
    const std::error_code error = target_->write(batch_, written_);
    if (!error) {
        // At once: the next line may be long in coming, and a burst's memory is wanted elsewhere.
        batch_.clear();
        written_ = 0;
    }
    {
        const std::lock_guard lock(mutex_);
        in_flight_ = batch_.text.size() - written_;
        write_began_ = {};
        write_failure_.note(error);
    }
    onWriteResult(error);
}

void EventLog::Writer::onWriteResult(std::error_code error) {
    if (error) {
        if (!failing_)
            tellStandardError(
                config_.target,
                fmt::format("cannot be written: {}; up to {} MiB of lines are kept until it can",
                            error.message(), kMaxQueuedLogBytes >> 20));
        failing_ = true;
        return;
    }
    const std::uint64_t lost = this->lost();
    if (failing_) {
        failing_ = false;
        tellStandardError(config_.target,
                          fmt::format("can be written again; {} lines were lost", lost - lost_told_));
    }
    if (lost == lost_told_) return;
    LogLine line(config_.format, LogLevel::Error, "log.lost");
    line.number("lines", static_cast<std::int64_t>(lost - lost_told_));
    if (writeOwn(line)) lost_told_ = lost;
}

/// A line about the log itself goes before all that wait: there is always room for it, if not always memory.
bool EventLog::Writer::writeOwn(LogLine& line) {
    const std::lock_guard lock(mutex_);
    try {
        pending_.levels.reserve(pending_.levels.size() + 1);
        pending_.text.insert(0, line.finish());
    } catch (const std::bad_alloc&) {
        return false;
    }
    pending_.levels.insert(pending_.levels.begin(), line.level());
    return true;
}

void EventLog::Writer::reopen() {
    const LogTarget::Reopened result = target_->reopen();
    {
        const std::lock_guard lock(mutex_);
        reopen_failure_.note(result.error);
    }
    if (result.error) {
        LogLine line(config_.format, LogLevel::Error, "log.failed");
        line.text("target", config_.target).text("error", result.error.message());
        writeOwn(line);
    }
    if (result.reopened) repeatHalfLine();
}

/// A new target gets whole lines: the one that the old one has only half of is written again.
void EventLog::Writer::repeatHalfLine() {
    if (written_ == 0) return;
    const std::size_t newline = batch_.text.rfind('\n', written_ - 1);
    written_ = newline == std::string::npos ? 0 : newline + 1;
}

/// Lets lines gather; only stop() and reopen() cut it short.
void EventLog::Writer::rest(std::chrono::milliseconds limit) {
    std::unique_lock lock(mutex_);
    wake_.wait_for(lock, limit, [&] { return stop_ || reopen_; });
}

/// The rest of the batch, then what was added since; one attempt each.
void EventLog::Writer::end() {
    writeBatch();
    if (!failing_) writeBatch();
    const std::lock_guard lock(mutex_);
    const std::uint64_t left = countLines(std::string_view(batch_.text).substr(written_)) +
                               countLines(pending_.text) + lost() - lost_told_;
    if (left > 0) tellStandardError(config_.target, fmt::format("{} lines could not be written", left));
    end_ = true;
    ended_.notify_all();
}

EventLog::EventLog(const LogConfig& config)
    : format_(config.format), level_(config.level), writer_(std::make_shared<Writer>(config)) {
    const SignalsBlocked blocked;
    thread_ = std::thread([writer = writer_] { writer->run(); });
}

// NOLINTNEXTLINE(bugprone-exception-escape): join() throws for what is no thread
EventLog::~EventLog() {
    writer_->stop();
    if (writer_->awaitEnd(kFarewell)) {
        thread_.join();
    } else {
        tellStandardError(writer_->target(), "did not accept the last lines in time");
        thread_.detach();
    }
}

void EventLog::write(LogLine& line) noexcept {
    if (!enabled(line.level())) return;
    writer_->add(line.finish(), line.level());
}

void EventLog::reopen() noexcept {
    writer_->requestReopen();
}

EventLog::Next EventLog::prepare(const LogConfig& config) const {
    return {config, config.target == writer_->target() ? nullptr : openLogTarget(config.target)};
}

void EventLog::apply(Next next) noexcept {
    const LogFormat format = next.config.format;
    const LogLevel level = next.config.level;
    if (next.target) writer_->moveTo(std::move(next));
    format_.store(format, std::memory_order_relaxed);
    level_.store(level, std::memory_order_relaxed);
}

EventLog::Trouble EventLog::trouble() const {
    return writer_->trouble();
}

std::uint64_t EventLog::lost() const noexcept {
    return writer_->lost();
}

}  // namespace mailgate
