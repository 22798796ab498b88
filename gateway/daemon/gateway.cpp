// SPDX-License-Identifier: Apache-2.0
#include "gateway/daemon/gateway.h"

#include "gateway/base/cpus.h"
#include "gateway/base/memory_reserve.h"
#include "gateway/config/changes.h"
#include "gateway/config/load.h"
#include "gateway/daemon/privileges.h"

#include <Poco/ErrorHandler.h>

#include <fmt/format.h>

#include <signal.h>
#include <sys/resource.h>
#include <systemd/sd-daemon.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstring>
#include <functional>
#include <new>
#include <thread>
#include <utility>

namespace mailgate {
namespace {

using Clock = std::chrono::steady_clock;

// Descriptors that are not sessions': listeners, log, database, pipes, the C library's.
constexpr std::size_t kReservedDescriptors = 64;
// What a worker may take to answer a question of the admin socket's.
constexpr auto kAnswerLimit = std::chrono::seconds(5);

sigset_t handledSignals() {
    sigset_t set;
    sigemptyset(&set);
    for (const int signal : {SIGTERM, SIGINT, SIGHUP})
        sigaddset(&set, signal);
    return set;
}

std::int64_t unixMillis() {
    return std::chrono::duration_cast<std::chrono::milliseconds>(
               std::chrono::system_clock::now().time_since_epoch())
        .count();
}

/// Returns how many sessions there may be.
std::size_t raiseDescriptorLimit() {
    rlimit limit{};
    if (::getrlimit(RLIMIT_NOFILE, &limit) != 0) return SIZE_MAX;
    limit.rlim_cur = limit.rlim_max;
    ::setrlimit(RLIMIT_NOFILE, &limit);
    const std::size_t descriptors = limit.rlim_cur;
    return descriptors > 2 * kReservedDescriptors
               ? GatewayState::servedWith(descriptors - kReservedDescriptors)
               : std::max<std::size_t>(descriptors / 4, 1);
}

UpstreamPool::Events upstreamEvents(EventLog& log) {
    UpstreamPool::Events events;
    events.down = [&log](const UpstreamConfig& upstream, const ServerEndpoint& endpoint,
                         std::string_view why) {
        LogLine line = log.line(LogLevel::Error, "backend.down");
        line.text("upstream", upstream.name).text("server", endpoint.server->name);
        line.text("address", endpoint.endpoint.toString()).text("reason", why);
        log.write(line);
    };
    events.up = [&log](const UpstreamConfig& upstream, const ServerEndpoint& endpoint) {
        LogLine line = log.line(LogLevel::Warning, "backend.up");
        line.text("upstream", upstream.name).text("server", endpoint.server->name);
        line.text("address", endpoint.endpoint.toString());
        log.write(line);
    };
    return events;
}

store::JournalOptions journalOptions(const JournalConfig& config) {
    store::JournalOptions options;
    options.url = config.url;
    options.keep_sessions = config.keep;
    options.keep_refused = config.keep_refused;
    options.max_bytes = config.max_bytes;
    options.mask_after = config.mask_after;
    return options;
}

std::vector<std::string> listenerNames(const Config& config) {
    std::vector<std::string> names;
    for (const ListenerConfig& listener : config.listeners)
        names.push_back(listener.name);
    return names;
}

std::vector<Endpoint> addressesOf(const Config& config) {
    std::vector<Endpoint> all;
    for (const ListenerConfig& listener : config.listeners) {
        all.insert(all.end(), listener.addresses.begin(), listener.addresses.end());
    }
    return all;
}

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
    for (const auto& worker : workers)
        answers.push_back(worker->call(task));
    Sum sum{};
    for (auto& answer : answers) {
        if (answer.wait_for(kAnswerLimit) == std::future_status::ready) add(sum, answer.get());
    }
    return sum;
}

}  // namespace

/// Poco swallows what escapes a callback; here that is a defect, and has to be seen.
class Gateway::DefectLog final : public Poco::ErrorHandler {
  public:
    explicit DefectLog(EventLog& log) : log_(log), previous_(Poco::ErrorHandler::set(this)) {}
    ~DefectLog() override { Poco::ErrorHandler::set(previous_); }
    void exception(const Poco::Exception& error) override { tell(error.displayText()); }
    void exception(const std::exception& error) override { tell(error.what()); }
    void exception() override { tell("unknown exception"); }

