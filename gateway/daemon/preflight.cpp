// SPDX-License-Identifier: Apache-2.0
#include "gateway/daemon/preflight.h"

#include "gateway/base/clock.h"
#include "gateway/base/cpus.h"
#include "gateway/config/load.h"
#include "gateway/config/values.h"
#include "gateway/daemon/fleet_tickets.h"
#include "gateway/daemon/privileges.h"
#include "gateway/daemon/service_unit.h"
#include "gateway/daemon/tls_listeners.h"
#include "gateway/daemon/tls_upstreams.h"
#include "gateway/log/log_target.h"
#include "gateway/worker/listening_sockets.h"
#include "gateway/worker/worker.h"
#include "protocols/values/text.h"
#include "store/backends/fleet.h"
#include "store/backends/journal.h"
#include "store/backends/rules.h"
#include "store/journal/journal.h"

#include <fmt/format.h>

#include <fcntl.h>
#include <sys/stat.h>
#include <systemd/sd-daemon.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <functional>
#include <sstream>
#include <string_view>
#include <utility>

namespace mailgate {
namespace {

/// Those that it has without a client.
std::uint64_t descriptorsAtRest(const Config& config) {
    constexpr std::uint64_t kGateways = 24;  // log, databases, admin, console, fleet, the C library's
    std::uint64_t of_worker = 4;             // its events and timers
    for (const ListenerConfig& listener : config.listeners)
        of_worker += listener.addresses.size();
    return kGateways + workersOf(config) * of_worker;
}

std::string folderOf(const std::string& path) {
    const auto folder = std::filesystem::path(path).parent_path();
    return folder.empty() ? "." : folder.string();
}

/// Throws StoreError when there are rules that cannot be read: whoever writes with the sqlite3 shell may write a row that is
/// none.
std::vector<std::string> readRuleWarnings(const Config& config) {
    if (!store::examineDatabase(config.store_url)) {
        store::requireRoom(config.store_url);
        return closedListenerWarnings(config, {});
    }
    const auto rules = store::openRules(config.store_url, {.use = store::RuleStore::Use::Inspect});
    rules->forEachRule([](const store::AccessRule&) {});
    return ruleWarnings(config, *rules->load(listenerNames(config)));
}

class Examination {
  public:
    Examination(const Config& config, bool rules_are_lost)
        : config_(config), rules_are_lost_(rules_are_lost) {}

    Preflight run() {
        requireUser(config_.user);
        found_.warnings = addressesNotHere(config_);
        for (std::string& warning : drainWarnings(config_, stopLimit()))
            found_.warnings.push_back(std::move(warning));
        for (std::string& warning :
             sessionWarnings(config_.max_sessions, sessionsWith(descriptorLimit(), config_)))
            found_.warnings.push_back(std::move(warning));
        may_judge_ = ::geteuid() == 0 || actsAs(config_.user);
        examineCertificates();
        examineTicketSecret();
        dropPrivileges(config_.user);
        may_judge_ = actsAs(config_.user);
        examineRenewals();
        examineUnit();
        attempt([&] { examinePasswordFile(); });
        examineLog();
        if (!rules_are_lost_) examineStore();
        if (config_.journal.enabled) examineJournal();
        examineSocket();
        return std::move(found_);
    }

  private:
    /// What another user may not do says nothing about the one that will serve.
    void notAllowed(std::string sentence) {
        if (may_judge_)
            found_.errors.push_back(std::move(sentence));
        else
            found_.warnings.push_back(
                fmt::format("{} (for the current user; run the check as root to test it for {})", sentence,
                            config_.user));
    }

    void attempt(const std::function<void()>& work) {
        try {
            work();
        } catch (const ConfigError& error) {
            std::istringstream lines(error.what());  // each is an error of its own
            for (std::string line; std::getline(lines, line);)
                found_.errors.push_back(std::move(line));
        } catch (const store::StoreError& error) {
            if (error.kind() == store::StoreError::Kind::ReadOnly)
                notAllowed(error.what());
            else
                found_.errors.emplace_back(error.what());
        }
    }

