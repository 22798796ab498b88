// SPDX-License-Identifier: Apache-2.0
#include "protocols/smtp/message_id.h"

#include "protocols/stream/session_facts.h"
#include "protocols/values/text.h"

#include <algorithm>
#include <utility>

namespace mailgate::smtp {

namespace {

/// Behind it lies no header that a server would take for one: Postfix has a limit of 102,400 bytes.
constexpr std::size_t kMaxHeaderBytes = std::size_t{100} << 10;
/// The value as it came, with comments and blanks around the identifier: one line's worth (RFC 5322 2.1.1).
constexpr std::size_t kMaxValueBytes = 998;
constexpr std::string_view kName = "message-id";

bool isBlank(char byte) noexcept {
    return byte == ' ' || byte == '\t';
}

/// Comments nest, and a backslash quotes the next character (RFC 5322 3.2.2). One that does not end is all there is.
std::string_view withoutComment(std::string_view text) noexcept {
    std::size_t depth = 0;
    for (std::size_t at = 0; at < text.size(); ++at) {
        if (text[at] == '\\')
            ++at;
        else if (text[at] == '(')
            ++depth;
        else if (text[at] == ')' && --depth == 0)
            return text.substr(at + 1);
    }
    return {};
}

/// Of software that leaves the angle brackets out the whole value.
std::string_view identifierIn(std::string_view value) noexcept {
    value = trimmed(value);
    while (value.starts_with('('))
        value = trimmed(withoutComment(value));
    if (!value.starts_with('<')) return value;
    return trimmed(value.substr(1, value.find('>') - 1));
}

}  // namespace

void MessageIdReader::start(Dots dots) noexcept {
    value_.clear();
    seen_ = 0;
    reading_ = Reading::LineStart;
    dots_ = dots;
    has_value_ = false;
}

std::string MessageIdReader::take() {
    std::string value = std::exchange(value_, std::string());
    const std::string_view id = identifierIn(value).substr(0, kMaxMessageIdBytes);
    if (value.capacity() > kMaxMessageIdBytes) return std::string(id);
    // It stays where it is, as nearly all can: that takes no memory of its own.
    const auto at = id.empty() ? 0 : static_cast<std::size_t>(id.data() - value.data());
    value.resize(at + id.size());
    value.erase(0, at);
    return value;
}

void MessageIdReader::read(std::string_view bytes) {
    bytes = bytes.substr(0, kMaxHeaderBytes - seen_);
    seen_ += bytes.size();
    while (!bytes.empty()) {
        switch (reading_) {
            case Reading::LineStart:
            case Reading::Dot:
            case Reading::Name:
            case Reading::Colon:
                readByte(bytes.front());
                bytes.remove_prefix(1);
                break;
            case Reading::Another:
            case Reading::Rest:
                bytes = skip(bytes);
                break;
            case Reading::Value:
                bytes = keep(bytes);
                break;
            case Reading::Over:
                return;
        }
    }
}

void MessageIdReader::readByte(char byte) {
    if (reading_ == Reading::Name && lower(byte) == kName[matched_]) {
        if (++matched_ == kName.size()) reading_ = Reading::Colon;
    } else if (reading_ == Reading::Name || (reading_ == Reading::Colon && !isBlank(byte))) {
        has_value_ = reading_ == Reading::Colon && byte == ':';
        reading_ = has_value_     ? Reading::Value
                   : byte == ':'  ? Reading::Rest
                   : byte == '\n' ? Reading::Over
                                  : Reading::Another;
    } else if (reading_ != Reading::Colon) {
        beginLine(byte);
    }
}

void MessageIdReader::beginLine(char first) {
    if (first == '.' && dots_ == Dots::Stuffed && reading_ == Reading::LineStart) {
        reading_ = Reading::Dot;
    } else if (isBlank(first)) {
        reading_ = has_value_ ? Reading::Value : Reading::Rest;
        if (has_value_) keep(" ");
    } else if (has_value_ || first == '\r' || first == '\n') {
        reading_ = Reading::Over;
    } else {
        matched_ = 0;
        reading_ = Reading::Name;
        readByte(first);
    }
}

/// A line that is no field, which has a colon, belongs to no header.
std::string_view MessageIdReader::skip(std::string_view bytes) {
    // Names are short, and a search for one of two characters takes a call for each.
    const auto* const stop =
        reading_ == Reading::Another
            ? std::find_if(bytes.begin(), bytes.end(), [](char c) { return c == ':' || c == '\n'; })
            : bytes.begin() + std::min(bytes.find('\n'), bytes.size());
    if (stop == bytes.end()) return {};
    if (*stop == ':')
        reading_ = Reading::Rest;
    else
        reading_ = reading_ == Reading::Rest ? Reading::LineStart : Reading::Over;
    return bytes.substr(static_cast<std::size_t>(stop - bytes.begin()) + 1);
}

std::string_view MessageIdReader::keep(std::string_view bytes) {
    const std::size_t end = std::min(bytes.find('\n'), bytes.size());
    const std::size_t before = value_.size();
    value_.append(bytes.substr(0, std::min(end, kMaxValueBytes - before)));
    const auto kept = value_.begin() + static_cast<std::ptrdiff_t>(before);
    value_.erase(std::remove(kept, value_.end(), '\r'), value_.end());
    std::replace_if(value_.begin() + static_cast<std::ptrdiff_t>(before), value_.end(), isControl, ' ');
    if (end == bytes.size()) return {};
    reading_ = Reading::LineStart;
    return bytes.substr(end + 1);
}

}  // namespace mailgate::smtp
