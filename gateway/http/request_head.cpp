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
    while (digits != end && *digits == ' ')
        ++digits;
    std::size_t length = 0;
    return std::from_chars(digits, end, length).ec == std::errc() ? length : 0;
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

}  // namespace mailgate::http
