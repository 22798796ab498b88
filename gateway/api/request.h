// SPDX-License-Identifier: Apache-2.0
/// \file  Requests of the API and their responses (docs/openapi.yaml), apart from how they arrive.
#pragma once

#include "store/accounts/account.h"

#include <cstddef>
#include <functional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace mailgate::api {

/// Longer targets and larger bodies are refused; a list of rules to be imported may be larger than other bodies.
inline constexpr std::size_t kMaxTarget = 16'000;
inline constexpr std::size_t kMaxBody = std::size_t{64} << 10;
inline constexpr std::size_t kMaxImport = std::size_t{16} << 20;

/// Who asks.
struct Principal {
    std::string name;  ///< for the audit trail and the log
    store::Role role = store::Role::Viewer;
    std::string account{};  ///< of the console; empty: a token that is nobody's, or a user of this computer

    /// Whose requests are one client's, however the account comes: by a session, or by one of its tokens.
    const std::string& client() const noexcept { return account.empty() ? name : account; }
};

struct Request {
    Principal who;
    std::string method;
    std::vector<std::string> path;  ///< the segments behind /api/v1, decoded; may hold anything
    std::vector<std::pair<std::string, std::string>> query;
    std::string if_match;
    std::string body;
    /// Whether who asks is gone by now, and takes no answer; empty: that is not known.
    std::function<bool()> has_left{};
};

struct Response {
    int status = 200;
    std::string body;
    std::string content_type = "application/json";
    std::vector<std::pair<std::string, std::string>> headers;  ///< further ones
};

/// A problem document (RFC 9457). `code` is for programs, `detail` a sentence; `members` more of them, as JSON without
/// braces; may be empty.
Response problemResponse(int status, std::string_view code, std::string_view detail,
                         std::string_view members = {});

}  // namespace mailgate::api
