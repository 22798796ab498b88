// SPDX-License-Identifier: Apache-2.0
#include "gateway/daemon/gateway.h"

#include "gateway/answers/fleet.h"
#include "gateway/base/memory_reserve.h"
#include "gateway/console/exchange.h"
#include "gateway/daemon/admin_states.h"
#include "gateway/daemon/preflight.h"
#include "gateway/daemon/privileges.h"
#include "gateway/daemon/service_unit.h"
#include "gateway/daemon/site.h"
#include "gateway/log/log_target.h"
#include "store/backends/accounts.h"
#include "store/backends/fleet.h"
#include "store/backends/journal.h"
#include "store/backends/rules.h"
#include "store/fleet/sharing.h"

#include <fmt/format.h>

#include <signal.h>
#include <sys/resource.h>
#include <systemd/sd-daemon.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <ctime>
#include <new>
#include <utility>

namespace mailgate {
namespace {

using Clock = std::chrono::steady_clock;

sigset_t handledSignals() {
    sigset_t set;
    sigemptyset(&set);
    for (const int signal : {SIGTERM, SIGINT, SIGHUP, SIGUSR1})
        sigaddset(&set, signal);
    return set;
}

/// Returns what it is then.
std::uint64_t raiseDescriptorLimit() {
    rlimit limit{};
    if (::getrlimit(RLIMIT_NOFILE, &limit) != 0) return RLIM_INFINITY;
    limit.rlim_cur = limit.rlim_max;
    ::setrlimit(RLIMIT_NOFILE, &limit);
    return limit.rlim_cur;
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

/// Why it cannot be known which servers were drained; empty: it is.
std::string drainAsBefore(const Generation& generation) {
    try {
        drainAgain(generation, readDrained(adminStateFile(generation.config.store_url)));
        return "";
    } catch (const std::exception& error) {
        return fmt::format("which servers were drained is not known: {}", error.what());
    }
}

}  // namespace

void Gateway::holdSignals() {
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGHUP);
    sigaddset(&set, SIGUSR1);
    ::pthread_sigmask(SIG_BLOCK, &set, nullptr);
    // Never called, but to be seen: the kernel does not show as blocked what a thread waits for.
    ::signal(SIGUSR1, [](int) {});
}

Gateway::Gateway(Config config) : descriptors_(raiseDescriptorLimit()) {
    holdSignals();
    const sigset_t signals = handledSignals();
    ::pthread_sigmask(SIG_BLOCK, &signals, nullptr);
    // An error of the call that writes: a peer that takes no more is no reason to die.
    ::signal(SIGPIPE, SIG_IGN);

    memory_reserve::install();

    inherited_ = InheritedSockets::take();
    ListeningSockets listening = openListeners(config, workersOf(config), inherited_);
    if (const auto user = userToBecome(config.user)) giveListeners(listening, *user);
    TlsListeners::Row certificates = tls_.make(config);
    const std::shared_ptr<TlsListener> console_tls = tls_.makeConsole(config.console);
    TlsUpstreams::Row server_tls = server_tls_.make(config);
    const std::optional<TicketSeal> ticket_seal = ticketSealOf(config);
    dropPrivileges(config.user);

    log_ = std::make_unique<EventLog>(config.log);
    defects_ = std::make_unique<DefectLog>(*log_);
    tls_.tell(*log_);
    server_tls_.tell(*log_);
    startJournal(config.journal);
    const AdminConfig admin = config.admin;
    const ConsoleConfig console = config.console;
    const std::string store_url = config.store_url, name = config.name;
    const std::size_t most_sessions = std::min(config.max_sessions, sessionsWith(descriptors_, config));
    state_ = std::make_unique<GatewayState>(*log_, journal_.get(), most_sessions);
    checker_ = std::make_unique<HealthChecker>();
    reloader_ =
        std::make_unique<Reloader>(Reloader::Site{config.file, descriptors_, *log_, rules_, *state_,
                                                  *checker_, tls_, server_tls_, workers_, inherited_});
    if (ticket_seal)
        tickets_ = std::make_unique<FleetTickets>(*ticket_seal, tls_.tickets(), ticketEvents(*log_));
    makeFleet(config);
    makeShipper(config);
    control_ = std::make_unique<GatewayControl>(
        GatewayControl::Parts{*log_, rules_, journal_.get(), *state_, *reloader_, workers_, fleet_.get(),
                              shipper_.get(), tickets_.get(), console_tls});
    Reloader::Successor first =
        reloader_->prepare(std::move(config), std::move(certificates), std::move(server_tls));
    const std::string forgotten = drainAsBefore(*first.generation);
    for (auto& sockets : listening)
        workers_.push_back(std::make_unique<Worker>(*state_, first.generation, std::move(sockets)));
    makeApi();
    admin_ = std::make_unique<admin::AdminServer>(
        admin, *control_, log_.get(),
        [this](http::Server& server, const std::string& user, Poco::Net::HTTPServerRequest& request,
               Poco::Net::HTTPServerResponse& response) {
            console::answer(*api_, server, user, request, response);
        });
    makeConsole(console, console_tls, store_url, name);
    reloader_->start();
    reloader_->commit(std::move(first));
    logStart(forgotten);
    for (std::size_t i = 0; i < workers_.size(); ++i)
        workers_[i]->start(fmt::format("worker-{}", i));
    control_->serving();
    admin_->start();
    if (console_) console_->start();
    startNames(store_url);
    if (fleet_) fleet_->start();
    if (shipper_) shipper_->start();
}

Gateway::~Gateway() {
    control_->draining();
    stopThreads();
}

/// Those that work with the workers, then these.
void Gateway::stopThreads() {
    reloader_->refuse();
    if (fleet_) fleet_->stop();
    if (shipper_) shipper_->stop();
    names_.reset();
    if (console_) console_->stop();
    admin_->stop();
    reloader_->stop();
    for (const auto& worker : workers_)
        worker->stop();
    checker_.reset();
    workers_.clear();
}

void Gateway::startJournal(const JournalConfig& config) {
    if (!config.enabled) return;
    journal_ = std::make_unique<store::Journal>(journalOptions(config), store::journal::openSink,
                                                journalEvents(*log_));
    journal_->start();
}

void Gateway::makeApi() {
    api_ = std::make_unique<api::Api>(api::Parts{*control_,
                                                 [this] {
                                                     const auto generation = reloader_->current();
                                                     return std::shared_ptr<const Config>(
                                                         generation, &generation->config);
                                                 },
                                                 siteOf, log_.get()});
}

void Gateway::makeConsole(const ConsoleConfig& config, const std::shared_ptr<TlsListener>& tls,
                          const std::string& store_url, const std::string& name) {
    if (config.address.empty()) return;
    // The rules are in the same file: where that is gone, a new one would have none of them.
    const auto accounts = [store_url] { return store::openAccounts(store_url, false); };
    console::Console::Parts parts{*api_, accounts, log_.get(), name};
    if (tls) parts.tls = [tls] { return tls->context(); };
    console_ = std::make_unique<console::Console>(config, parts);
}

static bool shipsJournal(const Config& config) {
    return !config.fleet.url.empty() && config.fleet.journal && config.journal.enabled;
}

void Gateway::makeFleet(const Config& config) {
    if (config.fleet.url.empty()) return;
    store::FleetFollower::Events events = fleetEvents(*log_);
    events.upkeep = [this, rules_url = config.store_url, fleet_url = config.fleet.url,
                     name = config.name](std::int64_t now) {
        pruneFleet(*store::openSharedRules(rules_url, fleet_url, name, {.use = store::RuleStore::Use::Assist},
                                           [this](const auto& lost) { answers::logOverruled(*log_, lost); }),
                   now);
    };
    drains_ = std::make_unique<FleetDrains>(
        fleetDrainFile(config.store_url),
        FleetDrains::Gateway{
            [this] {
                std::map<std::pair<std::string, std::string>, std::optional<DrainOrder>> servers;
                for (const auto& pool : reloader_->current()->upstreams)
                    for (ServerStatus& one : pool->status())
                        servers[{one.upstream, one.server}] =
                            one.draining ? std::optional(std::move(one.drained)) : std::nullopt;
                return servers;
            },
            [this](const std::pair<std::string, std::string>& server,
                   const std::optional<DrainOrder>& order) {
                logFleetDrain(*log_, server, order,
                              control_->setServer(server.first, server.second, order).message);
            },
            [this](const std::string& why) { logFleetDrainFailed(*log_, why); }});
    events.shared = [this](store::FleetStore& fleet, const store::FleetState& state) {
        if (tickets_) tickets_->look(fleet, state);
        drains_->look(fleet, state);
    };
    fleet_ = std::make_unique<store::FleetFollower>(
        store::openFleet(config.fleet.url, {}, true),
        [store_url = config.store_url] {
            return store::openReplica(store_url, {.use = store::RuleStore::Use::Assist});
        },
        store::FleetFollower::Options{.name = config.name,
                                      .release = MAILGATE_VERSION,
                                      .ships = shipsJournal(config),
                                      .keeps_days =
                                          [this] {
                                              return std::chrono::ceil<std::chrono::days>(
                                                         reloader_->current()->config.rules.keep_audit)
                                                  .count();
                                          },
                                      .poll = config.fleet.poll},
        std::move(events));
}

void Gateway::makeShipper(const Config& config) {
    if (!shipsJournal(config)) return;
    const auto days = [](std::chrono::milliseconds kept) {
        return std::chrono::ceil<std::chrono::days>(kept).count();
    };
    const store::JournalOwner owner{.gateway = config.name,
                                    .process = store::newToken(),
                                    .keep_days = days(config.fleet.journal_keep),
                                    .keep_refused_days = days(config.fleet.journal_keep_refused)};
    shipper_ = std::make_unique<store::JournalShipper>(
        store::openSharedJournal(config.fleet.url, owner), owner, store::lineageFile(config.store_url),
        [url = config.journal.url, masked = config.journal.mask_after.has_value()] {
            return store::journal::openSpool(url, masked);
        },
        [store_url = config.store_url]() -> std::optional<std::string> {
            const auto membership =
                store::openReplica(store_url, {.use = store::RuleStore::Use::Assist})->membership();
            if (!membership) return std::nullopt;
            return membership->fleet;
        },
        store::JournalShipper::Options{}, shipperEvents(*log_, config.name));
}

/// Only what has expired by this gateway's clock and the database's: a clock that is wrong must not take rules from all.
void Gateway::pruneFleet(store::RuleStore& rules, std::int64_t now) {
    const auto kept =
        std::chrono::duration_cast<std::chrono::seconds>(reloader_->current()->config.rules.keep_expired)
            .count();
    store::RuleStore::Pruned pruned;
    do {
        pruned = rules.prune(std::min<std::int64_t>(now, std::time(nullptr)) - kept, 0,
                             store::programName("mailgate"));
        if (pruned.rules > 0) logPruned(*log_, pruned);
    } while (pruned.more);
}

void Gateway::startNames(const std::string& store_url) {
    names_ = std::make_unique<names::NameKeeper>(
        [store_url] { return store::openRules(store_url, {.use = store::RuleStore::Use::Assist}); },
        [this](const store::AccessRule& rule, const names::NameAnswer& answer) {
            return names::objectionTo(rule, answer, siteOf(reloader_->current()->config));
        },
        ruleNameEvents(*log_, [this] { return siteOf(reloader_->current()->config); }));
    names_->start();
}

// ---- running

void Gateway::run() {
    manager_.tell("READY=1");
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
    control_->draining();
    reloader_->refuse();
    manager_.tell("STOPPING=1");
    drain();
    stopThreads();
    reloader_->current()->access->stop();
    if (journal_) {
        const std::uint64_t lost = journal_->lost();
        journal_->stop();
        // The log may be on the same full disk.
        if (const std::uint64_t last = journal_->lost() - lost; last > 0)
            fmt::print(stderr, "{}\n",
                       forStandardError(
                           LogLevel::Error,
                           fmt::format("mailgate: the journal cannot be written: {} record{} that waited in "
                                       "memory {} lost (the log's session.end lines have what they said)",
                                       last, last == 1 ? "" : "s", last == 1 ? "is" : "are")));
    }
    logStop();
}

/// Tells systemd that all is well, once every worker has answered since the last time: a worker that hangs
/// is not well.
void Gateway::beat() {
    const bool answered = std::all_of(beats_.begin(), beats_.end(), [](std::future<void>& one) {
        return one.wait_for(std::chrono::seconds(0)) == std::future_status::ready;
    });
    if (!answered || Clock::now() < next_beat_) return;
    manager_.tell(fmt::format("{}STATUS={} sessions", watchdog_.count() > 0 ? "WATCHDOG=1\n" : "",
                              state_->sessions.load()));
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
        if (signal == SIGUSR1) log_->reopen();
        if (signal == SIGTERM || signal == SIGINT) return true;
    }
}

