// SPDX-License-Identifier: Apache-2.0
#include "gateway/log/log_line.h"

#include <algorithm>
#include <ctime>
#include <utility>

namespace mailgate {

namespace {

// What arrays may not take, so that the fields after them (the session's end and its numbers) still fit.
constexpr std::size_t kReservedForFields = 4'096;
// ,"truncated":true and the newline, and the brackets of everything open.
constexpr std::size_t kReservedForEnd = 32;

/// "2026-11-20T21:00:00" of a second; formatted once a second and thread.
std::string_view formatSecond(std::chrono::sys_seconds second) {
    struct Cache {
        std::chrono::sys_seconds second = std::chrono::sys_seconds::min();
        std::array<char, 32> text{};
        std::size_t length = 0;
    };
    thread_local Cache cache;
    if (cache.second != second) {
        const std::time_t time = second.time_since_epoch().count();
        std::tm utc{};
        ::gmtime_r(&time, &utc);
        cache.length = std::strftime(cache.text.data(), cache.text.size(), "%Y-%m-%dT%H:%M:%S", &utc);
        cache.second = second;
    }
    return {cache.text.data(), cache.length};
}

void appendTime(LineBuffer& out, std::chrono::system_clock::time_point now) {
    const auto milliseconds = std::chrono::floor<std::chrono::milliseconds>(now);
    const auto second = std::chrono::floor<std::chrono::seconds>(milliseconds);
    const auto fraction = static_cast<unsigned>((milliseconds - second).count());
    out.append(formatSecond(second));
    const char tail[] = {'.', char('0' + fraction / 100), char('0' + fraction / 10 % 10),
                         char('0' + fraction % 10), 'Z'};
    out.append(tail, tail + sizeof tail);
}

/// Room for `bytes` more. The buffer's own append() looks for it piece by piece, and a line has hundreds.
char* extend(LineBuffer& out, std::size_t bytes) {
    const std::size_t before = out.size();
    out.resize(before + bytes);
    return out.data() + before;
}

char* put(char* at, std::string_view text) noexcept {
    return at + text.copy(at, text.size());
}

bool needsNoQuotes(std::string_view text) {
    return !text.empty() && isPlain(text) && text.find_first_of(" =") == std::string_view::npos;
}

}  // namespace

std::string_view toString(LogLevel level) noexcept {
    switch (level) {
        case LogLevel::Debug:
            return "debug";
        case LogLevel::Information:
            return "information";
        case LogLevel::Warning:
            return "warning";
        case LogLevel::Error:
            return "error";
        case LogLevel::Critical:
            return "critical";
    }
    return "";
}

LogLine::LogLine(LogFormat format, LogLevel level, std::string_view event,
                 std::chrono::system_clock::time_point now)
    : format_(format), level_(level) {
    if (json()) buffer_.push_back('{');
    field("time", [&] {
        if (json()) buffer_.push_back('"');
        appendTime(buffer_, now);
        if (json()) buffer_.push_back('"');
    });
    text("event", event);
    if (level != LogLevel::Information) text("level", toString(level));
}

/// Adds what `append` writes, unless the line has no room for it. `at_least`: what is known of its length before.
template <typename Append>
bool LogLine::add(std::size_t at_least, Append append) {
    if (!hasRoomFor(at_least)) return false;
    const std::size_t before = buffer_.size();
    const Frame frame = top();
    append();
    if (hasRoomFor(0)) return true;
    buffer_.resize(before);
    top() = frame;
    return false;
}

/// Where it has not, the line is marked.
bool LogLine::hasRoomFor(std::size_t bytes) noexcept {
    const bool nested = depth_ > 0;
    if (finished_ || skipped_depth_ > 0 || (nested && nested_full_)) return false;
    const std::size_t limit = kMaxLogLineBytes - kReservedForEnd - (nested ? kReservedForFields : 0);
    if (buffer_.size() + bytes <= limit) return true;
    nested_full_ = nested_full_ || nested;
    truncated_ = true;
    return false;
}

template <typename AppendValue>
LogLine& LogLine::field(std::string_view key, AppendValue appendValue) {
    add(key.size(), [&] {
        appendKey(key);
        appendValue();
    });
    return *this;
}

LogLine& LogLine::text(std::string_view key, std::string_view value) {
    if (json() && isPlain(value)) return jsonField(key, value, true);
    add(key.size() + value.size(), [&] {
        appendKey(key);
        appendText(value);
    });
    return *this;
}

/// A whole field whose value needs no escaping, in one piece.
LogLine& LogLine::jsonField(std::string_view key, std::string_view value, bool quoted) {
    const std::size_t bytes = key.size() + value.size() + (top().empty ? 3 : 4) + (quoted ? 2 : 0);
    if (!hasRoomFor(bytes)) return *this;
    char* at = extend(buffer_, bytes);
    if (!std::exchange(top().empty, false)) *at++ = ',';
    *at++ = '"';
    at = put(at, key);
    *at++ = '"';
    *at++ = ':';
    if (quoted) *at++ = '"';
    at = put(at, value);
    if (quoted) *at = '"';
    return *this;
}

LogLine& LogLine::textOrNull(std::string_view key, std::string_view value) {
    return value.empty() ? null(key) : text(key, value);
}

/// A value that needs no quotes.
LogLine& LogLine::bare(std::string_view key, std::string_view value) {
    if (json()) return jsonField(key, value, false);
    return field(key, [&] { put(extend(buffer_, value.size()), value); });
}

LogLine& LogLine::number(std::string_view key, std::int64_t value) {
    const fmt::format_int digits(value);
    return bare(key, {digits.data(), digits.size()});
}

LogLine& LogLine::boolean(std::string_view key, bool value) {
    return bare(key, value ? "true" : "false");
}

LogLine& LogLine::null(std::string_view key) {
    return json() ? bare(key, "null") : *this;
}

LogLine& LogLine::beginArray(std::string_view key) {
    return begin(key, '[', ']');
}

LogLine& LogLine::beginObject(std::string_view key) {
    return begin(key, '{', '}');
}

LogLine& LogLine::begin(std::string_view key, char bracket, char closing) {
    const bool begun = depth_ < kMaxDepth && add(key.size(), [&] {
                           if (json()) appendKey(key);
                       });
    if (!begun) {
        ++skipped_depth_;
        return *this;
    }
    open(bracket, closing);
    if (!json()) {
        prefix_.append(key);
        prefix_.push_back('.');
    }
    return *this;
}

LogLine& LogLine::endArray() {
    return close();
}

LogLine& LogLine::beginObject() {
    const bool begun = depth_ < kMaxDepth && add(1, [&] {
                           if (json()) separate();
                       });
    if (!begun) {
        ++skipped_depth_;
        return *this;
    }
    const std::uint32_t index = top().items++;
    open('{', '}');
    if (!json()) {
        const fmt::format_int digits(index);
        prefix_.append(digits.data(), digits.data() + digits.size());
        prefix_.push_back('.');
    }
    return *this;
}

LogLine& LogLine::endObject() {
    return close();
}

LogLine& LogLine::item(std::string_view value) {
    add(value.size(), [&] {
        const fmt::format_int index(top().items++);
        if (json())
            separate();
        else
            appendKey({index.data(), index.size()});
        appendText(value);
    });
    return *this;
}

void LogLine::open(char bracket, char closing) {
    if (json()) buffer_.push_back(bracket);
    frames_[++depth_] = Frame{closing, true, 0, prefix_.size()};
}

LogLine& LogLine::close() {
    if (finished_) return *this;
    if (skipped_depth_ > 0) {
        --skipped_depth_;
        return *this;
    }
    if (depth_ == 0) return *this;
    if (json()) buffer_.push_back(top().closing);
    prefix_.resize(top().prefix_length);
    --depth_;
    return *this;
}

void LogLine::separate() {
    if (!top().empty) buffer_.push_back(',');
    top().empty = false;
}

void LogLine::appendKey(std::string_view key) {
    if (json()) {
        const bool first = std::exchange(top().empty, false);
        char* at = extend(buffer_, key.size() + (first ? 3 : 4));
        if (!first) *at++ = ',';
        *at++ = '"';
        put(put(at, key), "\":");
        return;
    }
    const bool first = buffer_.size() == 0;
    char* at = extend(buffer_, prefix_.size() + key.size() + (first ? 1 : 2));
    if (!first) *at++ = ' ';
    put(put(put(at, {prefix_.data(), prefix_.size()}), key), "=");
}

void LogLine::appendText(std::string_view value) {
    if (!json() && needsNoQuotes(value)) {
        put(extend(buffer_, value.size()), value);
        return;
    }
    if (isPlain(value)) {
        char* const at = extend(buffer_, value.size() + 2);
        *at = '"';
        *put(at + 1, value) = '"';
        return;
    }
    buffer_.push_back('"');
    appendEscaped(buffer_, value);
    buffer_.push_back('"');
}

std::string_view LogLine::finish() {
    if (!finished_) {
        skipped_depth_ = 0;
        while (depth_ > 0)
            close();
        if (truncated_) {
            appendKey("truncated");
            buffer_.append(std::string_view("true"));
        }
        if (json()) buffer_.push_back('}');
        buffer_.push_back('\n');
        finished_ = true;
    }
    return {buffer_.data(), buffer_.size()};
}

}  // namespace mailgate