    struct TlsFile {
        std::string_view key;
        std::string path;
        std::string user;  ///< as TlsListeners::make() names it: "FILE:LINE:COLUMN: listener NAME"
    };
    std::vector<TlsFile> tlsFiles() const {
        std::vector<TlsFile> all;
        const auto add = [&all](std::string_view key, const CertificateFiles& files, std::string_view kind,
                                const auto& user) {
            for (const std::string& file : {files.certificate, files.key, files.ocsp})
                if (!file.empty())
                    all.push_back(
                        {key, file, fmt::format("{}{} {}", user.places.before(file + ":"), kind, user.name)});
        };
        for (const ListenerConfig& listener : config_.listeners) {
            for (const CertificateFiles& files : listener.certificates)
                add("listener.certificates", files, "listener", listener);
            add("listener.client_ca", {listener.tls_options.client_ca, "", ""}, "listener", listener);
        }
        for (const UpstreamConfig& upstream : config_.upstreams) {
            add("upstream.client_certificate", upstream.client_certificate, "upstream", upstream);
            if (upstream.tls_options.ca != "system")
                add("upstream.ca", {upstream.tls_options.ca, "", ""}, "upstream", upstream);
        }
        return all;
    }

    /// `what(file)` for each that this user may not read.
    template <typename What>
    void forbiddenFiles(What what) const {
        for (const TlsFile& file : tlsFiles())
            if (::faccessat(AT_FDCWD, file.path.c_str(), R_OK, AT_EACCESS) != 0 && errno == EACCES)
                what(file);
    }

    /// As they are read at start: by whom it begins as.
    void examineCertificates() {
        std::vector<std::string> told;
        forbiddenFiles([&](const TlsFile& file) {
            told.push_back(fmt::format("{}: {}: ", file.user, file.path));
            notAllowed(told.back() + std::strerror(EACCES));
        });
        const auto further = static_cast<std::ptrdiff_t>(found_.errors.size());
        attempt([&] {
            for (std::string& warning : certificateWarnings(TlsListeners().make(config_)))
                found_.warnings.push_back(std::move(warning));
        });
        attempt([&] { TlsUpstreams().make(config_); });
        const auto isTold = [&](const std::string& error) {
            return std::ranges::any_of(told,
                                       [&](const std::string& begin) { return error.starts_with(begin); });
        };
        found_.errors.erase(std::remove_if(found_.errors.begin() + further, found_.errors.end(), isTold),
                            found_.errors.end());
    }

    void examineTicketSecret() {
        const std::string& file = config_.fleet.ticket_secret;
        if (!file.empty() && ::faccessat(AT_FDCWD, file.c_str(), R_OK, AT_EACCESS) != 0 && errno == EACCES)
            notAllowed(fmt::format("fleet.ticket_secret: {}: {}", file, std::strerror(EACCES)));
        else
            attempt([&] { ticketSealOf(config_); });
    }

    /// As they are read later: by the service's user.
    void examineRenewals() {
        if (!may_judge_ || config_.user.empty()) return;
        forbiddenFiles([this](const TlsFile& file) {
            found_.warnings.push_back(
                fmt::format("{}: {} may not read {}: a renewal will not be noticed, and a reload "
                            "will fail (chgrp, mode 0640)",
                            file.key, config_.user, file.path));
        });
    }

    /// The unit's sandbox keeps from the gateway what the mode of a folder grants it. In a container without systemd the unit is
    /// only a file.
    void examineUnit() {
        std::vector<std::string>& found = ::sd_booted() > 0 ? found_.errors : found_.warnings;
        const auto file = [](const std::string& url) {
            constexpr std::string_view kPrefix = "sqlite:";
            return url.starts_with(kPrefix) ? url.substr(kPrefix.size()) : "";
        };
        const std::pair<std::string_view, std::string> files[] = {
            {"log.target", logFileOf(config_.log.target)},
            {"store.url", file(config_.store_url)},
            {"journal.url", config_.journal.enabled ? file(config_.journal.url) : ""}};
        for (const auto& [key, path] : files) {
            if (path.empty()) continue;
            if (const std::string setting = hiddenInUnitBy(path, config_.file); !setting.empty())
                found.push_back(
                    fmt::format("{}: {} is hidden from the service ({}), whatever ReadWritePaths= says: take "
                                "another place",
                                key, path, setting));
            else if (readOnlyInUnit(path, config_.file))
                found.push_back(
                    fmt::format("{}: {} is read-only to the service (ProtectSystem=strict): systemctl edit "
                                "mailgate, and below [Service] ReadWritePaths={}",
                                key, path, folderOf(path)));
        }
    }