  private:
    void tell(const std::string& what) {
        LogLine line = log_.line(LogLevel::Critical, "gateway.defect");
        line.text("detail", what);
        log_.write(line);
    }
    EventLog& log_;
    Poco::ErrorHandler* previous_;
};

/// A configuration with all that hangs on it, next to the one in force.
struct Gateway::Successor {
    std::shared_ptr<const Generation> generation;
    HealthChecker::Plan plan;
    std::unique_ptr<NameWatcher> names;
    // To be posted, by worker, and what tells when it was done.
    std::vector<std::function<void()>> tasks;
    std::vector<std::future<void>> done;
};

Gateway::Gateway(Config config)
    : file_(config.file),
      worker_count_(config.workers ? config.workers : usableCpus()),
      possible_sessions_(raiseDescriptorLimit()),
      started_ms_(unixMillis()) {
    const sigset_t signals = handledSignals();
    ::pthread_sigmask(SIG_BLOCK, &signals, nullptr);
    // An error of the call that writes: a peer that takes no more is no reason to die.
    ::signal(SIGPIPE, SIG_IGN);

    memory_reserve::install();

    InheritedSockets inherited = InheritedSockets::take();
    ListeningSockets listening = openListeners(config, worker_count_, &inherited);
    dropPrivileges(config.user);

    log_ = std::make_unique<EventLog>(config.log);
    defects_ = std::make_unique<DefectLog>(*log_);
    startJournal(config.journal);
    const AdminConfig admin = config.admin;
    const std::size_t most_sessions = std::min(config.max_sessions, possible_sessions_);
    state_ = std::make_unique<GatewayState>(*log_, journal_.get(), most_sessions);
    checker_ = std::make_unique<HealthChecker>();
    Successor first = prepare(std::move(config), {}, nullptr);
    for (auto& sockets : listening)
        workers_.push_back(std::make_unique<Worker>(*state_, first.generation, std::move(sockets)));
    admin_ = std::make_unique<admin::AdminServer>(admin, *this, log_.get());
    reloader_ = std::make_unique<ReloadThread>([this] { reload(); });
    commit(std::move(first));
    logStart(inherited);
    for (std::size_t i = 0; i < workers_.size(); ++i)
        workers_[i]->start(fmt::format("worker-{}", i));
    ready_ = true;
    admin_->start();
}

Gateway::~Gateway() {
    ready_ = false;
    stop_.request_stop();
    if (admin_) admin_->stop();
    reloader_.reset();
    for (const auto& worker : workers_)
        worker->stop();
    names_.reset();
    checker_.reset();
    workers_.clear();
}

// ---- configurations

std::shared_ptr<Generation> Gateway::makeGeneration(Config config, const Generation* before) {
    auto generation = std::make_shared<Generation>();
    generation->config = std::move(config);
    const Config& now = generation->config;
    for (const UpstreamConfig& upstream : now.upstreams) {
        auto pool = std::make_unique<UpstreamPool>(upstream, upstreamEvents(*log_));
        if (before) {
            for (const auto& old : before->upstreams) {
                if (old->config().name == upstream.name) pool->carryOver(*old);
            }
        }
        generation->upstreams.push_back(std::move(pool));
    }
    for (const ListenerConfig& listener : now.listeners) {
        std::shared_ptr<ListenerCounters> counters;
        for (std::size_t i = 0; before && i < before->config.listeners.size(); ++i) {
            if (before->config.listeners[i].name == listener.name) counters = before->listeners[i];
        }
        generation->listeners.push_back(counters ? counters : std::make_shared<ListenerCounters>());
    }
    generation->access = watchAccess(now, before);
    return generation;
}

