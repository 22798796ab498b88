// SPDX-License-Identifier: Apache-2.0
/// \file  As much of an HTTP/1 request as has to be known before a thread reads it (RFC 9112 2.2, 3, 5, 6). Pure functions;
/// `text` may be anything. Lines may end with LF alone.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace mailgate::http {

enum class RequestState : std::uint8_t {
    Incomplete,     ///< the head is
    Unaccompanied,  ///< the head is whole; of a small body (see Whole) something is still to come
    /// Nothing more is to be waited for: the head is there, up to the empty line, and so is the body, where one
    /// Content-Length says how long that is, it is a small one, and the client sends it unasked. Of other bodies nothing
    /// may be here; who reads on may wait for the peer.
    Whole,
    /// Not a request of HTTP/1.0 or 1.1, or its fields can be read in more than one way.
    Malformed,
    TooLong,  ///< the head, or the part of it that is there
};

/// What is known of a request before a thread reads it.
struct RequestHead {
    RequestState state = RequestState::Incomplete;
    // Where the head is whole:
    std::string_view method, target;  ///< within the text; the target without a scheme and a host
    std::string_view fields;          ///< the lines behind the first, for fieldIn()
    std::string_view body;            ///< as much of it as Content-Length says and is here
    /// A field tells of a body, or wants something said before it comes: of what is behind the head not all may be read.
    bool has_body = false;
    bool awaits_body = false;  ///< and not all of it is here
};

/// `most_head`, `most_body` (what a small body is) in bytes. Where `text` has as many as both together, nothing more is waited for.
RequestHead readHead(std::string_view text, std::size_t most_head, std::size_t most_body) noexcept;

/// A target without its scheme and host, if it has these (absolute-form, RFC 9112 3.2.2).
struct Target {
    std::optional<std::string_view> authority;  ///< host and port; nothing: it has none
    std::string_view path;                      ///< with the query; within the target, or "/"
};
Target targetOf(std::string_view target) noexcept;

/// What all fields of that name have, as a list (RFC 9110 5.3); empty: there is none. `fields`: of a head that is whole.
std::string fieldIn(std::string_view fields, std::string_view name);

/// What is answered from what the gateway knows at once, and has nothing more to be read.
bool isProbe(const RequestHead& request) noexcept;

}  // namespace mailgate::http
