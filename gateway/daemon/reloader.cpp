// SPDX-License-Identifier: Apache-2.0
#include "gateway/daemon/reloader.h"

#include "gateway/config/changes.h"
#include "gateway/config/load.h"
#include "gateway/daemon/admin_states.h"
#include "gateway/daemon/preflight.h"
#include "protocols/dialogue/refusal_wording.h"
#include "store/backends/rules.h"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <new>
#include <utility>

namespace mailgate {
namespace {

// How often the files of certificates and of the configuration are looked at.
constexpr std::chrono::seconds kPollFiles{2};
// How often the hits of rules are written.
constexpr std::chrono::seconds kHitsEvery{2};

const admin::Outcome kStopping{false, "the gateway is stopping"};

/// What ends a reload that the gateway's stop has overtaken.
struct Stopping : std::exception {};

bool showsRuleNotes(const Config& config) {
    return std::any_of(config.listeners.begin(), config.listeners.end(),
                       [](const ListenerConfig& listener) { return showsRuleNote(listener.refusal_footer); });
}

store::UpkeepOptions upkeepOf(const RulesConfig& rules) {
    const auto seconds = [](std::chrono::milliseconds time) {
        return std::chrono::duration_cast<std::chrono::seconds>(time).count();
    };
    return {seconds(rules.keep_expired), seconds(rules.keep_audit), seconds(rules.warn_expiry)};
}

/// Those among the new servers that were drained when they were last here, as after a restart.
void drainReturned(const Generation& next, const Generation& before) {
    DrainedServers drained;
    try {
        drained = readDrained(adminStateFile(next.config.store_url));
    } catch (const std::runtime_error&) {
        return;  // a start tells of it
    }
    forgetKnown(drained, before.config);
    drainAgain(next, drained);
}

/// A drain is of a name: who has renamed a server in maintenance must hear that it gets sessions.
std::vector<std::string> drainChanges(const Generation& before, const Generation& next) {
    std::vector<std::string> changes;
    DrainedServers gone = drainedOf(before), returned = drainedOf(next);
    forgetKnown(gone, next.config);
    forgetKnown(returned, before.config);
    for (const auto& [name, order] : gone)
        changes.push_back(fmt::format("server {}/{} was drained{}: a server of another name is not",
                                      name.first, name.second, inWords(order)));
    for (const auto& [name, order] : returned)
        changes.push_back(
            fmt::format("server {}/{} is still drained{}", name.first, name.second, inWords(order)));
    return changes;
}

}  // namespace

Reloader::Reloader(Site site) : site_(std::move(site)) {}

Reloader::~Reloader() {
    stop();
}

void Reloader::start() {
    thread_ = std::thread([this] {
        run();
        site_.inherited.letGo();
    });
}

// ---- asking

void Reloader::ask() noexcept {
    {
        const std::lock_guard lock(mutex_);
        ++asked_;
    }
    changed_.notify_all();
}

admin::Outcome Reloader::reload() {
    std::unique_lock lock(mutex_);
    const std::uint64_t mine = ++asked_;
    changed_.notify_all();
    if (!changed_.wait(lock, stop_.get_token(), [&] { return done_ >= mine; })) return kStopping;
    return outcome_;
}

void Reloader::refuse() noexcept {
    stop_.request_stop();
}

void Reloader::stop() noexcept {
    refuse();
    if (thread_.joinable()) thread_.join();
    names_.reset();
}

void Reloader::run() {
    std::unique_lock lock(mutex_);
    while (!stop_.stop_requested()) {
        const auto asked = [this] { return asked_ > done_; };
        if (!changed_.wait_for(lock, stop_.get_token(), kPollFiles, asked)) {
            lock.unlock();
            pollFiles();
            lock.lock();
            continue;
        }
        if (stop_.stop_requested()) return;
        // Before it begins: the file may change while it is read, and who asks then asks for another one.
        const std::uint64_t begun = asked_;
        lock.unlock();
        admin::Outcome outcome{false, ""};
        try {
            outcome = carryOut();
        } catch (const std::bad_alloc&) {
            // No memory to say what is wrong; what was in force is.
        }
        lock.lock();
        outcome_ = std::move(outcome);
        done_ = begun;
        changed_.notify_all();
    }
}

void Reloader::pollFiles() noexcept {
    try {
        const auto generation = current();
        if (!generation) return;
        site_.tls.poll(generation->config, generation->tls);
        site_.server_tls.poll(generation->upstreams);
    } catch (const std::exception&) {
        // No memory: the next look may find more.
    }
}

// ---- the transaction

admin::Outcome Reloader::carryOut() {
    try {
        Successor next = prepareNext();
        admin::Outcome done{true, next.changes.empty() ? "nothing has changed"
                                                       : fmt::format("{}", fmt::join(next.changes, "; "))};
        const std::vector<std::string> changes = std::move(next.changes);
        commit(std::move(next));
        site_.log.reopen();
        logReloaded(changes);
        count(site_.state.counters.reloads);
        site_.state.counters.last_reload_failed = false;
        return done;
    } catch (const Stopping&) {
        return kStopping;
    } catch (const std::exception& error) {
        site_.log.reopen();
        LogLine line = site_.log.line(LogLevel::Error, "config.failed");
        line.text("detail", error.what());
        site_.log.write(line);
        count(site_.state.counters.failed_reloads);
        site_.state.counters.last_reload_failed = true;
        return {false, error.what()};
    }
}

/// Whatever it throws, nothing has changed. What most often cannot be had, a port or the log's file, is asked for
/// first: a watcher of rules tells of those that it finds, whatever comes of the reload.
Reloader::Successor Reloader::prepareNext() {
    const auto before = current();
    Config config = loadConfig(site_.file, stop_.get_token());
    if (stop_.stop_requested()) throw Stopping();
    const auto fixed = restartOnlyChanges(before->config, config);
    if (!fixed.empty()) {
        throw ConfigError(fmt::format("{}: {} can only change with a restart; nothing was changed",
                                      site_.file, fmt::join(fixed, ", ")));
    }
    auto changes = describeChanges(before->config, config);
    TlsListeners::Row tls = site_.tls.make(config);
    TlsUpstreams::Row server_tls = site_.server_tls.make(config);
    auto added = std::make_shared<ListeningSockets>(
        bindListeners(config, static_cast<unsigned>(site_.workers.size()), site_.inherited, &before->config));
    EventLog::Next log = site_.log.prepare(config.log);
    Successor next = makeSuccessor(std::move(config), std::move(tls), std::move(server_tls), before.get());
    next.changes = std::move(changes);
    for (std::string& change : drainChanges(*before, *next.generation))
        next.changes.push_back(std::move(change));
    const std::vector<std::string> known = site_.inherited.unusedWarnings(before->config);
    for (std::string& warning : site_.inherited.unusedWarnings(next.generation->config))
        if (std::find(known.begin(), known.end(), warning) == known.end())
            next.changes.push_back(std::move(warning));
    giveSockets(next, added);
    // Last, since these draw clients to themselves, who would be lost with them.
    startListening(*added, next.generation->config, site_.inherited, &before->config);
    site_.log.apply(std::move(log));
    return next;
}

Reloader::Successor Reloader::prepare(Config config, TlsListeners::Row tls, TlsUpstreams::Row server_tls) {
    return makeSuccessor(std::move(config), std::move(tls), std::move(server_tls), nullptr);
}

/// Threads are asked for here, the name watcher's last: from then on it works for the new pools.
Reloader::Successor Reloader::makeSuccessor(Config config, TlsListeners::Row tls,
                                            TlsUpstreams::Row server_tls, const Generation* before) {
    Successor next;
    next.generation = makeGeneration(std::move(config), std::move(tls), std::move(server_tls), before);
    const Config& now = next.generation->config;
    for (const auto& pool : next.generation->upstreams)
        next.plan.pools.emplace_back(next.generation, pool.get());
    next.plan.name = now.name;
    next.plan.connect = now.timeouts.connect;
    next.plan.greeting = now.timeouts.greeting;
    std::vector<UpstreamPool*> pools;
    pools.reserve(next.generation->upstreams.size());
    for (const auto& pool : next.generation->upstreams)
        pools.push_back(pool.get());
    next.names = std::make_unique<NameWatcher>(pools, nameEvents(site_.log));
    next.names->start();
    return next;
}

void Reloader::giveSockets(Successor& next, const std::shared_ptr<ListeningSockets>& added) {
    for (std::size_t i = 0; i < site_.workers.size(); ++i) {
        auto task = site_.workers[i]->package([generation = next.generation, added, i](Worker& worker) {
            worker.apply(generation, std::move((*added)[i]));
        });
        next.tasks.push_back(std::move(task.first));
        next.done.push_back(std::move(task.second));
    }
}

std::shared_ptr<Generation> Reloader::makeGeneration(Config config, TlsListeners::Row tls,
                                                     TlsUpstreams::Row server_tls, const Generation* before) {
    auto generation = std::make_shared<Generation>();
    generation->config = std::move(config);
    generation->tls = std::move(tls);
    const Config& now = generation->config;
    for (std::size_t i = 0; i < now.upstreams.size(); ++i) {
        const UpstreamConfig& upstream = now.upstreams[i];
        auto pool = std::make_unique<UpstreamPool>(upstream, poolEvents(site_.log), std::move(server_tls[i]));
        std::shared_ptr<UpstreamCounters> counters;
        for (std::size_t old = 0; before && old < before->upstreams.size(); ++old) {
            if (before->upstreams[old]->config().name != upstream.name) continue;
            pool->carryOver(*before->upstreams[old]);
            counters = before->upstream_counters[old];
        }
        generation->upstream_counters.push_back(counters ? counters : std::make_shared<UpstreamCounters>());
        generation->upstreams.push_back(std::move(pool));
    }
    if (before) drainReturned(*generation, *before);
    for (const ListenerConfig& listener : now.listeners) {
        std::shared_ptr<ListenerCounters> counters;
        for (std::size_t i = 0; before && i < before->config.listeners.size(); ++i) {
            if (before->config.listeners[i].name == listener.name) counters = before->listeners[i];
        }
        generation->listeners.push_back(counters ? counters : std::make_shared<ListenerCounters>());
    }
    watchAccess(*generation, before);
    return generation;
}

/// A database that a reload would have to make has been lost, and one without rules in the place of one that cannot be read
/// any more is none to go by: what is in force goes on.
std::unique_ptr<store::RuleStore> Reloader::rulesToServe(const Config& config, const Generation* before) {
    using Use = store::RuleStore::Use;
    auto rules = store::openRules(config.store_url, {.use = before ? Use::Resume : Use::Serve});
    const bool lost = before && site_.rules.failed && before->access->current()->size() > 0;
    if (lost && rules->load(listenerNames(config))->size() == 0)
        throw store::StoreError(store::StoreError::Kind::Open,
                                config.store_url +
                                    " has no rules, and is not the database from which those in force were "
                                    "read: put the right one "
                                    "back (docs/backup.md), or restart the gateway to go by this one");
    return rules;
}

/// The rules of the generation before, where they are the same for this one.
void Reloader::watchAccess(Generation& generation, const Generation* before) {
    const Config& config = generation.config;
    const bool notes = showsRuleNotes(config);
    if (before && listenerNames(before->config) == listenerNames(config) &&
        allowlists(before->config) == allowlists(config) && before->config.rules == config.rules &&
        notes == (before->rule_notes != nullptr)) {
        generation.access = before->access;
        generation.rule_notes = before->rule_notes;
        return;
    }
    store::AccessWatcher::Events events = accessEvents(site_.log, site_.rules, allowlists(config));
    if (notes) {
        generation.rule_notes = std::make_shared<Snapshot<RuleNotes>>();
        events = withRuleNotes(std::move(events), config.store_url, generation.rule_notes);
    }
    generation.access =
        std::make_shared<store::AccessWatcher>(rulesToServe(config, before), listenerNames(config),
                                               std::move(events), kHitsEvery, upkeepOf(config.rules));
    generation.access->start();
}

void Reloader::commit(Successor next) noexcept {
    const auto before = generation_.swap(next.generation);
    const Config& config = next.generation->config;
    site_.state.max_sessions = std::min(config.max_sessions, sessionsWith(site_.descriptors, config));
    site_.checker.follow(std::move(next.plan));
    names_.swap(next.names);
    next.names.reset();
    for (std::size_t i = 0; i < next.tasks.size(); ++i)
        site_.workers[i]->post(std::move(next.tasks[i]));
    for (auto& future : next.done)
        future.wait_for(Worker::kAnswerLimit);
    // Sessions that still read their header against the old listeners find its last table.
    if (before && before->access != next.generation->access) before->access->stop();
}

void Reloader::logReloaded(const std::vector<std::string>& changes) noexcept {
    try {
        LogLine line = site_.log.line(LogLevel::Information, "config.reloaded");
        line.beginArray("changes");
        for (const std::string& change : changes)
            line.item(change);
        line.endArray();
        site_.log.write(line);
    } catch (const std::bad_alloc&) {
        // It is in force all the same.
    }
}

}  // namespace mailgate
