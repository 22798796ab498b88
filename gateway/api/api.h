// SPDX-License-Identifier: Apache-2.0
/// \file  The API (docs/openapi.yaml): what the command line can ask and order, for programs and the console, by the same
/// services. Who asks is known, and how requests arrive is somebody else's matter.
///
/// Blocks for as long as the databases take: for threads that nobody else waits for.
#pragma once

#include "gateway/api/parts.h"
#include "gateway/api/request.h"
#include "gateway/api/turns.h"
#include "store/store_error.h"

#include <chrono>
#include <cstddef>
#include <mutex>
#include <string_view>
#include <utility>
#include <vector>

namespace mailgate::api {

/// Where the paths begin.
inline constexpr std::string_view kRoot = "/api/v1";

/// Any thread.
class Api {
  public:
    /// Of the threads that ask it so many at most are kept by what takes long.
    static constexpr std::size_t kMostInTurns = AllTurns::kThreads;

    explicit Api(Parts parts) : parts_(std::move(parts)), turns_(parts_.patience) {}

    /// An error in the request, whatever it is, becomes a problem document; so does a database that cannot be used. Throws
    /// only what Control throws.
    Response handle(const Request& request);

    /// Whether the gateway is configured to have one.
    bool hasFleet() const;

    /// Tells the log, which strangers and viewers do not read, why a database cannot be used; once a minute.
    void logFailure(const store::StoreError& error);

    /// What can be asked, by whom at least; in a path "*" is any name.
    struct Asked {
        std::string_view method, path;
        store::Role least;
    };
    static std::vector<Asked> allAsked();

    /// How large the body may be, which need not be there yet. Larger ones are a problem for handle(). 0: whatever it is, the request is
    /// refused, or, a GET or HEAD, answered all the same.
    static std::size_t mostBody(const Request& request);

  private:
    const Parts parts_;
    AllTurns turns_;
    std::mutex mutex_;
    std::chrono::steady_clock::time_point quiet_until_;  ///< under the mutex
};

}  // namespace mailgate::api
