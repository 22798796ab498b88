// SPDX-License-Identifier: Apache-2.0
#include "gateway/daemon/gateway_control.h"

#include "gateway/base/clock.h"
#include "gateway/config/changes.h"
#include "gateway/config/load.h"
#include "gateway/daemon/admin_states.h"
#include "gateway/log/escape.h"
#include "store/backends/fleet.h"
#include "store/backends/rules.h"
#include "store/fleet/sharing.h"

#include <fmt/format.h>

#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <exception>
#include <filesystem>
#include <future>
#include <iterator>
#include <thread>
#include <utility>

namespace mailgate {
namespace {

admin::Histogram snapshot(const TimeHistogram& histogram) {
    admin::Histogram copy;
    for (const std::int64_t bound : TimeHistogram::kBoundsMs)
        copy.upper_bounds.push_back(static_cast<double>(bound) / 1000);
    for (const Counter& bucket : histogram.buckets)
        copy.counts.push_back(value(bucket));
    copy.sum = static_cast<double>(value(histogram.sum_ms)) / 1000;
    return copy;
}

/// Asks every worker and adds up the answers. A worker that does not answer in time is left out.
template <typename Sum, typename Task, typename Add>
Sum askAll(const std::vector<std::unique_ptr<Worker>>& workers, Task task, Add add) {
    std::vector<decltype(workers.front()->call(task))> answers;
    answers.reserve(workers.size());
    for (const auto& worker : workers)
        answers.push_back(worker->call(task));
    Sum sum{};
    for (auto& answer : answers) {
        if (answer.wait_for(Worker::kAnswerLimit) == std::future_status::ready) add(sum, answer.get());
    }
    return sum;
}

/// Rules are looked for several times a second. False: those of `version` cannot be read, or are another store's.
bool awaitRules(const store::AccessWatcher& access, std::int64_t version) {
    constexpr std::chrono::milliseconds kPause{10};
    const auto limit = std::chrono::steady_clock::now() + Worker::kAnswerLimit;
    while (access.current()->version() < version) {
        if (std::chrono::steady_clock::now() >= limit) return false;
        std::this_thread::sleep_for(kPause);
    }
    return true;
}

/// What keeps a server from getting sessions that may have them, if all of its addresses are down.
std::string onceUp(const UpstreamPool& pool, std::string_view server) {
    std::string reason;
    for (const ServerStatus& one : pool.status()) {
        if (one.server != server) continue;
        if (one.healthy) return "";
        reason = one.reason;
    }
    return fmt::format(" once it is up: {}", reason);
}

std::string absolutePath(const std::string& path) {
    return std::filesystem::absolute(path).lexically_normal().string();
}

}  // namespace

GatewayControl::GatewayControl(Parts parts) : parts_(std::move(parts)), started_ms_(unixMillis()) {}

admin::Status GatewayControl::status() {
    const auto generation = parts_.reloader.current();
    const Counters& counters = parts_.state.counters;
    admin::Status status;
    const Millis now = monotonicMillis();
    status.name = generation->config.name;
    status.version = MAILGATE_VERSION;
    // As they are from here: who asks may be in another folder.
    status.config_file = absolutePath(generation->config.file);
    const std::string& store = generation->config.store_url;
    const std::size_t path = store.find(':') + 1;
    status.store = store.substr(0, path) + absolutePath(store.substr(path));
    status.pid = ::getpid();
    status.started_ms = started_ms_;
    status.draining = draining_;
    status.live = parts_.state.sessions;
    status.max_sessions = parts_.state.max_sessions;
    status.configured_sessions = generation->config.max_sessions;
    const auto table = generation->access->current();
    for (std::size_t i = 0; i < generation->config.listeners.size(); ++i) {
        const ListenerConfig& listener = generation->config.listeners[i];
        const ListenerCounters& own = *generation->listeners[i];
        admin::ListenerStatus row;
        row.name = listener.name;
        row.protocol = toString(listener.protocol);
        row.mode = toString(listener.mode);
        for (const Endpoint& address : listener.addresses)
            row.addresses.push_back(address.toString());
        row.totals = valuesOf(own);
        for (std::size_t reason = 0; reason < kRefusals; ++reason) {
            const std::uint64_t number = value(own.refusals[reason]);
            row.refused += number;
            row.refusals.emplace_back(reasonFor(static_cast<Refusal>(reason)), number);
            if (isPolicy(static_cast<Refusal>(reason)))
                row.would_refuse.emplace_back(reasonFor(static_cast<Refusal>(reason)),
                                              value(own.would_refuse[reason]));
        }
        if (listener.endsTls()) row.handshakes = handshakeCounts(own.handshakes);
        row.upstream = listener.upstream;
        row.available = generation->upstreams[listener.upstream_index]->available(now);
        row.access = listener.access == AccessDefault::Allowlist ? "allowlist" : "open";
        row.closed = listener.access == AccessDefault::Allowlist && listener.mode != ListenerMode::Monitor &&
                     !table->letsSomebodyIn(static_cast<store::ListenerIndex>(i), unixMillis() / 1'000);
        for (const Network& network : listener.trusted)
            row.trusted.push_back(network.toString());
        row.live = static_cast<std::uint64_t>(std::max<std::int64_t>(own.live, 0));
        row.paused = own.paused > 0;
        if (own.address_alarm) status.address_alarms.push_back(listener.name);
        status.listeners.push_back(std::move(row));
    }
    for (const auto& pool : generation->upstreams) {
        auto servers = pool->status();
        status.servers.insert(status.servers.end(), servers.begin(), servers.end());
    }
    for (std::size_t i = 0; i < generation->tls.size(); ++i) {
        if (!generation->tls[i]) continue;
        for (const auto& certificate : generation->tls[i]->context()->certificates()) {
            status.certificates.push_back(
                {generation->config.listeners[i].name, certificate->files().certificate, certificate->names(),
                 certificate->subject(), std::string(certificate->keyType()), certificate->sha256(),
                 certificate->notBefore(), certificate->notAfter()});
        }
    }
    status.tls_files = tlsFiles(*generation);
    status.totals = valuesOf(counters);
    status.rejections = counters.rejections.rows();
    for (std::size_t i = 0; i < kCloseReasons; ++i) {
        const auto end = static_cast<CloseReason>(i);
        if (endsAdmitted(end)) status.ends.emplace_back(toString(end), value(counters.ends[i]));
    }
    for (std::size_t i = 0; i < kRefusals; ++i) {
        status.refusals.emplace_back(reasonFor(static_cast<Refusal>(i)), value(counters.refusals[i]));
    }
    status.rules = table->size();
    status.rules_bytes = table->memoryBytes();
    status.rules_version = table->version();
    status.rules_loaded_ms = parts_.rules.loaded_ms;
    status.rules_failed = rulesFailed();
    const auto unknown = table->unknownListeners(unixMillis() / 1'000);
    status.rules_without_listener.assign(unknown.begin(), unknown.end());
    status.rules_expiring = parts_.rules.expiring;
    status.fleet = fleet();
    status.fleet_journal = fleetJournal();
    if (parts_.tickets) status.fleet_tickets = parts_.tickets->status();
    status.log_lines_lost = parts_.log.lost();
    EventLog::Trouble of_log = parts_.log.trouble();
    status.log_failure = std::move(of_log.what);
    status.log_failed_since_ms = of_log.since_ms;
    if (parts_.journal) {
        const store::Journal::Trouble trouble = parts_.journal->trouble();
        status.journal_failure = trouble.what;
        status.journal_failed_since_ms = trouble.since_ms;
        status.journal_queued = parts_.journal->queued();
        status.journal_written = parts_.journal->written();
        status.journal_lost = parts_.journal->lost();
        status.journal_bytes = parts_.journal->bytes();
        status.journal_max_bytes = generation->config.journal.max_bytes;
        status.journal_oldest_ms = parts_.journal->oldestMs();
    }
    for (std::size_t i = 0; i < generation->upstreams.size(); ++i) {
        const UpstreamCounters& own = *generation->upstream_counters[i];
        status.upstreams.push_back(
            {generation->config.upstreams[i].name, snapshot(own.connect), snapshot(own.greeting)});
    }
    status.last_reload_failed = counters.last_reload_failed;
    for (const auto& worker : parts_.workers)
        status.worker_lag_seconds.push_back(static_cast<double>(worker->lag()) / 1000);
    return status;
}

/// Looked for now: who has just moved a file, and asks, is not to hear that nothing has changed.
std::optional<admin::ConfigChange> GatewayControl::configChange() {
    const auto current = parts_.reloader.current();
    auto found = current->config.sources.change();
    if (!found) return std::nullopt;
    admin::ConfigChange change{std::move(*found)};
    change.file = absolutePath(change.file);
    try {
        change.restart = restartOnlyChanges(current->config, loadUnresolved(current->config.file));
    } catch (const ConfigError& error) {
        change.refused = error.what();
    }
    return change;
}

std::vector<admin::TlsFilesStatus> GatewayControl::tlsFiles(const Generation& generation) const {
    std::vector<admin::TlsFilesStatus> files;
    for (std::size_t i = 0; i < generation.tls.size(); ++i)
        if (generation.tls[i])
            files.push_back({"listener", generation.config.listeners[i].name, generation.tls[i]->refusal()});
    for (const auto& pool : generation.upstreams)
        if (pool->tls()) files.push_back({"upstream", pool->config().name, pool->tls()->refusal()});
    if (parts_.console) files.push_back({"console", "console", parts_.console->refusal()});
    return files;
}

std::vector<LiveSession> GatewayControl::sessions() {
    using Sessions = std::vector<LiveSession>;
    return askAll<Sessions>(
        parts_.workers, [](Worker& worker) { return worker.liveSessions(); },
        [](Sessions& all, Sessions more) {
            all.insert(all.end(), std::make_move_iterator(more.begin()), std::make_move_iterator(more.end()));
        });
}

LiveSessions GatewayControl::newestSessions(std::size_t most) {
    return askAll<LiveSessions>(
        parts_.workers, [most](Worker& worker) { return worker.newestSessions(most); },
        [](LiveSessions& all, LiveSessions more) {
            all.found += more.found;
            std::move(more.sessions.begin(), more.sessions.end(), std::back_inserter(all.sessions));
        });
}

bool GatewayControl::kill(std::string_view id) {
    return askAll<bool>(
        parts_.workers, [id = std::string(id)](Worker& worker) { return worker.kill(id); },
        [](bool& any, bool one) { any = any || one; });
}

std::optional<std::size_t> GatewayControl::cut(const admin::Cut& cut) {
    // Rules in force first: a client that was cut off and is back at once then is refused.
    const auto generation = parts_.reloader.current();
    if (cut.rules_version && !awaitRules(*generation->access, *cut.rules_version)) return std::nullopt;
    const auto rules = cut.rules_version ? generation : nullptr;
    return askAll<std::size_t>(
        parts_.workers,
        [network = cut.network, listeners = cut.listeners, rules](Worker& worker) {
            return worker.cut(network, listeners, rules.get());
        },
        [](std::size_t& all, std::size_t some) { all += some; });
}

admin::Outcome GatewayControl::setServer(std::string_view upstream, std::string_view server, AdminState state,
                                         std::string_view by) {
    return setServer(upstream, server,
                     state == AdminState::Drain
                         ? std::optional(DrainOrder{unixMillis() / 1'000, std::string(by)})
                         : std::nullopt);
}

admin::Outcome GatewayControl::setServerEverywhere(std::string_view upstream, std::string_view server,
                                                   AdminState state, std::string_view by) {
    const auto generation = parts_.reloader.current();
    const Config& config = generation->config;
    if (!parts_.fleet) return Control::setServerEverywhere(upstream, server, state, by);
    const bool is_known = std::any_of(config.upstreams.begin(), config.upstreams.end(), [&](const auto& one) {
        return one.name == upstream && std::any_of(one.servers.begin(), one.servers.end(),
                                                   [&](const auto& each) { return each.name == server; });
    });
    const bool drain = state == AdminState::Drain;
    if (drain && !is_known)
        return {false, fmt::format("upstream {} has no server {}", inQuotes(upstream), inQuotes(server))};
    constexpr store::FleetStore::Patience kPatience{.connect = std::chrono::milliseconds(800)};
    const auto fleet = store::openFleet(config.fleet.url, kPatience);
    const store::FleetState now = fleet->state();
    const auto replica = store::openReplica(config.store_url, {.use = store::RuleStore::Use::Assist});
    store::requireMember(replica->membership(), now, *fleet);
    const store::FleetDrain wish{std::string(upstream), std::string(server), unixMillis() / 1'000,
                                 store::actorAt(by, config.name)};
    if (!fleet->setDrain(wish, drain))
        return {true,
                fmt::format("{}/{} was not drained everywhere; a gateway where it is drained by itself puts "
                            "it back by itself",
                            upstream, server)};
    return {true,
            fmt::format("{}/{} gets {} at all gateways of the fleet, within a second where they reach its "
                        "database",
                        upstream, server, drain ? "no new sessions" : "new sessions again")};
}

admin::Outcome GatewayControl::setServer(std::string_view upstream, std::string_view server,
                                         const std::optional<DrainOrder>& wanted) {
    const std::lock_guard lock(orders_);
    const auto generation = parts_.reloader.current();
    const auto pool =
        std::find_if(generation->upstreams.begin(), generation->upstreams.end(),
                     [&](const auto& candidate) { return candidate->config().name == upstream; });
    if (pool == generation->upstreams.end())
        return {false, fmt::format("there is no upstream {}", inQuotes(upstream))};
    const auto servers = (*pool)->status();
    const auto before = std::find_if(servers.begin(), servers.end(), [&](const ServerStatus& one) {
        return one.server == server && one.draining;
    });
    const bool was_drained = before != servers.end();
    const bool drain = wanted.has_value();
    const std::optional<DrainOrder> order = drain && was_drained ? before->drained : wanted;
    if (!(*pool)->setAdminState(server, drain ? AdminState::Drain : AdminState::Ready,
                                order.value_or(DrainOrder{}))) {
        return {false, fmt::format("upstream {} has no server {}", inQuotes(upstream), inQuotes(server))};
    }
    const Millis spread = generation->config.drain_timeout.count();
    for (const auto& worker : parts_.workers) {
        worker->call(
            [upstream = std::string(upstream), server = std::string(server), drain, spread](Worker& self) {
                if (drain)
                    self.drainServer(upstream, server, spread);
                else
                    self.undrainServer(upstream, server);
            });
    }
    if (!drain && !was_drained)
        return {true, fmt::format("{}/{} was not drained: it gets new sessions{}{}", upstream, server,
                                  onceUp(**pool, server), kept(*generation, upstream, server, order))};
    const std::string warning =
        drain && !(*pool)->available(monotonicMillis())
            ? fmt::format("; no other server of {} takes sessions: its clients are told to try again later",
                          upstream)
            : "";
    if (drain && was_drained)
        return {true, fmt::format("{}/{} has been drained{} already{}{}", upstream, server, inWords(*order),
                                  warning, kept(*generation, upstream, server, order))};
    return {true, fmt::format("{}/{} gets {}{}{}", upstream, server,
                              drain ? fmt::format("no new sessions; its current sessions end within {} s",
                                                  spread / 1000)
                                    : "new sessions again" + onceUp(**pool, server),
                              warning, kept(*generation, upstream, server, order))};
}

std::string GatewayControl::kept(const Generation& generation, std::string_view upstream,
                                 std::string_view server, const std::optional<DrainOrder>& order) const {
    const std::string file = adminStateFile(generation.config.store_url);
    try {
        DrainedServers all = readDrained(file);
        std::pair<std::string, std::string> one(upstream, server);
        if (order)
            all.insert_or_assign(std::move(one), *order);
        else
            all.erase(one);
        forgetUnknown(all, generation.config);
        writeDrained(file, all);
        return "";
    } catch (const std::exception& error) {
        return fmt::format("; a restart will not know of it ({})", error.what());
    }
}

admin::Readiness GatewayControl::ready(std::string_view listener) {
    using admin::Readiness;
    if (!ready_.load(std::memory_order_relaxed)) return Readiness::NotReady;
    const auto generation = parts_.reloader.current();
    bool known = false;
    for (const ListenerConfig& own : generation->config.listeners) {
        if (!listener.empty() && own.name != listener) continue;
        known = true;
        if (generation->upstreams[own.upstream_index]->available(monotonicMillis())) return Readiness::Ready;
    }
    return known ? Readiness::NoServer : Readiness::UnknownListener;
}

admin::Outcome GatewayControl::reload() {
    return parts_.reloader.reload();
}

}  // namespace mailgate
