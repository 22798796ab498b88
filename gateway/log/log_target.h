// SPDX-License-Identifier: Apache-2.0
/// \file  Where the event log goes: standard error, a file, or a syslog daemon.
#pragma once

#include "gateway/log/log_config.h"

#include <cstddef>
#include <memory>
#include <string>
#include <string_view>
#include <system_error>
#include <vector>

namespace mailgate {

/// Whole lines and the level of each.
struct LogBatch {
    std::string text;
    std::vector<LogLevel> levels;

    void clear() noexcept;
};

/// Used by one thread. Calls may block.
class LogTarget {
  public:
    virtual ~LogTarget() = default;

    /// Writes the lines from byte `from` on and moves `from` behind what was written. An error leaves the
    /// rest for later.
    virtual std::error_code write(const LogBatch& batch, std::size_t& from) = 0;

    /// After it, writing goes to the file that now has the name. An error leaves the old one in use. Targets
    /// without a file have nothing to do and say so: `reopened` is false.
    struct Reopened {
        bool reopened = false;
        std::error_code error;
    };
    virtual Reopened reopen() { return {}; }
};

/// `target` as LogConfig::target. Throws ConfigError.
std::unique_ptr<LogTarget> openLogTarget(const std::string& target);

/// The path of a target file:PATH; empty when it is another one.
std::string logFileOf(const std::string& target);

/// With the severity before each line (sd-daemon(3)) where systemd's journal is what reads standard error.
std::string forStandardError(LogLevel level, std::string_view text);

/// Writes "mailgate: log TARGET: message" to standard error, whatever else is broken.
void tellStandardError(std::string_view target, std::string_view message) noexcept;

}  // namespace mailgate
