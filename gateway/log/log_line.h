// SPDX-License-Identifier: Apache-2.0
/// \file  Composes one line of the event log, as JSON or logfmt.
///
/// Keys are ours; values may be hostile and are escaped (see escape.h), so that one event is one line for
/// every reader. A line never grows beyond kMaxLogLineBytes and stays well-formed: what does not fit is left
/// out, whole fields and array items, and `"truncated":true` says so.
#pragma once

#include "gateway/log/escape.h"
#include "gateway/log/log_config.h"

#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <string_view>

namespace mailgate {

inline constexpr std::size_t kMaxLogLineBytes = std::size_t{32} << 10;

/// "debug", "information", … as the configuration file and the log spell it.
std::string_view toString(LogLevel level) noexcept;

/// One thread. Composing an ordinary line (2,000 bytes) takes no heap memory; a longer one may throw std::bad_alloc.
class LogLine {
  public:
    /// Starts with the time (RFC 3339, UTC, milliseconds), the event, and the level unless that is information.
    LogLine(LogFormat format, LogLevel level, std::string_view event,
            std::chrono::system_clock::time_point now = std::chrono::system_clock::now());

    LogLine& text(std::string_view key, std::string_view value);
    LogLine& textOrNull(std::string_view key, std::string_view value);  ///< empty: null
    LogLine& number(std::string_view key, std::int64_t value);
    LogLine& boolean(std::string_view key, bool value);
    LogLine& null(std::string_view key);  ///< logfmt: left out
    /// Nested values, at most kMaxDepth deep. logfmt flattens: mail.0.from=…
    LogLine& beginArray(std::string_view key);
    LogLine& endArray();
    LogLine& beginObject();  ///< inside an array
    LogLine& beginObject(std::string_view key);
    LogLine& endObject();
    LogLine& item(std::string_view value);  ///< a text inside an array

    /// Closes the line (what is still open inside it too); the newline included. Nothing can be added afterwards.
    std::string_view finish();
    LogLevel level() const noexcept { return level_; }

    static constexpr std::size_t kMaxDepth = 4;

  private:
    struct Frame {
        char closing = '}';
        bool empty = true;
        std::uint32_t items = 0;        ///< logfmt: the index of the next item
        std::size_t prefix_length = 0;  ///< logfmt: of prefix_ before this frame
    };

    template <typename AppendValue>
    LogLine& field(std::string_view key, AppendValue appendValue);
    template <typename Append>
    bool add(std::size_t at_least, Append append);
    LogLine& jsonField(std::string_view key, std::string_view value, bool quoted);
    LogLine& bare(std::string_view key, std::string_view value);
    bool hasRoomFor(std::size_t bytes) noexcept;
    void appendKey(std::string_view key);
    void appendText(std::string_view value);
    void separate();  ///< JSON: the comma
    LogLine& begin(std::string_view key, char bracket, char closing);
    void open(char bracket, char closing);
    LogLine& close();

    bool json() const noexcept { return format_ == LogFormat::Json; }
    Frame& top() noexcept { return frames_[depth_]; }

    LineBuffer buffer_;
    fmt::basic_memory_buffer<char, 64> prefix_;  ///< logfmt: "mail.0." while inside of it
    std::array<Frame, kMaxDepth + 1> frames_{};
    LogFormat format_;
    LogLevel level_;
    std::uint8_t depth_ = 0;
    std::uint32_t skipped_depth_ = 0;  ///< begun, but not in the line
    bool nested_full_ = false;  ///< arrays lost an item: they take no more, the line's own fields still fit
    bool truncated_ = false;
    bool finished_ = false;
};

}  // namespace mailgate