std::shared_ptr<store::AccessWatcher> Gateway::watchAccess(const Config& config, const Generation* before) {
    if (before && listenerNames(before->config) == listenerNames(config)) return before->access;
    store::AccessWatcher::Events events;
    events.changed = [this, told = std::map<std::string, std::size_t>()](const store::AccessTable& table,
                                                                         double build_seconds) mutable {
        rules_loaded_ms_ = unixMillis();
        LogLine line = log_->line(LogLevel::Information, "access.changed");
        line.number("rules", static_cast<std::int64_t>(table.size()));
        line.number("version", table.version());
        line.number("bytes", static_cast<std::int64_t>(table.memoryBytes()));
        line.number("build_ms", static_cast<std::int64_t>(build_seconds * 1000));
        log_->write(line);
        if (std::exchange(told, table.unknownListeners()) != table.unknownListeners() && !told.empty())
            logUnknownListeners(told);
    };
    events.failed = [this](const std::string& what) {
        rules_failed_ = true;
        LogLine line = log_->line(LogLevel::Critical, "access.failed");
        line.text("detail", what);
        log_->write(line);
    };
    events.recovered = [this] {
        rules_failed_ = false;
        LogLine line = log_->line(LogLevel::Warning, "access.recovered");
        log_->write(line);
    };
    auto watcher =
        std::make_shared<store::AccessWatcher>(config.store_url, listenerNames(config), std::move(events));
    watcher->start();
    return watcher;
}

void Gateway::startJournal(const JournalConfig& config) {
    if (!config.enabled) return;
    store::Journal::Events events;
    events.failed = [this](const std::string& what) {
        LogLine line = log_->line(LogLevel::Error, "journal.failed");
        line.text("detail", what);
        log_->write(line);
    };
    events.recovered = [this](std::uint64_t lost) {
        LogLine line = log_->line(LogLevel::Warning, "journal.recovered");
        line.number("lost", static_cast<std::int64_t>(lost));
        log_->write(line);
    };
    journal_ = std::make_unique<store::Journal>(journalOptions(config), std::move(events));
    journal_->start();
}

/// Whatever it throws, nothing has changed. Threads are asked for here, the name watcher's last: from then on
/// it works for the new pools.
Gateway::Successor Gateway::prepare(Config config, ListeningSockets added, const Generation* before) {
    Successor next;
    next.generation = makeGeneration(std::move(config), before);
    const Config& now = next.generation->config;
    for (const auto& pool : next.generation->upstreams)
        next.plan.pools.emplace_back(next.generation, pool.get());
    next.plan.name = now.name;
    next.plan.connect = now.timeouts.connect;
    next.plan.greeting = now.timeouts.greeting;
    for (std::size_t i = 0; i < workers_.size(); ++i) {
        auto sockets = std::make_shared<std::vector<ListeningSocket>>(std::move(added[i]));
        auto task = workers_[i]->package([generation = next.generation, sockets](Worker& worker) {
            worker.apply(generation, std::move(*sockets));
        });
        next.tasks.push_back(std::move(task.first));
        next.done.push_back(std::move(task.second));
    }
    next.names = watchNames(*next.generation);
    next.names->start();
    return next;
}

void Gateway::commit(Successor next) noexcept {
    const auto before = current();
    {
        const std::lock_guard lock(generation_mutex_);
        generation_ = next.generation;
    }
    state_->max_sessions = std::min(next.generation->config.max_sessions, possible_sessions_);
    checker_->follow(std::move(next.plan));
    names_.swap(next.names);
    next.names.reset();
    for (std::size_t i = 0; i < next.tasks.size(); ++i)
        workers_[i]->post(std::move(next.tasks[i]));
    for (auto& future : next.done)
        future.wait_for(kAnswerLimit);
    // Sessions that still read their header against the old listeners find its last table.
    if (before && before->access != next.generation->access) before->access->stop();
}

std::unique_ptr<NameWatcher> Gateway::watchNames(const Generation& generation) {
    std::vector<UpstreamPool*> pools;
    for (const auto& pool : generation.upstreams)
        pools.push_back(pool.get());
    NameWatcher::Events events;
    events.changed = [this](const UpstreamConfig& upstream, const ServerConfig& server,
                            const std::vector<Endpoint>& addresses) {
        LogLine line = log_->line(LogLevel::Information, "backend.resolved");
        line.text("upstream", upstream.name).text("server", server.name);
        line.beginArray("addresses");
        for (const Endpoint& address : addresses)
            line.item(address.toString());
        line.endArray();
        log_->write(line);
    };
    events.failed = [this](const UpstreamConfig& upstream, const ServerConfig& server,
                           const std::string& why) {
        LogLine line = log_->line(LogLevel::Warning, "backend.unresolved");
        line.text("upstream", upstream.name).text("server", server.name).text("reason", why);
        log_->write(line);
    };
    return std::make_unique<NameWatcher>(pools, std::move(events));
}