    /// libpq asks without a password where it may not read the file that has it.
    void examinePasswordFile() {
        if (config_.fleet.url.empty()) return;
        const store::FleetUrl url = store::describeFleetUrl(config_.fleet.url);
        const std::string& file = url.password_file;
        if (!file.empty() && ::faccessat(AT_FDCWD, file.c_str(), R_OK, AT_EACCESS) != 0)
            found_.warnings.push_back(fmt::format("fleet.url: passfile {}: {}", file, std::strerror(errno)));
        else if (url.is_refused_file)
            found_.warnings.push_back(fmt::format(
                "fleet.url: passfile {}: not its owner alone may read it, so it is not used: chmod 600",
                file));
    }

    void examineLog() {
        const std::string path = logFileOf(config_.log.target);
        if (path.empty()) {
            attempt([&] { openLogTarget(config_.log.target); });
            return;
        }
        // Opened without being made: the file is to belong to who serves.
        const Descriptor file(::open(path.c_str(), O_WRONLY | O_APPEND | O_CLOEXEC | O_NOCTTY | O_NONBLOCK));
        if (file.get() >= 0 || errno == ENXIO) return;  // a pipe that nobody reads yet
        if (errno == ENOENT) {
            examineFolder("log.target", path);
            return;
        }
        const std::string sentence =
            fmt::format("log.target: cannot open {}: {}", path, std::strerror(errno));
        if (errno == EACCES)
            notAllowed(sentence);
        else
            found_.errors.push_back(sentence);
    }

    /// A file is to be made there.
    void examineFolder(std::string_view key, const std::string& path) {
        const std::string folder = folderOf(path);
        std::error_code error;
        if (!std::filesystem::is_directory(folder, error))
            found_.errors.push_back(fmt::format("{}: the folder {} does not exist", key, folder));
        else if (::faccessat(AT_FDCWD, folder.c_str(), W_OK | X_OK, AT_EACCESS) != 0)
            notAllowed(fmt::format("{}: the folder {}: {}", key, folder, std::strerror(errno)));
    }

    void examineStore() {
        attempt([&] {
            try {
                for (std::string& warning : readRuleWarnings(config_))
                    found_.warnings.push_back(std::move(warning));
            } catch (const store::StoreError& error) {
                // Of an older schema, or locked for the moment: no reason not to start.
                if (error.kind() != store::StoreError::Kind::Other &&
                    error.kind() != store::StoreError::Kind::Locked)
                    throw;
            }
        });
    }

    /// One that cannot be written is no reason not to start: its records wait in memory.
    void examineJournal() {
        attempt([&] {
            const bool exists = store::examineDatabase(config_.journal.url);
            try {
                store::requireRoom(config_.journal.url);
                if (exists) store::journal::inspectSink(config_.journal.url);
            } catch (const store::StoreError& error) {
                if (!store::Journal::startsWithout(error)) throw;
                found_.warnings.push_back(fmt::format("the journal cannot be written: {}", error.what()));
                return;
            }
            if (exists) readJournal();
        });
    }

    /// Mail goes on, and what is behind the damage is not found.
    void readJournal() {
        constexpr std::chrono::seconds kAtMost{
            2};  // whoever edits the configuration waits for it, time and again
        try {
            if (!store::journal::verifySink(config_.journal.url, kAtMost))
                found_.remarks.push_back(
                    fmt::format("not all of the journal was read for damage: it takes longer than {} "
                                "(mailgate backup reads all of it)",
                                formatDuration(kAtMost)));
        } catch (const store::StoreError& error) {
            found_.warnings.push_back(fmt::format("journal.url: {}", error.what()));
        }
    }

    void examineSocket() {
        const std::string& path = config_.admin.socket;
        if (path.empty()) {
            if (reloadsBySocket(config_.file))
                found_.warnings.emplace_back(
                    "admin.socket is empty: systemctl reload mailgate cannot ask the gateway, and fails: "
                    "systemctl edit mailgate, and below [Service] ExecReload= and ExecReload=/bin/kill -HUP "
                    "$MAINPID");
            return;
        }
        struct stat status {};
        if (::lstat(path.c_str(), &status) == 0 && !S_ISSOCK(status.st_mode)) {
            found_.errors.push_back(
                fmt::format("admin.socket {}: there is a file of that name, but it is not a socket", path));
            return;
        }
        std::error_code error;
        if (path.starts_with("/run/") && !std::filesystem::exists(folderOf(path), error)) {
            // There from the unit's start to its stop.
            if (serviceUser(config_.file) && !readOnlyInUnit(path, config_.file)) return;
            found_.warnings.push_back(
                fmt::format("admin.socket: the folder {} does not exist: the systemd unit has to create it "
                            "(RuntimeDirectory)",
                            folderOf(path)));
            return;
        }
        examineFolder("admin.socket", path);
    }

