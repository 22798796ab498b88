// SPDX-License-Identifier: Apache-2.0
/// \file  The admin socket (docs/admin-api.md) and the HTTP listener for metrics.
///
/// Poco's HTTP on threads of its own (http::Server): it reaches the workers only through Control. The Unix socket takes
/// orders from root, the gateway's own user and the members of the socket file's group; the HTTP listener answers
/// /metrics, /healthz and /readyz and takes no orders from anybody.
#pragma once

#include "gateway/admin/control.h"
#include "gateway/config/config.h"
#include "gateway/http/server.h"
#include "gateway/log/event_log.h"

#include <Poco/Net/HTTPServerRequest.h>
#include <Poco/Net/HTTPServerResponse.h>

#include <functional>
#include <memory>
#include <string>

namespace mailgate::admin {

/// Constructed, started and stopped by one thread.
class AdminServer {
  public:
    /// What answers paths on the Unix socket that begin with kFurtherRoot, for a user who may give orders there.
    using Further =
        std::function<void(http::Server& server, const std::string& user,
                           Poco::Net::HTTPServerRequest& request, Poco::Net::HTTPServerResponse& response)>;
    static constexpr std::string_view kFurtherRoot = "/api/";

    /// Binds what `config` names; nothing is answered yet. A socket file that nobody listens on is replaced.
    /// `control` and `log` (may be null: no log) must outlive this object. Throws ListenError: another
    /// gateway answers there, the path is no socket, the address is taken.
    AdminServer(const AdminConfig& config, Control& control, EventLog* log, const Further& further = {});
    ~AdminServer();  ///< stops

    void start();

    /// Ends the connections, waits for the requests under way (so `control` must not wait for this thread), and
    /// removes the socket file. Returns at once, or after five seconds if a peer does not read its response. May
    /// be called twice.
    void stop() noexcept;

  private:
    class Impl;
    std::unique_ptr<Impl> impl_;
};

}  // namespace mailgate::admin
