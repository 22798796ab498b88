// SPDX-License-Identifier: Apache-2.0
/// \file  What the gateway counts. Relaxed atomics: any thread adds, any thread reads.
#pragma once

#include "gateway/admission/address_vote.h"
#include "protocols/refusal.h"
#include "protocols/values/address.h"

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <map>
#include <mutex>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace mailgate {

/// Why a connection got no session. The names are part of the log's and the metrics' contract.
enum class Rejection : std::uint8_t {
    UntrustedPeer,  ///< the peer is not in the listener's `trusted`
    NoHeader,       ///< a trusted peer sent nothing until the time limit
    HeaderTimeout,  ///< ... or only part of a header
    Incomplete,     ///< the peer closed in mid-header
    NotProxy,       ///< from here on: the decoder's reasons, proxy::Reason in its order
    BadV1,
    V1TooLong,
    BadVersion,
    BadCommand,
    BadFamily,
    UnsupportedFamily,
    BadLength,
    TooLong,
    BadTlv,
    BadChecksum,
};
inline constexpr std::size_t kRejections = static_cast<std::size_t>(Rejection::BadChecksum) + 1;

std::string_view toString(Rejection rejection) noexcept;

/// How a session ended, for the log. The names are part of the log's and the metrics' contract.
enum class End : std::uint8_t {
    None,
    ClientQuit,    ///< QUIT or LOGOUT, and the server let it go
    ClientClosed,  ///< the client closed first
    ClientReset,   ///< the client's connection broke
    ServerClosed,  ///< the server closed first
    ServerLost,    ///< the server's connection broke
    IdleTimeout,
    HalfCloseTimeout,   ///< one side had closed, the other never did
    Refused,            ///< the refusal has been said
    Check,              ///< a balancer's health check
    Shutdown,           ///< the gateway stopped
    Drained,            ///< its server is being drained
    Killed,             ///< closed on an administrator's word
    GatewayError,       ///< out of memory or descriptors
    BareLf,             ///< a message had a line that ends in LF alone
    ForbiddenCommand,   ///< the client claimed to be another one
    ProtocolViolation,  ///< what the client sent was not understood
    ServerViolation,    ///< the server's replies did not match the client's commands
};
inline constexpr std::size_t kEnds = static_cast<std::size_t>(End::ServerViolation) + 1;
std::string_view toString(End end) noexcept;

inline constexpr std::size_t kRefusals = static_cast<std::size_t>(Refusal::ServerViolation) + 1;
/// The `reason` of a refused session.
std::string_view reasonFor(Refusal refusal) noexcept;

using Counter = std::atomic<std::uint64_t>;
inline void count(Counter& counter, std::uint64_t by = 1) noexcept {
    counter.fetch_add(by, std::memory_order_relaxed);
}
inline std::uint64_t value(const Counter& counter) noexcept {
    return counter.load(std::memory_order_relaxed);
}

/// How often something took how long. The bounds suit a server on the same machine as well as a name look-up
/// gone wrong.
struct TimeHistogram {
    static constexpr std::array<std::int64_t, 10> kBoundsMs{1, 2, 5, 10, 50, 100, 500, 1'000, 5'000, 10'000};
    std::array<Counter, kBoundsMs.size() + 1> buckets{};
    Counter sum_ms{0};

    void add(std::int64_t milliseconds) noexcept;
};

struct ListenerCounters {
    Counter accepted{0};
    Counter admitted{0};
    Counter refused{0};                         ///< by rule or default
    std::array<Counter, kRefusals> refusals{};  ///< all of them, by reason
    Counter failed_logins{0};
    std::atomic<std::int64_t> live{0};
    std::atomic<int> paused{0};  ///< workers that rest for want of descriptors
    AddressVote address_vote;
    std::atomic<bool> address_alarm{false};  ///< most sessions come from one private address
};

/// Rejections by reason and balancer. Bounded: the first kMaxBalancers trusted peers by name, all else as
/// "other".
class RejectionTally {
  public:
    static constexpr std::size_t kMaxBalancers = 64;
    struct Row {
        std::string_view reason;
        std::string balancer;
        std::uint64_t count;
    };
    void add(Rejection rejection, const IpAddress& peer);
    std::vector<Row> rows() const;

  private:
    mutable std::mutex mutex_;
    std::map<std::pair<Rejection, std::string>, std::uint64_t> counts_;
    std::set<std::string> balancers_;
};

struct Counters {
    Counter accepted{0};     ///< connections accepted, whatever became of them
    Counter admitted{0};     ///< sessions that passed the access rules
    Counter refused{0};      ///< sessions refused by rule or default
    Counter turned_away{0};  ///< sessions refused for the gateway's sake: full, no server, stopping
    Counter checks{0};       ///< balancers' health checks answered
    Counter empty{0};        ///< connections that ended before their first byte
    Counter bytes_in{0};     ///< of ended sessions, from clients
    Counter bytes_out{0};
    std::array<Counter, kEnds> ends{};          ///< admitted sessions, by how they ended
    std::array<Counter, kRefusals> refusals{};  ///< refused ones, by reason
    RejectionTally rejections;
    TimeHistogram connect, greeting;
};

}  // namespace mailgate