/// Ends the sessions: gently until the drain time-out or a second signal.
void Gateway::drain() {
    // Accepting must be over before the sessions are counted.
    std::vector<std::future<void>> closed;
    closed.reserve(workers_.size());
    for (const auto& worker : workers_)
        closed.push_back(worker->call([](Worker& self) { self.drain(); }));
    for (const auto& one : closed)
        one.wait_for(Worker::kAnswerLimit);
    const auto deadline = Clock::now() + reloader_->current()->config.drain_timeout;
    while (state_->sessions > 0 && Clock::now() < deadline) {
        if (awaitStop(std::chrono::milliseconds(20))) break;
    }
    for (const auto& worker : workers_)
        worker->call([](Worker& self) { self.abort(); });
}

// ---- what it says about itself

void Gateway::logStart(const std::string& forgotten) {
    const Config& config = reloader_->current()->config;
    LogLine line = log_->line(LogLevel::Information, "gateway.start");
    line.text("name", config.name).text("version", MAILGATE_VERSION).number("pid", ::getpid());
    line.text("config", config.file).number("workers", static_cast<std::int64_t>(workers_.size()));
    line.number("max_sessions", static_cast<std::int64_t>(state_->max_sessions));
    line.beginArray("listeners");
    for (const ListenerConfig& listener : config.listeners) {
        for (const Endpoint& address : listener.addresses)
            line.item(listener.name + "=" + address.toString());
    }
    line.endArray();
    log_->write(line);
    std::vector<std::string> warnings = config.warnings;
    for (std::string& warning : ruleWarnings(config, *reloader_->current()->access->current()))
        warnings.push_back(std::move(warning));
    for (std::string& warning : drainWarnings(config, stopLimit()))
        warnings.push_back(std::move(warning));
    for (std::string& warning : certificateWarnings(reloader_->current()->tls))
        warnings.push_back(std::move(warning));
    for (std::string& warning : sessionWarnings(config.max_sessions, sessionsWith(descriptors_, config)))
        warnings.push_back(std::move(warning));
    for (const auto& [name, order] : drainedOf(*reloader_->current()))
        warnings.push_back(fmt::format("server {0}/{1} is still drained{2}: mailgate server ready {0}/{1}",
                                       name.first, name.second, inWords(order)));
    if (!forgotten.empty()) warnings.push_back(forgotten);
    for (std::string& warning : inherited_.unusedWarnings(config))
        warnings.push_back(std::move(warning));
    for (const std::string& warning : warnings) {
        LogLine told = log_->line(LogLevel::Warning, "config.warning");
        told.text("detail", warning);
        log_->write(told);
    }
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
    line.text("name", reloader_->current()->config.name);
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
