// SPDX-License-Identifier: Apache-2.0
/// \file  The console's listener: the API over TCP, for who has an account or a token ([console] of the configuration).
///
/// Slow and hostile peers are gateway/http's matter; nothing of a request's body is read before it is known who sends it, but for
/// the few bytes of a log-in.
#pragma once

#include "gateway/api/api.h"
#include "gateway/config/config.h"
#include "gateway/console/authenticator.h"
#include "gateway/http/server.h"

#include <memory>

namespace mailgate::console {

/// Constructed, started and stopped by one thread.
class Console {
  public:
    struct Parts {
        api::Api& api;
        Authenticator::Accounts accounts;
        EventSink* log = nullptr;
        std::string gateway_name{};
        http::Server::Tls tls{};  ///< none: HTTP in the clear
    };

    /// Binds; nothing is answered yet. `parts` must outlive it. Throws ListenError.
    Console(const ConsoleConfig& config, const Parts& parts);
    ~Console();  ///< stops
    Console(const Console&) = delete;
    Console& operator=(const Console&) = delete;

    void start();
    /// As AdminServer::stop().
    void stop() noexcept;

  private:
    class Impl;
    std::unique_ptr<Impl> impl_;
};

}  // namespace mailgate::console
