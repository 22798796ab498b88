// SPDX-License-Identifier: Apache-2.0
/// \file  Who sends a request to the console: a program with a token, somebody who is logged in, or whom a trusted proxy names.
#pragma once

#include "gateway/api/request.h"
#include "gateway/config/config.h"
#include "gateway/credentials/known_places.h"
#include "gateway/credentials/login_limiter.h"
#include "gateway/credentials/login_sessions.h"
#include "gateway/log/event_sink.h"
#include "store/accounts/store.h"

#include <chrono>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <utility>
#include <variant>
#include <vector>

namespace mailgate::console {

/// What of a request tells who sends it.
struct Credentials {
    IpAddress client;           ///< behind trusted proxies: what they say
    bool is_secure = false;     ///< TLS, ours or a trusted proxy's
    std::string authorization;  ///< the field; empty: none
    std::string proxy_user;     ///< of a trusted proxy; empty: none
    std::string cookie;         ///< the session's; empty: none
    std::string csrf_token;
    bool changes = false;    ///< the method is one that may change something
    bool refreshes = false;  ///< a page that is shown asks again by itself
};

/// The client and the user of trusted proxies are read from these.
struct ProxyFields {
    std::string forwarded_for;    ///< X-Forwarded-For
    std::string forwarded_proto;  ///< X-Forwarded-Proto
    std::string user;             ///< the configured field
};
bool isTrustedProxy(const ConsoleConfig& config, const IpAddress& peer);
/// Fills in what proxies say, if the peer is one. Returns what of X-Forwarded-For is no address where one of them has written who its
/// client is, whom it is taken for itself then; empty: nothing. Within `fields`.
std::string_view applyProxy(Credentials& credentials, const ConsoleConfig& config, const IpAddress& peer,
                            const ProxyFields& fields);

/// Of a Cookie field (RFC 6265 5.4), the first few: another service of this host may have set one of the same name.
std::vector<std::string> cookiesNamed(std::string_view header, std::string_view name);

/// Known, or the response for who is not.
struct Known {
    api::Principal who;
    std::string csrf_token;  ///< of a session; empty: none is needed
};
using Identity = std::variant<Known, api::Response>;

/// Any thread. Blocks: passwords take time.
class Authenticator {
  public:
    using Accounts = std::function<std::unique_ptr<store::AccountStore>()>;

    /// `log` may be null.
    Authenticator(Accounts accounts, EventSink* log);

    Identity identify(const Credentials& credentials);
    /// Of cookies of the session's name the one that is a session's, else the first; empty: there is none.
    std::string sessionAmong(const std::vector<std::string>& cookies);
    /// The account that identify() would name, or the name of a token without one, as far as that is known at once: of a session, of a
    /// token that was here before, of whom a proxy names. Empty: it is not.
    std::string knownAtOnce(const Credentials& credentials);
    /// Before that nobody can be known.
    bool hasAccounts() const;

    struct LoggedIn {
        std::string secret;
        Known known;
    };
    /// Takes some 20 ms and 16 MiB for the password, whoever it is.
    std::variant<LoggedIn, api::Response> logIn(const Credentials& credentials, const std::string& user,
                                                const std::string& password);
    /// Whether the client or the user is at its limit, so that logIn() would look at nothing.
    bool isPaused(const IpAddress& client, const std::string& user);
    /// Whether the user has logged in from there lately. Then only failures of that client count: others' keep nobody out there.
    bool isKnownAt(const IpAddress& client, const std::string& user) const;
    /// To who would log in where there is no time for it, or is at a limit.
    api::Response notNow(const Credentials& credentials, const std::string& user);
    /// Tells the log what applyProxy() has not understood of this proxy; once a minute.
    void logUnknownClient(const IpAddress& proxy, std::string_view forwarded);
    void logOut(const Credentials& credentials) { sessions_.end(credentials.cookie); }
    std::size_t logOutEverywhere(const std::string& account) { return sessions_.endAllOf(account); }

  private:
    struct Kept {
        std::unique_ptr<store::AccountStore> store;
        std::chrono::steady_clock::time_point until;
    };
    /// The accounts for one question: opened a moment ago, or now. Browsers with what refreshes itself ask all the time, and opening
    /// takes longer than asking. One that has failed is not used again.
    class Opened {
      public:
        explicit Opened(const Authenticator& owner);
        ~Opened();
        Opened(const Opened&) = delete;
        Opened& operator=(const Opened&) = delete;
        store::AccountStore* operator->() const noexcept { return kept_.store.get(); }

      private:
        const Authenticator& owner_;
        const int exceptions_;
        Kept kept_;
    };

    Identity ofToken(const Credentials& credentials, std::string_view secret);
    void keepOwner(const std::string& digest, const std::optional<store::Token>& token);
    Identity ofProxy(const Credentials& credentials);
    Identity ofSession(const Credentials& credentials);
    api::Response unknown() const;
    bool isRight(const std::optional<store::Account>& account, const std::string& password) const;
    std::chrono::seconds delayOf(const IpAddress& client, const std::string& user);
    std::optional<api::Response> begin(const Credentials& credentials, const std::string& user);
    void onRefusal(const Credentials& credentials, const std::string& user, std::string_view how,
                   std::string_view reason);
    void logFailure(const Credentials& credentials, const std::string& user, std::string_view how,
                    std::string_view reason);

    const Accounts accounts_;
    EventSink* const log_;
    mutable std::mutex mutex_;
    mutable std::vector<Kept> kept_;  ///< under the mutex; as many as have asked at the same time
    const std::string nobodys_;       ///< a hash, for who has none: that takes as long
    std::chrono::steady_clock::time_point quiet_until_;  ///< under the mutex; of logUnknownClient()
    /// Under the mutex: of tokens that were right, by their digest. As many as there are.
    std::map<std::string, std::string, std::less<>> token_owners_;
    credentials::LoginSessions sessions_;
    credentials::LoginLimiter by_client_{5}, by_user_{30}, by_token_{5};
    /// Of a name, and a network: fewer than by_user_ allows, so that who has one network keeps the name's owner out of no other.
    credentials::LoginLimiter by_user_from_{15};
    credentials::KnownPlaces known_;
};

}  // namespace mailgate::console