std::shared_ptr<const Generation> Gateway::current() const {
    const std::lock_guard lock(generation_mutex_);
    return generation_;
}

admin::Outcome Gateway::reload() {
    const std::lock_guard one_at_a_time(reload_mutex_);
    const admin::Outcome stopping{false, "the gateway is stopping"};
    if (!ready()) return stopping;
    const auto before = current();
    try {
        Config config = loadConfig(file_, stop_.get_token());
        if (!ready()) return stopping;
        const auto fixed = restartOnlyChanges(before->config, config);
        if (!fixed.empty()) {
            throw ConfigError(fmt::format("{}: {} can only change with a restart; nothing was changed", file_,
                                          fmt::join(fixed, ", ")));
        }
        const auto changes = describeChanges(before->config, config);
        ListeningSockets added = openListeners(config, worker_count_, nullptr, addressesOf(before->config));
        const LogConfig log = config.log;
        Successor next = prepare(std::move(config), std::move(added), before.get());
        admin::Outcome done{
            true, changes.empty() ? "nothing has changed" : fmt::format("{}", fmt::join(changes, "; "))};
        log_->apply(log);
        commit(std::move(next));
        log_->reopen();
        try {
            logReloaded(changes);
        } catch (const std::bad_alloc&) {
            // It is in force all the same.
        }
        return done;
    } catch (const std::exception& error) {
        log_->reopen();
        LogLine line = log_->line(LogLevel::Error, "config.failed");
        line.text("detail", error.what());
        log_->write(line);
        return {false, error.what()};
    }
}

// ---- what the admin socket asks and orders

admin::Status Gateway::status() {
    const auto generation = current();
    const Counters& counters = state_->counters;
    admin::Status status;
    status.name = generation->config.name;
    status.version = MAILGATE_VERSION;
    status.pid = ::getpid();
    status.started_ms = started_ms_;
    status.draining = draining_;
    status.live = state_->sessions;
    status.max_sessions = state_->max_sessions;
    for (std::size_t i = 0; i < generation->config.listeners.size(); ++i) {
        const ListenerConfig& listener = generation->config.listeners[i];
        const ListenerCounters& own = *generation->listeners[i];
        admin::ListenerStatus row;
        row.name = listener.name;
        row.protocol = toString(listener.protocol);
        for (const Endpoint& address : listener.addresses)
            row.addresses.push_back(address.toString());
        row.totals = valuesOf(own);
        for (std::size_t reason = 0; reason < kRefusals; ++reason) {
            const std::uint64_t number = value(own.refusals[reason]);
            row.refused += number;
            row.refusals.emplace_back(reasonFor(static_cast<Refusal>(reason)), number);
        }
        row.live = static_cast<std::uint64_t>(std::max<std::int64_t>(own.live, 0));
        row.paused = own.paused > 0;
        if (own.address_alarm) status.address_alarms.push_back(listener.name);
        status.listeners.push_back(std::move(row));
    }
    for (const auto& pool : generation->upstreams) {
        auto servers = pool->status();
        status.servers.insert(status.servers.end(), servers.begin(), servers.end());
    }
    status.totals = valuesOf(counters);
    status.rejections = counters.rejections.rows();
    for (std::size_t i = 1; i < kEnds; ++i) {
        status.ends.emplace_back(toString(static_cast<End>(i)), value(counters.ends[i]));
    }
    for (std::size_t i = 0; i < kRefusals; ++i) {
        status.refusals.emplace_back(reasonFor(static_cast<Refusal>(i)), value(counters.refusals[i]));
    }
    const auto table = generation->access->current();
    status.rules = table->size();
    status.rules_bytes = table->memoryBytes();
    status.rules_version = table->version();
    status.rules_loaded_ms = rules_loaded_ms_;
    status.rules_failed = rules_failed_;
    status.log_lines_lost = log_->lost();
    if (journal_) {
        status.journal_queued = journal_->queued();
        status.journal_written = journal_->written();
        status.journal_lost = journal_->lost();
        status.journal_bytes = journal_->bytes();
    }
    status.connect_seconds = snapshot(counters.connect);
    status.greeting_seconds = snapshot(counters.greeting);
    for (const auto& worker : workers_)
        status.worker_lag_seconds.push_back(static_cast<double>(worker->lag()) / 1000);
    return status;
}

