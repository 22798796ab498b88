// SPDX-License-Identifier: Apache-2.0
/// \file  Where events go: the event log, or a test that remembers them.
#pragma once

#include "gateway/log/log_line.h"

#include <chrono>
#include <string_view>

namespace mailgate {

class EventSink {
  public:
    virtual ~EventSink() = default;

    virtual bool enabled(LogLevel level) const noexcept = 0;
    /// Finishes the line and takes it; nothing happens when its level is off.
    virtual void write(LogLine& line) noexcept = 0;

    LogLine line(LogLevel level, std::string_view event,
                 std::chrono::system_clock::time_point time = std::chrono::system_clock::now()) const {
        return LogLine(format(), level, event, time);
    }

  protected:
    virtual LogFormat format() const noexcept = 0;
};

}  // namespace mailgate
