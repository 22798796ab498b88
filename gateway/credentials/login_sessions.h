// SPDX-License-Identifier: Apache-2.0
/// \file  Who is logged in. In memory alone, and of each secret only its digest: a restart ends them all.
#pragma once

#include <chrono>
#include <cstddef>
#include <map>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>

namespace mailgate::credentials {

struct Login {
    std::string account;
    std::string password;    ///< its hash as it was: another one ends the session
    std::string csrf_token;  ///< has to come with every change
    std::chrono::steady_clock::time_point begun, used;
};

/// Any thread.
class LoginSessions {
  public:
    using Clock = std::chrono::steady_clock;
    static constexpr std::chrono::minutes kIdle{30};
    static constexpr std::chrono::hours kAbsolute{12};
    static constexpr std::size_t kMost = 1'000;  ///< beyond it the one unused for longest ends
    static constexpr std::size_t kMostOfOne =
        20;  ///< of one account; likewise: nobody's log-ins end those of others

    /// Returns the secret. Throws std::system_error.
    std::string begin(std::string account, std::string password, Clock::time_point now);
    /// None: there is none, or it has expired.
    std::optional<Login> find(std::string_view secret, Clock::time_point now, bool counts_as_use = true);
    void end(std::string_view secret);
    /// Returns how many.
    std::size_t endAllOf(std::string_view account);

  private:
    static bool isOver(const Login& login, Clock::time_point now) noexcept {
        return now - login.used >= kIdle || now - login.begun >= kAbsolute;
    }
    void makeRoom(std::string_view account, Clock::time_point now);
    void endUnusedForLongest(std::string_view account);

    std::mutex mutex_;
    std::map<std::string, Login, std::less<>> by_digest_;
};

}  // namespace mailgate::credentials
