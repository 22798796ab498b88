// SPDX-License-Identifier: Apache-2.0
/// \file  The admin socket's requests and their responses (docs/admin-api.md), apart from how requests arrive.
#pragma once

#include "gateway/admin/control.h"
#include "gateway/log/event_sink.h"

#include <functional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace mailgate::admin {

/// Where a request came in: the Unix socket, or the HTTP listener, which anybody who reaches it may ask.
enum class Origin : std::uint8_t { Socket, Http };

/// Longer paths and larger bodies are refused.
inline constexpr std::size_t kMaxTarget = 16'000;
inline constexpr std::size_t kMaxBody = std::size_t{64} << 10;

struct Request {
    Origin origin = Origin::Http;
    std::string user;  ///< who asks, for the log; Unix socket only
    std::string method;
    std::vector<std::string> path;  ///< its segments, decoded
    std::vector<std::pair<std::string, std::string>> query;
    std::string body;
    bool given_up = false;  ///< who asks is gone: no order is carried out whose giver was told that it failed
};

struct Response {
    int status = 200;
    std::string content_type;
    std::string body;
    std::string allow;  ///< with 405: the methods that the path takes
};

/// {"error": sentence}
Response errorResponse(int status, std::string_view sentence);

/// Any thread.
class Api {
  public:
    /// Both must outlive it; without a log orders are not logged.
    Api(Control& control, EventSink* log) : control_(control), log_(log) {}

    /// An error in the request, whatever it is, becomes an error response. Throws only what Control throws.
    Response handle(const Request& request);

  private:
    struct Route;
    static const Route kRoutes[];

    Response metrics(const Request& request);
    Response health(const Request& request);
    Response ready(const Request& request);
    Response status(const Request& request);
    Response sessions(const Request& request);
    Response kill(const Request& request);
    Response cut(const Request& request);
    Response setServer(const Request& request);
    Response reload(const Request& request);

    /// By `carry`, if somebody waits for what becomes of it; logged in any case.
    Outcome carryOut(const Request& request, std::string_view order, std::string_view target,
                     const std::function<Outcome()>& carry);
    void logOrder(const Request& request, std::string_view order, std::string_view target,
                  const Outcome& outcome);

    Control& control_;
    EventSink* log_;
};

}  // namespace mailgate::admin
