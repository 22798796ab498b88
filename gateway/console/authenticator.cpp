// SPDX-License-Identifier: Apache-2.0
#include "gateway/console/authenticator.h"

#include "gateway/base/clock.h"
#include "gateway/credentials/password.h"
#include "gateway/credentials/secret.h"
#include "protocols/values/text.h"

#include <fmt/format.h>

#include <algorithm>
#include <exception>
#include <iterator>
#include <string_view>

namespace mailgate::console {

namespace {

using credentials::LoginSessions;
using store::Account;
using Clock = std::chrono::steady_clock;

constexpr int kUnauthorized = 401, kForbidden = 403, kTooMany = 429;
/// In the audit trail nobody is taken for a Unix user of that name.
constexpr std::string_view kByConsole = " (console)";

bool isOneOf(const std::vector<Network>& networks, const IpAddress& address) {
    return std::ranges::any_of(networks,
                               [&](const Network& network) { return network.contains(address.bytes); });
}

/// Who shares it is one: a whole /64 is a customer's.
std::string limitKey(const IpAddress& client) {
    constexpr unsigned kV6Prefix = 64;
    const Network whole{client.bytes, 128};
    return (whole.isV4() ? whole : networkAround(client.bytes, kV6Prefix)).toString();
}

/// Who may be one: a provider's network is as large.
std::string userFrom(const IpAddress& client, const std::string& user) {
    constexpr unsigned kV4Prefix = 112, kV6Prefix = 32;
    const Network whole{client.bytes, 128};
    return networkAround(client.bytes, whole.isV4() ? kV4Prefix : kV6Prefix).toString() + " " + user;
}

api::Response unauthorized(std::string_view detail) {
    api::Response response = api::problemResponse(kUnauthorized, "unauthorized", detail);
    response.headers.emplace_back("WWW-Authenticate", "Bearer");
    return response;
}

api::Response tooMany(std::chrono::seconds pause) {
    api::Response response =
        api::problemResponse(kTooMany, "too_many_failures",
                             fmt::format("too many failures: try again in {} seconds", pause.count()));
    response.headers.emplace_back("Retry-After", fmt::to_string(pause.count()));
    return response;
}

api::Principal principalOf(const Account& account) {
    return {account.name + std::string(kByConsole), account.role, account.name};
}

}  // namespace

/// An address, or one with a port: "192.0.2.1:4000", "[2001:db8::1]:4000", "[2001:db8::1]" (RFC 7239 6).
std::optional<IpAddress> forwardedAddress(std::string_view text) {
    if (auto address = IpAddress::parse(std::string(text))) return address;
    const bool in_brackets = text.starts_with('[');
    const std::size_t end = text.find(in_brackets ? ']' : ':');
    if (end == std::string_view::npos) return std::nullopt;
    const std::string_view port = text.substr(in_brackets ? end + 1 : end);
    const bool is_port = port.empty() || (port.front() == ':' &&
                                          port.find_first_not_of("0123456789", 1) == std::string_view::npos);
    if (!is_port) return std::nullopt;
    auto address = IpAddress::parse(std::string(in_brackets ? text.substr(1, end - 1) : text.substr(0, end)));
    return address;
}

bool isTrustedProxy(const ConsoleConfig& config, const IpAddress& peer) {
    return isOneOf(config.trusted_proxies, peer);
}

std::string_view applyProxy(Credentials& credentials, const ConsoleConfig& config, const IpAddress& peer,
                            const ProxyFields& fields) {
    credentials.client = peer;
    if (!isTrustedProxy(config, peer)) return {};
    credentials.proxy_user = fields.user;
    credentials.is_secure =
        credentials.is_secure || equalsIgnoreCase(trimmed(fields.forwarded_proto), "https");
    // From the end, which our own proxy has written, as far as those are proxies of ours.
    std::string_view rest = fields.forwarded_for;
    while (!rest.empty()) {
        const std::size_t comma = rest.rfind(',');
        const std::string_view one = trimmed(comma == std::string_view::npos ? rest : rest.substr(comma + 1));
        const auto address = forwardedAddress(one);
        if (!address) return one.empty() ? rest : one;
        credentials.client = *address;
        if (comma == std::string_view::npos || !isTrustedProxy(config, *address)) return {};
        rest = rest.substr(0, comma);
    }
    return {};
}

std::vector<std::string> cookiesNamed(std::string_view header, std::string_view name) {
    constexpr std::size_t kMost = 8;
    std::vector<std::string> cookies;
    while (!header.empty() && cookies.size() < kMost) {
        const std::size_t end = std::min(header.find(';'), header.size());
        const std::string_view pair = trimmed(header.substr(0, end));
        const std::size_t equals = pair.find('=');
        if (equals != std::string_view::npos && pair.substr(0, equals) == name)
            cookies.emplace_back(pair.substr(equals + 1));
        header.remove_prefix(std::min(end + 1, header.size()));
    }
    return cookies;
}

Authenticator::Authenticator(Accounts accounts, EventSink* log)
    : accounts_(std::move(accounts)),
      log_(log),
      nobodys_(credentials::hashPassword(credentials::newSecret())) {}

/// So soon a database that another has taken the place of is seen.
constexpr std::chrono::seconds kKept{5};

Authenticator::Opened::Opened(const Authenticator& owner)
    : owner_(owner), exceptions_(std::uncaught_exceptions()) {
    const auto now = Clock::now();
    std::vector<Kept> over;  // closed without the mutex, which knownAtOnce() waits for
    {
        const std::lock_guard lock(owner_.mutex_);
        const auto first_over = std::partition(owner_.kept_.begin(), owner_.kept_.end(),
                                               [&](const Kept& kept) { return kept.until > now; });
        over.assign(std::move_iterator(first_over), std::move_iterator(owner_.kept_.end()));
        owner_.kept_.erase(first_over, owner_.kept_.end());
        if (!owner_.kept_.empty()) {
            kept_ = std::move(owner_.kept_.back());
            owner_.kept_.pop_back();
        }
    }
    if (!kept_.store) kept_ = {owner_.accounts_(), now + kKept};
}

Authenticator::Opened::~Opened() {
    if (std::uncaught_exceptions() != exceptions_) return;
    const std::lock_guard lock(owner_.mutex_);
    owner_.kept_.push_back(std::move(kept_));
}

namespace {

/// None: it is no token.
std::optional<std::string_view> tokenIn(std::string_view authorization) {
    constexpr std::string_view kBearer = "Bearer ";
    if (!startsWithIgnoreCase(authorization, kBearer)) return std::nullopt;
    return trimmed(authorization.substr(kBearer.size()));
}

}  // namespace

std::string Authenticator::knownAtOnce(const Credentials& credentials) {
    if (const auto token = tokenIn(credentials.authorization)) {
        const std::lock_guard lock(mutex_);
        const auto owner = token_owners_.find(credentials::digestOf(*token));
        return owner == token_owners_.end() ? "" : owner->second;
    }
    if (!credentials.proxy_user.empty()) return credentials.proxy_user;
    constexpr bool kIsUse = false;
    const auto login = sessions_.find(credentials.cookie, LoginSessions::Clock::now(), kIsUse);
    return login ? login->account : "";
}

Identity Authenticator::identify(const Credentials& credentials) {
    if (const auto token = tokenIn(credentials.authorization)) return ofToken(credentials, *token);
    // With a proxy that asks for the password itself, the rest of the field is its matter (RFC 7617).
    if (!credentials.proxy_user.empty()) return ofProxy(credentials);
    if (!credentials.authorization.empty())
        return unauthorized("expected Authorization: Bearer, with a token");
    if (!credentials.cookie.empty()) return ofSession(credentials);
    return unknown();
}

std::string Authenticator::sessionAmong(const std::vector<std::string>& cookies) {
    constexpr bool kIsUse = false;
    const auto is_session = [&](const std::string& cookie) {
        return sessions_.find(cookie, LoginSessions::Clock::now(), kIsUse).has_value();
    };
    if (cookies.empty()) return "";
    const auto found = cookies.size() == 1 ? cookies.begin() : std::ranges::find_if(cookies, is_session);
    return found == cookies.end() ? cookies.front() : *found;
}

Identity Authenticator::ofToken(const Credentials& credentials, std::string_view secret) {
    const Opened accounts(*this);
    const std::string digest = credentials::digestOf(secret);
    const auto token = accounts->tokenOf(digest);
    keepOwner(digest, token);
    if (!token || !isLive(*token, unixMillis() / 1'000)) {
        onRefusal(credentials, token ? token->name : "", "token", token ? "expired" : "unknown");
        return unauthorized(token ? "the token has expired" : "the token is none");
    }
    Known known{{fmt::format("token {}{}", token->name, kByConsole), token->role, token->account}, ""};
    if (token->account.empty()) return known;
    const auto account = accounts->account(token->account);
    if (!account) return unauthorized("the token is none");
    known.who.role = std::min(token->role, account->role);
    return known;
}

void Authenticator::keepOwner(const std::string& digest, const std::optional<store::Token>& token) {
    const std::lock_guard lock(mutex_);
    if (token)
        token_owners_[digest] = token->account.empty() ? token->name + " (token)" : token->account;
    else
        token_owners_.erase(digest);
}

/// The proxy has asked for the password.
Identity Authenticator::ofProxy(const Credentials& credentials) {
    const auto account = Opened(*this)->account(credentials.proxy_user);
    if (account) return Known{principalOf(*account), ""};
    onRefusal(credentials, credentials.proxy_user, "proxy", "unknown");
    return api::problemResponse(kForbidden, "no_account",
                                "there is no account of the name that the proxy says");
}

Identity Authenticator::ofSession(const Credentials& credentials) {
    const auto login =
        sessions_.find(credentials.cookie, LoginSessions::Clock::now(), !credentials.refreshes);
    const Opened accounts(*this);
    const auto account = login ? accounts->account(login->account) : std::nullopt;
    if (!account || account->password != login->password) {
        sessions_.end(credentials.cookie);
        return unauthorized("the session is over: log in again");
    }
    if (credentials.changes && credentials.csrf_token != login->csrf_token)
        return api::problemResponse(kForbidden, "csrf",
                                    "X-CSRF-Token with the session's csrf_token is needed");
    return Known{principalOf(*account), login->csrf_token};
}

bool Authenticator::hasAccounts() const {
    const Opened accounts(*this);
    return !accounts->accounts().empty() || !accounts->tokens().empty();
}

api::Response Authenticator::unknown() const {
    return unauthorized(
        hasAccounts()
            ? "log in, or send a token"
            : "there is no account yet: mailgate console user add NAME --role admin makes the first");
}

std::variant<Authenticator::LoggedIn, api::Response> Authenticator::logIn(const Credentials& credentials,
                                                                          const std::string& user,
                                                                          const std::string& password) {
    if (isPaused(credentials.client, user)) return notNow(credentials, user);
    const auto account = Opened(*this)->account(user);
    if (auto response = begin(credentials, user)) return std::move(*response);
    if (!isRight(account, password)) {
        logFailure(credentials, user, "password", account ? "password" : "unknown");
        return unauthorized("the name or the password is wrong");
    }
    by_client_.onSuccess(limitKey(credentials.client), user);
    if (!isKnownAt(credentials.client, user)) {
        by_user_.onSuccess(user, "");
        by_user_from_.onSuccess(userFrom(credentials.client, user), "");
    }
    const auto now = LoginSessions::Clock::now();
    known_.add(user, limitKey(credentials.client), now);
    LoggedIn logged_in{sessions_.begin(account->name, account->password, now), {principalOf(*account), ""}};
    if (const auto login = sessions_.find(logged_in.secret, now))
        logged_in.known.csrf_token = login->csrf_token;
    if (log_ != nullptr) {
        LogLine line = log_->line(LogLevel::Information, "console.login");
        line.text("user", account->name).text("role", toString(account->role));
        line.text("client", credentials.client.toString());
        log_->write(line);
    }
    return logged_in;
}

bool Authenticator::isRight(const std::optional<Account>& account, const std::string& password) const {
    return credentials::isPassword(password, account ? account->password : nobodys_) && account.has_value();
}

bool Authenticator::isPaused(const IpAddress& client, const std::string& user) {
    return delayOf(client, user).count() > 0;
}

bool Authenticator::isKnownAt(const IpAddress& client, const std::string& user) const {
    return known_.has(user, limitKey(client), Clock::now());
}

std::chrono::seconds Authenticator::delayOf(const IpAddress& client, const std::string& user) {
    const auto now = Clock::now();
    if (isKnownAt(client, user)) return by_client_.delay(limitKey(client), now);
    return std::max({by_user_.delay(user, now), by_user_from_.delay(userFrom(client, user), now),
                     by_client_.delay(limitKey(client), now)});
}

api::Response Authenticator::notNow(const Credentials& credentials, const std::string& user) {
    if (const auto delay = delayOf(credentials.client, user); delay.count() > 0) return tooMany(delay);
    api::Response response = api::problemResponse(503, "busy", "too many people log in at once: try again");
    response.headers.emplace_back("Retry-After", "1");
    return response;
}

/// Counted before the password is checked: who tries many at once may try no more.
std::optional<api::Response> Authenticator::begin(const Credentials& credentials, const std::string& user) {
    const auto now = Clock::now();
    const std::string from = userFrom(credentials.client, user);
    const bool is_known = isKnownAt(credentials.client, user);
    auto longest = is_known ? std::chrono::seconds(0)
                            : std::max(by_user_.delay(user, now), by_user_from_.delay(from, now));
    if (longest.count() == 0) longest = by_client_.begin(limitKey(credentials.client), user, now);
    if (longest.count() == 0 && !is_known) longest = by_user_from_.begin(from, "", now);
    if (longest.count() == 0 && !is_known) longest = by_user_.begin(user, "", now);
    if (longest.count() == 0) return std::nullopt;
    return tooMany(longest);
}

void Authenticator::logUnknownClient(const IpAddress& proxy, std::string_view forwarded) {
    constexpr std::chrono::minutes kQuiet{1};
    {
        const std::lock_guard lock(mutex_);
        const auto now = Clock::now();
        if (now < quiet_until_) return;
        quiet_until_ = now + kQuiet;
    }
    if (log_ == nullptr) return;
    LogLine line = log_->line(LogLevel::Warning, "console.client_unknown");
    log_->write(line.text("proxy", proxy.toString()).text("forwarded_for", forwarded));
}

/// Only passwords can be guessed. A program that goes on with a token that has expired keeps nobody beside it from logging in, and is
/// not told of each time.
void Authenticator::onRefusal(const Credentials& credentials, const std::string& user, std::string_view how,
                              std::string_view reason) {
    if (by_token_.begin(limitKey(credentials.client), "", Clock::now()).count() == 0)
        logFailure(credentials, user, how, reason);
}

void Authenticator::logFailure(const Credentials& credentials, const std::string& user, std::string_view how,
                               std::string_view reason) {
    if (log_ == nullptr) return;
    LogLine line = log_->line(LogLevel::Warning, "console.login_failed");
    line.text("client", credentials.client.toString()).textOrNull("user", user);
    line.text("with", how).text("reason", reason);
    log_->write(line);
}

}  // namespace mailgate::console