std::vector<LiveSession> Gateway::sessions() {
    using Sessions = std::vector<LiveSession>;
    return askAll<Sessions>(
        workers_, [](Worker& worker) { return worker.liveSessions(); },
        [](Sessions& all, Sessions more) {
            all.insert(all.end(), std::make_move_iterator(more.begin()), std::make_move_iterator(more.end()));
        });
}

bool Gateway::kill(std::string_view id) {
    return askAll<bool>(
        workers_, [id = std::string(id)](Worker& worker) { return worker.kill(id); },
        [](bool& any, bool one) { any = any || one; });
}

std::size_t Gateway::cut(const Network& network, const std::vector<std::string>& listeners) {
    return askAll<std::size_t>(
        workers_, [network, listeners](Worker& worker) { return worker.cut(network, listeners); },
        [](std::size_t& all, std::size_t some) { all += some; });
}

admin::Outcome Gateway::setServer(std::string_view upstream, std::string_view server, Wish wish) {
    const auto generation = current();
    const auto pool =
        std::find_if(generation->upstreams.begin(), generation->upstreams.end(),
                     [&](const auto& candidate) { return candidate->config().name == upstream; });
    if (pool == generation->upstreams.end())
        return {false, fmt::format("there is no upstream \"{}\"", upstream)};
    if (!(*pool)->setWish(server, wish)) {
        return {false, fmt::format("upstream \"{}\" has no server \"{}\"", upstream, server)};
    }
    const bool drain = wish == Wish::Drain;
    const Millis spread = generation->config.drain_timeout.count();
    for (const auto& worker : workers_) {
        worker->call(
            [upstream = std::string(upstream), server = std::string(server), drain, spread](Worker& self) {
                if (drain)
                    self.drainServer(upstream, server, spread);
                else
                    self.undrainServer(upstream, server);
            });
    }
    return {true, drain ? fmt::format("{}/{} gets no new sessions; those it has end within {} s", upstream,
                                      server, spread / 1000)
                        : fmt::format("{}/{} gets sessions again", upstream, server)};
}

// ---- running

void Gateway::run() {
    ::sd_notify(0, "READY=1");
    std::uint64_t usec = 0;
    if (::sd_watchdog_enabled(0, &usec) > 0) watchdog_ = std::chrono::microseconds(usec);
    while (!awaitStop(std::chrono::seconds(1))) {
        memory_reserve::refill();
        try {
            beat();
        } catch (const std::bad_alloc&) {
            // The next one may find more memory.
        }
    }
    ready_ = false;
    draining_ = true;
    stop_.request_stop();
    ::sd_notify(0, "STOPPING=1");
    drain();
    admin_->stop();
    reloader_->stop();
    for (const auto& worker : workers_)
        worker->stop();
    names_.reset();
    checker_.reset();
    workers_.clear();
    current()->access->stop();
    if (journal_) journal_->stop();
    logStop();
}

/// Tells systemd that all is well, once every worker has answered since the last time: a worker that hangs is
/// not well.
void Gateway::beat() {
    const bool answered = std::all_of(beats_.begin(), beats_.end(), [](std::future<void>& one) {
        return one.wait_for(std::chrono::seconds(0)) == std::future_status::ready;
    });
    if (!answered || Clock::now() < next_beat_) return;
    ::sd_notifyf(0, "%sSTATUS=%zu sessions", watchdog_.count() > 0 ? "WATCHDOG=1\n" : "",
                 state_->sessions.load());
    next_beat_ = Clock::now() + (watchdog_.count() > 0 ? watchdog_ / 4 : std::chrono::seconds(10));
    beats_.clear();
    for (const auto& worker : workers_)
        beats_.push_back(worker->call([](Worker&) {}));
}