    const Config& config_;
    const bool rules_are_lost_;
    bool may_judge_ = true;
    Preflight found_;
};

}  // namespace

Preflight examineSite(const Config& config, bool rules_are_lost) {
    try {
        return Examination(config, rules_are_lost).run();
    } catch (const ConfigError& error) {
        return {{error.what()}, {}};
    }
}

std::vector<std::string> unknownListenerWarnings(const Config& config,
                                                 const std::map<std::string, std::size_t>& listeners) {
    std::vector<std::string> warnings;
    for (const auto& [name, count] : listeners) {
        if (std::any_of(config.listeners.begin(), config.listeners.end(),
                        [&name = name](const ListenerConfig& listener) { return listener.name == name; }))
            continue;
        warnings.push_back(
            fmt::format("no listener is named \"{}\": {} {} no effect; if the listener was renamed, "
                        "`mailgate access rename-listener {} NEW` updates them",
                        printable(name), count,
                        count == 1 ? "access rule that names it has" : "access rules that name it have",
                        printable(name)));
    }
    return warnings;
}

std::vector<std::string> drainWarnings(const Config& config, std::optional<std::chrono::milliseconds> limit) {
    if (!limit || config.drain_timeout < *limit) return {};
    return {fmt::format(
        "gateway.drain_timeout is {}, but systemd kills the gateway {} after the order to stop: set "
        "TimeoutStopSec to more (systemctl edit mailgate)",
        formatDuration(config.drain_timeout), formatDuration(*limit))};
}

unsigned workersOf(const Config& config) {
    return config.workers ? config.workers : usableCpus();
}

/// Some are left for what comes and goes (checks, requests of administrators, pipes); where there are few, in proportion.
std::size_t sessionsWith(std::uint64_t descriptors, const Config& config) {
    constexpr std::uint64_t kComeAndGo = 30;
    const std::uint64_t at_rest = descriptorsAtRest(config);
    const std::uint64_t left = descriptors > at_rest ? descriptors - at_rest : 0;
    return left > 100 ? GatewayState::servedWith(left - kComeAndGo) : std::max<std::size_t>(left / 4, 1);
}

std::vector<std::string> sessionWarnings(std::uint64_t max_sessions, std::uint64_t possible) {
    if (possible >= max_sessions) return {};
    return {
        fmt::format("max_sessions is {}, but the limit on open files allows only {}: raise LimitNOFILE "
                    "(ulimit -n), and the "
                    "limit of the container if it has one",
                    max_sessions, possible)};
}

std::vector<std::string> listenerNames(const Config& config) {
    std::vector<std::string> names;
    names.reserve(config.listeners.size());
    for (const ListenerConfig& listener : config.listeners)
        names.push_back(listener.name);
    return names;
}

std::vector<std::string> allowlists(const Config& config) {
    std::vector<std::string> names;
    for (const ListenerConfig& listener : config.listeners)
        if (listener.access == AccessDefault::Allowlist && listener.mode != ListenerMode::Monitor)
            names.push_back(listener.name);
    return names;
}

std::string nobodyMayEnter(const std::string& listener) {
    return fmt::format(
        "nobody may enter listener \"{0}\": its access is \"allowlist\", and the rules let in nobody "
        "(mailgate access allow NET --listener {0}); mode = \"monitor\" lets all in, and records whom it "
        "would refuse",
        printable(listener));
}

std::vector<std::string> closedListenerWarnings(const Config& config, const std::set<std::string>& allowing) {
    std::vector<std::string> warnings;
    if (allowing.contains("")) return warnings;
    for (const std::string& listener : allowlists(config))
        if (!allowing.contains(listener)) warnings.push_back(nobodyMayEnter(listener));
    return warnings;
}

std::vector<std::string> ruleWarnings(const Config& config, const store::AccessTable& table) {
    const UnixSeconds now = unixMillis() / 1'000;
    std::set<std::string> allowing;
    for (std::size_t at = 0; at < config.listeners.size(); ++at)
        if (table.letsSomebodyIn(static_cast<store::ListenerIndex>(at), now))
            allowing.insert(config.listeners[at].name);
    std::vector<std::string> warnings = unknownListenerWarnings(config, table.unknownListeners(now));
    for (std::string& warning : closedListenerWarnings(config, allowing))
        warnings.push_back(std::move(warning));
    return warnings;
}

}  // namespace mailgate
