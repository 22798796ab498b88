// SPDX-License-Identifier: Apache-2.0
#include "gateway/upstream/upstream_pool.h"

#include "protocols/health_dialogue.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <span>
#include <utility>

namespace mailgate {
namespace {

// A turn of an endpoint of weight 1; divisible enough for the weights and their slow-start fractions.
constexpr std::uint64_t kTurn = std::uint64_t{1} << 32;
// Weights are counted in these, so that slow start can give a part of one.
constexpr std::uint32_t kWeightUnit = 256;
// Where slow start begins: a tenth.
constexpr std::uint32_t kSlowStartParts = 10;

constexpr std::uint64_t kFnvOffset = 14695981039346656037ULL;
constexpr std::uint64_t kFnvPrime = 1099511628211ULL;

std::uint64_t fnv(std::span<const std::uint8_t> bytes) noexcept {
    std::uint64_t hash = kFnvOffset;
    for (const std::uint8_t byte : bytes)
        hash = (hash ^ byte) * kFnvPrime;
    return hash;
}

// splitmix64's finalizer: every bit of the input reaches every bit of the result.
std::uint64_t mix(std::uint64_t value) noexcept {
    value = (value ^ value >> 30) * 0xbf58476d1ce4e5b9ULL;
    value = (value ^ value >> 27) * 0x94d049bb133111ebULL;
    return value ^ value >> 31;
}

// The part of the address that a site keeps: IPv4 whole, IPv6 its /64.
std::uint64_t clientHash(const IpAddress& client) noexcept {
    return fnv(std::span(client.bytes).first(client.isV4() ? 16 : 8));
}

std::uint64_t identityOf(const Endpoint& endpoint) noexcept {
    const auto port = static_cast<std::uint64_t>(endpoint.port);
    return mix(fnv(endpoint.address.bytes) ^ port << 48);
}

// Weighted rendezvous hashing: who has the highest score gets the client, so a server that comes or goes
// moves only its own share.
double score(std::uint64_t client, std::uint64_t identity, std::uint32_t weight) noexcept {
    constexpr double kScale = 0x1p-53;
    const std::uint64_t hash = mix(client ^ identity);
    const double uniform = (static_cast<double>(hash >> 11) + 0.5) * kScale;  // in (0, 1)
    return -static_cast<double>(weight) / std::log(uniform);
}

}  // namespace

void ServerEndpoint::shookHands(const TlsTransport& tls) noexcept {
    handshakes.done(tls.version());
    certificate_expires.store(tls.peerNotAfter(), std::memory_order_relaxed);
}

UpstreamPool::UpstreamPool(const UpstreamConfig& config, Events events, std::shared_ptr<TlsUpstream> tls)
    : config_(config),
      events_(std::move(events)),
      tls_(std::move(tls)),
      entries_(std::make_shared<const Entries>()) {
    for (const ServerConfig& server : config.servers) {
        servers_.push_back(std::make_shared<UpstreamServer>());
        servers_.back()->name = server.name;
        addresses_.push_back(server.endpoints);
        std::sort(addresses_.back().begin(), addresses_.back().end());
    }
    rebuild(*entries_.share());
}

// ---- the choice

std::shared_ptr<ServerEndpoint> UpstreamPool::pick(const IpAddress& client, Millis now,
                                                   Tried& tried) noexcept {
    const std::uint64_t hash = config_.balance == Balance::Source ? clientHash(client) : 0;
    const Reading entries(entries_);
    for (const Tier tier : {Tier::Up, Tier::Backup, Tier::LastResort}) {
        const Entry* best = nullptr;
        for (const Entry& entry : *entries) {
            if (tried & Tried{1} << entry.slot || !serves(entry, tier, now)) continue;
            if (!best || better(entry, *best, hash, now)) best = &entry;
        }
        if (!best) continue;
        tried |= Tried{1} << best->slot;
        takeTurn(*best, now);
        return best->endpoint;
    }
    return nullptr;
}

std::shared_ptr<ServerEndpoint> UpstreamPool::pickAgain(const ServerEndpoint& endpoint, Millis now,
                                                        Tried& tried) noexcept {
    const Reading entries(entries_);
    for (const Entry& entry : *entries) {
        if (entry.endpoint.get() != &endpoint || tried & Tried{1} << entry.slot) continue;
        if (!serves(entry, Tier::Up, now) && !serves(entry, Tier::Backup, now)) continue;
        tried |= Tried{1} << entry.slot;
        return entry.endpoint;
    }
    return nullptr;
}

bool UpstreamPool::serves(const Entry& entry, Tier tier, Millis now) const noexcept {
    if (entry.endpoint->server->draining.load(std::memory_order_relaxed)) return false;
    switch (tier) {
        case Tier::Up:
            return !entry.backup && entry.endpoint->health.usable(now);
        case Tier::Backup:
            return entry.backup && entry.endpoint->health.usable(now);
        case Tier::LastResort:
            return true;
    }
    return false;
}

bool UpstreamPool::better(const Entry& one, const Entry& other, std::uint64_t client,
                          Millis now) const noexcept {
    switch (config_.balance) {
        case Balance::RoundRobin:
            break;
        case Balance::LeastConn: {
            // Sessions per weight, the one to come included; multiplied out.
            const auto load = [](const Entry& entry) -> std::uint64_t {
                return entry.endpoint->sessions.load(std::memory_order_relaxed) + std::uint64_t{1};
            };
            const std::uint64_t mine = load(one) * weightNow(other, now);
            const std::uint64_t theirs = load(other) * weightNow(one, now);
            if (mine != theirs) return mine < theirs;
            break;
        }
        case Balance::Source:
            return score(client, one.identity, weightNow(one, now)) >
                   score(client, other.identity, weightNow(other, now));
    }
    return turnOf(one) < turnOf(other);
}

// Stride scheduling: an endpoint's turns are kTurn / weight apart, and the earliest is next. Two workers may
// see the same turn; then one endpoint gets two sessions in a row, which the next turns make up for.
std::uint64_t UpstreamPool::turnOf(const Entry& entry) const noexcept {
    // Who was away does not get the turns that passed meanwhile.
    return std::max(entry.endpoint->turn.load(std::memory_order_relaxed),
                    turn_now_.load(std::memory_order_relaxed));
}

void UpstreamPool::takeTurn(const Entry& entry, Millis now) noexcept {
    const std::uint64_t turn = turnOf(entry);
    turn_now_.store(turn, std::memory_order_relaxed);
    entry.endpoint->turn.store(turn + kTurn / weightNow(entry, now), std::memory_order_relaxed);
}

std::uint32_t UpstreamPool::weightNow(const Entry& entry, Millis now) const noexcept {
    const std::uint32_t full = entry.weight * kWeightUnit;
    const Millis since = entry.endpoint->health.upSince();
    const Millis ramp = config_.slow_start.count();
    // A worker's clock may be behind the checker's, who says since when.
    if (since == 0 || ramp == 0 || now - since >= ramp) return full;
    const auto grown = static_cast<std::uint32_t>(full * std::max<Millis>(now - since, 0) / ramp);
    return std::max(grown, full / kSlowStartParts);
}

std::unique_ptr<ServerTls> UpstreamPool::tlsTo(const ServerEndpoint& endpoint, Handshake handshake,
                                               const Speaker& speaker) const {
    const bool starttls = config_.asksForStartTls();
    if (!tls_ || (starttls && speaker.protocol == Protocol::Tcp)) return nullptr;
    auto tls = tlsAtOnce(endpoint, handshake);
    if (starttls)
        tls->starttls =
            std::make_unique<StartTlsDialogue>(speaker.protocol, heloName(speaker.name, speaker.own));
    return tls;
}

std::unique_ptr<ServerTls> UpstreamPool::tlsAtOnce(const ServerEndpoint& endpoint,
                                                   Handshake handshake) const {
    const auto server =
        std::find_if(config_.servers.begin(), config_.servers.end(),
                     [&](const ServerConfig& each) { return each.name == endpoint.server->name; });
    auto tls = std::make_unique<ServerTls>();
    tls->context = tls_->context();
    if (server != config_.servers.end()) tls->name = server->tls_name;
    if (handshake == Handshake::Resumed) tls->peer = tls->name + ' ' + endpoint.endpoint.toString();
    return tls;
}

bool UpstreamPool::available(Millis now) const noexcept {
    const Reading entries(entries_);
    return std::any_of(entries->begin(), entries->end(), [&](const Entry& entry) {
        return serves(entry, Tier::Up, now) || serves(entry, Tier::Backup, now);
    });
}

// ---- health

EndpointHealth::Report UpstreamPool::reportOn(const ServerEndpoint& endpoint) const {
    return [this, &endpoint](Health now, std::string_view why) {
        if (now == Health::Up && events_.up) events_.up(config_, endpoint);
        if (now == Health::Down && events_.down) events_.down(config_, endpoint, why);
    };
}

void UpstreamPool::reportFailure(ServerEndpoint& endpoint, Millis now, ServerFailure failure) {
    endpoint.failures_total.fetch_add(1, std::memory_order_relaxed);
    if (!endpoint.health.sessionFailed(failure, now, reportOn(endpoint))) return;
    const std::lock_guard lock(changes_);
    if (alarm_) alarm_->ring();
}

void UpstreamPool::reportSuccess(ServerEndpoint& endpoint) {
    endpoint.sessions_total.fetch_add(1, std::memory_order_relaxed);
    endpoint.health.sessionServed(reportOn(endpoint));
}

EndpointHealth::Policy UpstreamPool::policy() const noexcept {
    return {alarm_ != nullptr, config_.fall, config_.rise};
}

void UpstreamPool::watch(std::shared_ptr<CheckAlarm> alarm) noexcept {
    const std::lock_guard lock(changes_);
    alarm_ = std::move(alarm);
    const auto entries = entries_.share();
    for (const Entry& entry : *entries)
        entry.endpoint->health.setPolicy(policy());
}

void UpstreamPool::checkPassed(ServerEndpoint& endpoint, Millis now) {
    endpoint.health.checkPassed(now, reportOn(endpoint));
}

void UpstreamPool::checkFailed(ServerEndpoint& endpoint, std::string_view why, std::uint32_t weight) {
    endpoint.health.checkFailed(why, weight, reportOn(endpoint));
}

// ---- administration

std::vector<std::shared_ptr<ServerEndpoint>> UpstreamPool::endpoints() const {
    std::vector<std::shared_ptr<ServerEndpoint>> all;
    const auto entries = entries_.share();
    all.reserve(entries->size());
    for (const Entry& entry : *entries)
        all.push_back(entry.endpoint);
    return all;
}

bool UpstreamPool::setAddresses(std::size_t index, const std::vector<Endpoint>& addresses) {
    const std::lock_guard lock(changes_);
    if (addresses.empty()) return false;
    // Sorted, because a name's addresses that come in another order are no change.
    addresses_[index] = addresses;
    std::sort(addresses_[index].begin(), addresses_[index].end());
    return rebuild(*entries_.share());
}

bool UpstreamPool::setAdminState(std::string_view server, AdminState state, const DrainOrder& order) {
    const auto found = std::find_if(servers_.begin(), servers_.end(),
                                    [server](const auto& each) { return each->name == server; });
    if (found == servers_.end()) return false;
    const bool drain = state == AdminState::Drain;
    if (drain && !(*found)->draining) (*found)->drained.swap(std::make_shared<const DrainOrder>(order));
    (*found)->draining = drain;
    return true;
}

void UpstreamPool::carryOver(const UpstreamPool& old) {
    const std::scoped_lock lock(changes_, old.changes_);
    turn_now_ = old.turn_now_.load();
    for (std::size_t i = 0; i < servers_.size(); ++i) {
        const auto same = std::find_if(old.servers_.begin(), old.servers_.end(),
                                       [&](const auto& each) { return each->name == servers_[i]->name; });
        if (same == old.servers_.end()) continue;
        servers_[i] = *same;
        const auto at = static_cast<std::size_t>(same - old.servers_.begin());
        if (addresses_[i].empty() && config_.servers[i].address == old.config_.servers[at].address)
            addresses_[i] = old.addresses_[at];
    }
    rebuild(*old.entries_.share());
}

std::vector<ServerStatus> UpstreamPool::status() const {
    const std::lock_guard lock(changes_);
    const auto entries = entries_.share();
    std::vector<ServerStatus> all;
    for (std::size_t i = 0; i < servers_.size(); ++i) {
        ServerStatus status;
        status.upstream = config_.name;
        status.server = servers_[i]->name;
        status.draining = servers_[i]->draining;
        if (const auto order = servers_[i]->drained.share(); order && status.draining)
            status.drained = *order;
        status.backup = config_.servers[i].backup;
        status.weight = config_.servers[i].weight;
        if (addresses_[i].empty()) {
            status.address = config_.servers[i].address;
            status.healthy = false;
            status.reason = "its name has not been resolved yet";
            all.push_back(std::move(status));
            continue;
        }
        for (const Entry& entry : *entries) {
            const ServerEndpoint& endpoint = *entry.endpoint;
            if (endpoint.server != servers_[i]) continue;
            status.address = endpoint.endpoint.toString();
            status.healthy = endpoint.health.state() != Health::Down;
            status.reason = status.healthy ? "" : endpoint.health.reason();
            status.sessions = endpoint.sessions;
            status.sessions_total = endpoint.sessions_total;
            status.failures_total = endpoint.failures_total;
            status.changed_ms = endpoint.health.changedMs();
            if (tls_) {
                status.handshakes = handshakeCounts(endpoint.handshakes);
                status.certificate_expires = endpoint.certificate_expires;
            }
            all.push_back(status);
        }
    }
    return all;
}

// Makes the list that servers_ and addresses_ ask for; what is in `known` stays the endpoint it is.
bool UpstreamPool::rebuild(const Entries& known) {
    auto next = std::make_shared<Entries>();
    std::uint64_t free_slots = ~std::uint64_t{0};
    for (std::size_t i = 0; i < servers_.size(); ++i) {
        for (const Endpoint& address : addresses_[i]) {
            Entry entry = makeEntry(known, i, address);
            if (entry.slot != kNoSlot) free_slots &= ~(std::uint64_t{1} << entry.slot);
            next->push_back(std::move(entry));
        }
    }
    for (Entry& entry : *next) {
        if (entry.slot != kNoSlot || free_slots == 0) continue;
        entry.slot = static_cast<std::uint8_t>(std::countr_zero(free_slots));
        free_slots &= free_slots - 1;
    }
    std::erase_if(*next, [](const Entry& entry) { return entry.slot == kNoSlot; });
    const auto before = entries_.share();
    if (std::equal(next->begin(), next->end(), before->begin(), before->end(),
                   [](const Entry& a, const Entry& b) { return a.endpoint == b.endpoint; }))
        return false;
    entries_.swap(std::move(next));
    return true;
}

UpstreamPool::Entry UpstreamPool::makeEntry(const Entries& known, std::size_t server,
                                            const Endpoint& address) const {
    Entry entry;
    entry.weight = config_.servers[server].weight;
    entry.backup = config_.servers[server].backup;
    entry.identity = identityOf(address);
    for (const Entry& before : known) {
        if (before.endpoint->server != servers_[server] || before.endpoint->endpoint != address) continue;
        entry.endpoint = before.endpoint;
        entry.slot = before.slot;
        return entry;
    }
    entry.endpoint = std::make_shared<ServerEndpoint>();
    entry.endpoint->server = servers_[server];
    entry.endpoint->endpoint = address;
    entry.endpoint->health.setPolicy(policy());
    return entry;
}

}  // namespace mailgate