/// Waits for a stop signal, obeying the others; false when the time has passed.
bool Gateway::awaitStop(std::chrono::milliseconds limit) {
    const sigset_t signals = handledSignals();
    const auto deadline = Clock::now() + limit;
    while (true) {
        const auto left = std::chrono::duration_cast<std::chrono::nanoseconds>(deadline - Clock::now());
        if (left.count() <= 0) return false;
        const timespec wait{static_cast<time_t>(left.count() / 1'000'000'000),
                            static_cast<long>(left.count() % 1'000'000'000)};
        const int signal = ::sigtimedwait(&signals, nullptr, &wait);
        if (signal == SIGHUP) reloader_->ask();
        if (signal == SIGTERM || signal == SIGINT) return true;
    }
}

/// Ends the sessions: gently until the drain time-out or a second signal.
void Gateway::drain() {
    // Accepting must be over before the sessions are counted.
    std::vector<std::future<void>> closed;
    for (const auto& worker : workers_)
        closed.push_back(worker->call([](Worker& self) { self.drain(); }));
    for (const auto& one : closed)
        one.wait_for(kAnswerLimit);
    const auto deadline = Clock::now() + current()->config.drain_timeout;
    while (state_->sessions > 0 && Clock::now() < deadline) {
        if (awaitStop(std::chrono::milliseconds(20))) break;
    }
    for (const auto& worker : workers_)
        worker->call([](Worker& self) { self.abort(); });
}

// ---- what it says about itself

void Gateway::logUnknownListeners(const std::map<std::string, std::size_t>& rules) {
    LogLine line = log_->line(LogLevel::Warning, "access.unknown_listener");
    std::size_t count = 0;
    line.beginArray("listeners");
    for (const auto& [name, named] : rules) {
        line.item(name);
        count += named;
    }
    line.endArray().number("rules", static_cast<std::int64_t>(count));
    log_->write(line);
}

void Gateway::logStart(const InheritedSockets& inherited) {
    const Config& config = generation_->config;
    LogLine line = log_->line(LogLevel::Information, "gateway.start");
    line.text("name", config.name).text("version", MAILGATE_VERSION).number("pid", ::getpid());
    line.text("config", config.file).number("workers", worker_count_);
    line.number("max_sessions", static_cast<std::int64_t>(state_->max_sessions));
    line.beginArray("listeners");
    for (const ListenerConfig& listener : config.listeners) {
        for (const Endpoint& address : listener.addresses)
            line.item(listener.name + "=" + address.toString());
    }
    line.endArray();
    log_->write(line);
    std::vector<std::string> warnings = config.warnings;
    if (possible_sessions_ < config.max_sessions) {
        warnings.push_back(fmt::format(
            "max_sessions is {} but the limit of open files allows {}: raise LimitNOFILE (ulimit -n)",
            config.max_sessions, possible_sessions_));
    }
    for (const std::string& name : inherited.unused()) {
        warnings.push_back(fmt::format(
            "systemd passed the socket {} that no listener of that name and address asks for", name));
    }
    for (const std::string& warning : warnings) {
        LogLine told = log_->line(LogLevel::Warning, "config.warning");
        told.text("detail", warning);
        log_->write(told);
    }
}

void Gateway::logReloaded(const std::vector<std::string>& changes) {
    LogLine line = log_->line(LogLevel::Information, "config.reloaded");
    line.beginArray("changes");
    for (const std::string& change : changes)
        line.item(change);
    line.endArray();
    log_->write(line);
}

void Gateway::logStop() {
    const Counters& counters = state_->counters;
    LogLine line = log_->line(LogLevel::Information, "gateway.stop");
    const auto addTotals = [&](CounterGroup group) {
        for (const auto& row : kGatewayCounters) {
            if (row.group == group)
                line.number(row.name, static_cast<std::int64_t>(value(counters.*row.counter)));
        }
    };
    line.text("name", current()->config.name);
    addTotals(CounterGroup::Sessions);
    line.beginArray("rejections");
    for (const RejectionTally::Row& row : counters.rejections.rows()) {
        line.beginObject();
        line.text("reason", row.reason).text("balancer", row.balancer);
        line.number("count", static_cast<std::int64_t>(row.count));
        line.endObject();
    }
    line.endArray();
    addTotals(CounterGroup::Content);
    line.number("log_lines_lost", static_cast<std::int64_t>(log_->lost()));
    if (journal_) line.number("journal_lost", static_cast<std::int64_t>(journal_->lost()));
    log_->write(line);
}

}  // namespace mailgate
