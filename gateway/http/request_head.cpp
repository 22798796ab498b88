// SPDX-License-Identifier: Apache-2.0
#include "gateway/http/request_head.h"

#include <algorithm>
#include <charconv>
#include <system_error>

namespace mailgate::http {

namespace {

bool sameIgnoringCase(char a, char b) noexcept {
    return (a >= 'A' && a <= 'Z' ? a + ('a' - 'A') : a) == b;
}

/// How long the head is, with the empty line; 0: it is not whole.
std::size_t lengthOfHead(std::string_view text) noexcept {
    std::size_t length = 0;
    for (const std::string_view end : {"\r\n\r\n", "\n\n"}) {
        const std::size_t at = text.find(end);
        if (at != std::string_view::npos && (length == 0 || at + end.size() < length))
            length = at + end.size();
    }
    return length;
}

/// What Content-Length says of the body, where that is one number, and the client sends it unasked; else 0.
std::size_t lengthOfBody(std::string_view head) noexcept {
    constexpr std::string_view kField = "\ncontent-length:";
    if (holdsIgnoringCase(head, "\nexpect:")) return 0;
    const auto at = std::search(head.begin(), head.end(), kField.begin(), kField.end(), sameIgnoringCase);
    if (at == head.end()) return 0;
    const char* digits = &*at + kField.size();
    const char* const end = head.data() + head.size();
    while (digits != end && (*digits == ' ' || *digits == '\t'))
        ++digits;
    std::size_t length = 0;
    return std::from_chars(digits, end, length).ec == std::errc() ? length : 0;
}

constexpr std::string_view kSpaces = " \t";

/// The line up to a newline, without it; what is left is behind.
std::string_view takeHeadLine(std::string_view& head) noexcept {
    const std::size_t end = std::min(head.find('\n'), head.size());
    std::string_view line = head.substr(0, end);
    head.remove_prefix(std::min(end + 1, head.size()));
    if (line.ends_with('\r')) line.remove_suffix(1);
    return line;
}

bool isRequestLine(std::string_view line) noexcept {
    const std::size_t method = line.find(' ');
    if (method == 0 || method == std::string_view::npos) return false;
    const std::string_view rest = line.substr(method + 1);
    const std::size_t target = rest.find(' ');
    if (target == 0 || target == std::string_view::npos) return false;
    const std::string_view version = rest.substr(target + 1);
    return version == "HTTP/1.1" || version == "HTTP/1.0";
}

bool isLength(std::string_view value) noexcept {
    constexpr std::size_t kMostDigits = 18;
    const std::size_t begin = std::min(value.find_first_not_of(kSpaces), value.size());
    value.remove_prefix(begin);
    value = value.substr(0, std::min(value.find_last_not_of(kSpaces) + 1, value.size()));
    return !value.empty() && value.size() <= kMostDigits &&
           value.find_first_not_of("0123456789") == std::string_view::npos;
}

bool isField(std::string_view line) noexcept {
    constexpr std::string_view kLength = "content-length";
    const std::size_t colon = line.find(':');
    if (colon == 0 || colon == std::string_view::npos) return false;
    const std::string_view name = line.substr(0, colon);
    if (name.find_first_of(kSpaces) != std::string_view::npos) return false;
    return name.size() != kLength.size() || !holdsIgnoringCase(name, kLength) ||
           isLength(line.substr(colon + 1));
}

}  // namespace

bool holdsIgnoringCase(std::string_view text, std::string_view word) noexcept {
    return std::search(text.begin(), text.end(), word.begin(), word.end(), sameIgnoringCase) != text.end();
}

bool isWholeRequest(std::string_view text, std::size_t most) noexcept {
    const std::size_t head = lengthOfHead(text);
    if (head == 0) return false;
    const std::size_t body = lengthOfBody(text.substr(0, head));
    return head >= most || body > most - head || text.size() - head >= body;
}

bool isMalformed(std::string_view text) noexcept {
    std::string_view head = text.substr(0, lengthOfHead(text));
    if (!isRequestLine(takeHeadLine(head))) return true;
    while (!head.empty()) {
        const std::string_view line = takeHeadLine(head);
        if (line.empty()) break;
        if (!isField(line)) return true;
    }
    return false;
}

}  // namespace mailgate::http
