// SPDX-License-Identifier: Apache-2.0
/// \file  The event log: one line an event, written by one thread.
///
/// A worker composes its line (LogLine) and hands it over; that costs a copy under a short lock and, when the writer
/// is at rest, a wake-up. The writer thread writes batches: the first line after a pause at once, then what has
/// gathered every 20 ms. When the target cannot take lines (disk full, slow disk, a pipe that nobody reads), at most
/// kMaxQueuedLogBytes wait; beyond that lines are dropped and counted, and a `log.lost` line says how many as soon as
/// writing works again. The beginning and the end of such a state are reported on standard error. Nothing here ever
/// blocks a worker or throws at it.
#pragma once

#include "gateway/log/event_sink.h"
#include "gateway/log/log_config.h"
#include "gateway/log/log_target.h"

#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <thread>

namespace mailgate {

inline constexpr std::size_t kMaxQueuedLogBytes = std::size_t{16} << 20;

class EventLog final : public EventSink {
  public:
    /// Opens the target. Throws ConfigError when it cannot (file not writable, no syslog), std::system_error
    /// when there is no thread to be had. The writer takes no signals.
    explicit EventLog(const LogConfig& config);
    ~EventLog() override;  ///< writes what is queued, bounded by two seconds

    bool enabled(LogLevel level) const noexcept override {
        return level >= level_.load(std::memory_order_relaxed);
    }

    /// Finishes the line and hands it over; nothing happens when its level is off. Any thread.
    void write(LogLine& line) noexcept override;

    /// Asks the writer to reopen the file (log rotation); no effect on the other targets. Any thread. If the file
    /// cannot be opened, the old one stays in use and a `log.failed` line says so.
    void reopen() noexcept;

    /// Another configuration, and its target where that is another one.
    struct Next {
        LogConfig config;
        std::unique_ptr<LogTarget> target;
    };
    /// Changes nothing yet. Throws ConfigError when the new target cannot be opened.
    Next prepare(const LogConfig& config) const;
    /// Puts it in force, at a reload. Any thread, one at a time.
    void apply(Next next) noexcept;

    std::uint64_t lost() const noexcept;  ///< lines dropped since the start. Any thread.

    /// What is wrong with the target, and since when.
    struct Trouble {
        std::string what;  ///< what "the log" does: "cannot be written: ..."; empty: nothing is
        std::int64_t since_ms = 0;
    };
    Trouble trouble() const;  ///< Any thread.

  private:
    LogFormat format() const noexcept override { return format_.load(std::memory_order_relaxed); }

    class Writer;
    std::atomic<LogFormat> format_;
    std::atomic<LogLevel> level_;
    // Shared with the writer's thread, which may outlive this object when its target does not return from a write.
    std::shared_ptr<Writer> writer_;
    std::thread thread_;
};

}  // namespace mailgate
