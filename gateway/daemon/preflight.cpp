// SPDX-License-Identifier: Apache-2.0
#include "gateway/daemon/preflight.h"

#include "gateway/config/load.h"
#include "gateway/daemon/privileges.h"
#include "gateway/daemon/tls_listeners.h"
#include "gateway/log/log_target.h"
#include "gateway/worker/listening_sockets.h"
#include "protocols/values/text.h"
#include "store/backends/rules.h"

#include <fmt/format.h>

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <functional>
#include <string_view>

namespace mailgate {
namespace {

constexpr std::string_view kFilePrefix = "file:";

std::string folderOf(const std::string& path) {
    const auto folder = std::filesystem::path(path).parent_path();
    return folder.empty() ? "." : folder.string();
}

/// Throws StoreError when there are rules that cannot be read.
std::vector<std::string> readRuleWarnings(const Config& config) {
    if (!store::examineDatabase(config.store_url)) return {};
    const auto rules = store::openRules(config.store_url, {.use = store::RuleStore::Use::Inspect});
    return unknownListenerWarnings(config, rules->ruleListeners());
}

class Examination {
  public:
    explicit Examination(const Config& config) : config_(config) {}

    Preflight run() {
        requireUser(config_.user);
        found_.warnings = addressesNotHere(config_);
        may_judge_ = ::geteuid() == 0 || actsAs(config_.user);
        examineCertificates();
        dropPrivileges(config_.user);
        may_judge_ = actsAs(config_.user);
        examineRenewals();
        examineLog();
        examineStore();
        if (config_.journal.enabled) attempt([&] { store::examineDatabase(config_.journal.url); });
        if (!config_.admin.socket.empty()) examineSocket();
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
            found_.errors.emplace_back(error.what());
        } catch (const store::StoreError& error) {
            if (error.kind() == store::StoreError::Kind::ReadOnly)
                notAllowed(error.what());
            else
                found_.errors.emplace_back(error.what());
        }
    }

    /// `what(file)` for each that this user may not read.
    template <typename What>
    bool forbiddenFiles(What what) const {
        bool any = false;
        for (const ListenerConfig& listener : config_.listeners) {
            for (const CertificateFiles& files : listener.certificates) {
                for (const std::string& file : {files.certificate, files.key, files.ocsp}) {
                    if (file.empty() || ::faccessat(AT_FDCWD, file.c_str(), R_OK, AT_EACCESS) == 0) continue;
                    if (errno != EACCES) continue;
                    any = true;
                    what(file);
                }
            }
        }
        return any;
    }

    /// As they are read at start: by whom it begins as.
    void examineCertificates() {
        const bool forbidden = forbiddenFiles([this](const std::string& file) {
            notAllowed(fmt::format("listener.certificates: {}: {}", file, std::strerror(EACCES)));
        });
        if (forbidden) return;
        attempt([&] {
            for (std::string& warning : certificateWarnings(TlsListeners().make(config_)))
                found_.warnings.push_back(std::move(warning));
        });
    }

    /// As they are read later: by the service's user.
    void examineRenewals() {
        if (!may_judge_ || config_.user.empty()) return;
        forbiddenFiles([this](const std::string& file) {
            found_.warnings.push_back(fmt::format(
                "listener.certificates: {} may not read {}: a renewal will not be noticed, and a reload "
                "will fail (chgrp, mode 0640)",
                config_.user, file));
        });
    }

    void examineLog() {
        if (!config_.log.target.starts_with(kFilePrefix)) {
            attempt([&] { openLogTarget(config_.log.target); });
            return;
        }
        const std::string path = config_.log.target.substr(kFilePrefix.size());
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
                readEachRule();
            } catch (const store::StoreError& error) {
                // Of an older schema, or locked for the moment: no reason not to start.
                if (error.kind() != store::StoreError::Kind::Other &&
                    error.kind() != store::StoreError::Kind::Locked)
                    throw;
            }
        });
    }

    /// Whoever writes with the sqlite3 shell may write a row that is no rule.
    void readEachRule() {
        if (!store::examineDatabase(config_.store_url)) return;
        store::openRules(config_.store_url, {.use = store::RuleStore::Use::Inspect})
            ->forEachRule([](const store::AccessRule&) {});
    }

    void examineSocket() {
        const std::string& path = config_.admin.socket;
        struct stat status {};
        if (::lstat(path.c_str(), &status) == 0 && !S_ISSOCK(status.st_mode)) {
            found_.errors.push_back(
                fmt::format("admin.socket {}: there is a file of that name, but it is not a socket", path));
            return;
        }
        std::error_code error;
        if (path.starts_with("/run/") && !std::filesystem::exists(folderOf(path), error))
            found_.warnings.push_back(
                fmt::format("admin.socket: the folder {} does not exist: the systemd unit has to create it "
                            "(RuntimeDirectory)",
                            folderOf(path)));
        else
            examineFolder("admin.socket", path);
    }

    const Config& config_;
    bool may_judge_ = true;
    Preflight found_;
};

}  // namespace

Preflight examineSite(const Config& config) {
    try {
        return Examination(config).run();
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

std::vector<std::string> ruleWarnings(const Config& config) {
    try {
        return readRuleWarnings(config);
    } catch (const store::StoreError&) {
        return {};
    }
}

}  // namespace mailgate
