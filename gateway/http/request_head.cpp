// SPDX-License-Identifier: Apache-2.0
#include "gateway/http/request_head.h"

#include "protocols/values/text.h"

#include <algorithm>
#include <charconv>
#include <optional>
#include <system_error>

namespace mailgate::http {

namespace {

bool isTokenCharacter(char c) noexcept {
    return (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') ||
           std::string_view("!#$%&'*+-.^_`|~").find(c) != std::string_view::npos;
}

bool isToken(std::string_view text) noexcept {
    return !text.empty() && std::all_of(text.begin(), text.end(), isTokenCharacter);
}

/// Of a target: anything that is visible, in ASCII.
bool isVisible(char c) noexcept {
    return c > ' ' && c < '\x7f';
}

/// Of a field's value: obs-text too (RFC 9110 5.5).
bool isOfValue(char c) noexcept {
    return c == '\t' || (static_cast<unsigned char>(c) >= ' ' && c != '\x7f');
}

/// The next line, without its end; nothing when that is not there yet.
std::optional<std::string_view> takeLine(std::string_view& text) noexcept {
    const std::size_t end = text.find('\n');
    if (end == std::string_view::npos) return std::nullopt;
    std::string_view line = text.substr(0, end);
    if (line.ends_with('\r')) line.remove_suffix(1);
    text.remove_prefix(end + 1);
    return line;
}

/// Up to the next space, which goes too: there is one and no more (RFC 9112 3).
std::string_view takePart(std::string_view& line) noexcept {
    const std::string_view part = line.substr(0, line.find(' '));
    line.remove_prefix(std::min(part.size() + 1, line.size()));
    return part;
}

/// Fills in method and target.
bool readRequestLine(std::string_view line, RequestHead& request) noexcept {
    request.method = takePart(line);
    const std::string_view target = takePart(line);
    request.target = targetOf(target).path;
    return isToken(request.method) && !target.empty() &&
           std::all_of(target.begin(), target.end(), isVisible) && (line == "HTTP/1.1" || line == "HTTP/1.0");
}

/// How long the head is, with the empty line; 0: it is not whole.
std::size_t lengthOfHead(std::string_view text) noexcept {
    std::size_t length = 0;
    for (const std::string_view end : {"\n\r\n", "\n\n"}) {
        const std::size_t at = text.find(end);
        if (at != std::string_view::npos && (length == 0 || at + end.size() < length))
            length = at + end.size();
    }
    return length;
}

/// What has a larger number is no length of anything (RFC 9112 6.3), and wraps with others.
constexpr std::size_t kMostLength = std::size_t{1} << 62;

/// What the fields of a head say of the body behind it.
struct Framing {
    std::size_t length = 0;
    unsigned lengths = 0;  ///< fields that tell one
    bool is_plain =
        true;  ///< nothing but a length says how long it is, and nothing has to be said before it comes
};

/// Nothing when one of the lines is no field. A name with a space behind it and a line that goes on with the next are none:
/// who reads them otherwise sees another body (RFC 9112 5.1, 5.2).
std::optional<Framing> framingOf(std::string_view fields) noexcept {
    Framing framing;
    while (const auto line = takeLine(fields)) {
        if (line->empty()) break;
        const std::size_t colon = line->find(':');
        if (colon == std::string_view::npos || !isToken(line->substr(0, colon))) return std::nullopt;
        const std::string_view name = line->substr(0, colon), value = trimmed(line->substr(colon + 1));
        if (!std::all_of(value.begin(), value.end(), isOfValue)) return std::nullopt;
        if (equalsIgnoreCase(name, "content-length")) {
            ++framing.lengths;
            const char* const end = value.data() + value.size();
            const auto [last, error] = std::from_chars(value.data(), end, framing.length);
            if (error != std::errc() || last != end || framing.length > kMostLength) return std::nullopt;
        } else if (equalsIgnoreCase(name, "transfer-encoding") || equalsIgnoreCase(name, "expect")) {
            framing.is_plain = false;
        }
    }
    return framing;
}

/// Fills in what the fields tell.
RequestState stateOf(std::string_view text, std::size_t most_head, std::size_t most_body,
                     RequestHead& request) noexcept {
    std::string_view fields = text;
    const auto first = takeLine(fields);
    if (first && !readRequestLine(*first, request)) return RequestState::Malformed;
    const std::size_t head = lengthOfHead(text);
    if (head > most_head || (head == 0 && text.size() >= most_head)) return RequestState::TooLong;
    if (head == 0) return RequestState::Incomplete;
    const auto framing = framingOf(fields);
    if (!framing) return RequestState::Malformed;
    request.fields = fields.substr(0, fields.size() - (text.size() - head));
    request.body = text.substr(head, framing->length);
    request.has_body = framing->lengths > 0 || !framing->is_plain;
    request.awaits_body = !framing->is_plain || text.size() - head < framing->length;
    const bool may_wait = framing->is_plain && framing->lengths == 1 && framing->length <= most_body;
    return may_wait && request.awaits_body ? RequestState::Unaccompanied : RequestState::Whole;
}

}  // namespace

RequestHead readHead(std::string_view text, std::size_t most_head, std::size_t most_body) noexcept {
    RequestHead request;
    request.state = stateOf(text, most_head, most_body, request);
    return request;
}

Target targetOf(std::string_view target) noexcept {
    for (const std::string_view scheme : {"http://", "https://"}) {
        if (!startsWithIgnoreCase(target, scheme)) continue;
        target.remove_prefix(scheme.size());
        const std::string_view authority = target.substr(0, target.find_first_of("/?#"));
        target.remove_prefix(authority.size());
        return {authority, target.starts_with('/') ? target : "/"};
    }
    return {std::nullopt, target};
}

std::string fieldIn(std::string_view fields, std::string_view name) {
    std::string all;
    while (const auto line = takeLine(fields)) {
        const std::size_t colon = std::min(line->find(':'), line->size());
        if (!equalsIgnoreCase(line->substr(0, colon), name)) continue;
        all.append(all.empty() ? "" : ",").append(trimmed(line->substr(std::min(colon + 1, line->size()))));
    }
    return all;
}

bool isProbe(const RequestHead& request) noexcept {
    return request.state == RequestState::Whole && !request.has_body &&
           (request.method == "GET" || request.method == "HEAD") &&
           (request.target == "/readyz" || request.target == "/healthz" ||
            request.target.starts_with("/readyz?listener="));
}

}  // namespace mailgate::http
