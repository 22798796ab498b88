// SPDX-License-Identifier: Apache-2.0
#include "gateway/log/log_target.h"

#include "gateway/base/config_error.h"
#include "gateway/log/escape.h"

#include <fmt/format.h>

#include <fcntl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <syslog.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdlib>
#include <ctime>
#include <iterator>
#include <utility>

namespace mailgate {

namespace {

constexpr std::string_view kSyslogPrefix = "syslog:";
constexpr std::size_t kKeptCapacity = std::size_t{1} << 20;  // after a burst, memory goes back

std::error_code lastError() {
    return {errno, std::generic_category()};
}

class DescriptorTarget : public LogTarget {
  public:
    explicit DescriptorTarget(int fd) : fd_(fd) {}

    std::error_code write(const LogBatch& batch, std::size_t& from) override {
        while (from < batch.text.size()) {
            const ssize_t written = ::write(fd_, batch.text.data() + from, batch.text.size() - from);
            if (written >= 0)
                from += static_cast<std::size_t>(written);
            else if (errno != EINTR)
                return lastError();
        }
        return {};
    }

  protected:
    int fd_;
};

class FileTarget : public DescriptorTarget {
  public:
    /// Check error() before use.
    explicit FileTarget(std::string path) : DescriptorTarget(-1), path_(std::move(path)) {
        error_ = FileTarget::reopen().error;
    }
    ~FileTarget() override {
        if (fd_ >= 0) ::close(fd_);
    }
    FileTarget(const FileTarget&) = delete;
    FileTarget& operator=(const FileTarget&) = delete;

    std::error_code error() const noexcept { return error_; }

    Reopened reopen() override {
        const int fd = open(path_.c_str());
        if (fd < 0) return {false, lastError()};
        const int old = std::exchange(fd_, fd);
        if (old >= 0) ::close(old);
        return {true, {}};
    }

  private:
    /// A file that it makes is its owner's and group's whatever the umask; one that is there keeps its mode.
    static int open(const char* path) {
        constexpr mode_t kMode = 0640;
        constexpr int kFlags = O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC | O_NOCTTY;
        const int fd = ::open(path, kFlags | O_EXCL, kMode);
        if (fd < 0) return errno == EEXIST ? ::open(path, kFlags, kMode) : fd;
        ::fchmod(fd, kMode);
        return fd;
    }

    std::string path_;
    std::error_code error_;
};

std::size_t linesBefore(const LogBatch& batch, std::size_t from) {
    return static_cast<std::size_t>(
        std::count(batch.text.begin(), batch.text.begin() + static_cast<std::ptrdiff_t>(from), '\n'));
}

int syslogPriority(LogLevel level) noexcept {
    switch (level) {
        case LogLevel::Debug:
            return LOG_DEBUG;
        case LogLevel::Information:
            return LOG_INFO;
        case LogLevel::Warning:
            return LOG_WARNING;
        case LogLevel::Error:
            return LOG_ERR;
        case LogLevel::Critical:
            return LOG_CRIT;
    }
    return LOG_INFO;
}

/// Whether systemd's journal reads standard error, and it is no file or pipe of somebody who passed the variable on
/// (systemd.exec(5)).
bool isJournalsStream() {
    const char* stream = std::getenv("JOURNAL_STREAM");
    struct stat status {};
    return stream != nullptr && ::fstat(STDERR_FILENO, &status) == 0 &&
           fmt::format("{}:{}", status.st_dev, status.st_ino) == stream;
}

using Severity = std::array<char, 3>;

/// What the journal takes before a line (sd-daemon(3)).
Severity severityOf(LogLevel level) noexcept {
    return {'<', static_cast<char>('0' + syslogPriority(level)), '>'};
}

/// Standard error that systemd's journal reads.
class JournaldTarget : public DescriptorTarget {
  public:
    JournaldTarget() : DescriptorTarget(STDERR_FILENO) {}

    /// Without a copy of the lines: memory may be short just when there is much to say.
    std::error_code write(const LogBatch& batch, std::size_t& from) override {
        for (std::size_t line = linesBefore(batch, from); from < batch.text.size(); ++line)
            if (const std::error_code error = writeLine(batch, line, from)) return error;
        return {};
    }

  private:
    /// Or what is left of it, which goes on with the severity that it has.
    std::error_code writeLine(const LogBatch& batch, std::size_t line, std::size_t& from) const {
        Severity severity = severityOf(batch.levels[line]);
        const bool begins = from == 0 || batch.text[from - 1] == '\n';
        std::size_t before = begins ? severity.size() : 0;  // of it, what is left
        const std::size_t end = batch.text.find('\n', from) + 1;
        while (from < end) {
            const std::array<iovec, 2> parts{iovec{severity.data() + severity.size() - before, before},
                                             iovec{const_cast<char*>(batch.text.data()) + from, end - from}};
            const ssize_t written = ::writev(fd_, parts.data(), static_cast<int>(parts.size()));
            if (written < 0) {
                if (errno == EINTR) continue;
                return lastError();
            }
            const std::size_t of_severity = std::min(before, static_cast<std::size_t>(written));
            before -= of_severity;
            from += static_cast<std::size_t>(written) - of_severity;
        }
        return {};
    }
};

/// What syslog(3) does, but with errors: a datagram a line to the daemon's Unix socket, as RFC 3164 4.1
/// without the host's name, which local daemons add themselves.
class SyslogTarget : public LogTarget {
  public:
    /// Check error() before use.
    explicit SyslogTarget(const std::string& path) {
        address_.sun_family = AF_UNIX;
        path.copy(address_.sun_path, sizeof address_.sun_path - 1);
        error_ = connect();
    }
    ~SyslogTarget() override {
        if (fd_ >= 0) ::close(fd_);
    }
    SyslogTarget(const SyslogTarget&) = delete;
    SyslogTarget& operator=(const SyslogTarget&) = delete;

    std::error_code error() const noexcept { return error_; }

    std::error_code write(const LogBatch& batch, std::size_t& from) override {
        std::size_t line = linesBefore(batch, from);
        while (from < batch.text.size()) {
            const std::size_t end = batch.text.find('\n', from);
            compose(batch.levels[line++], std::string_view(batch.text).substr(from, end - from));
            std::error_code error = send();
            // The daemon was restarted: its new socket has the old name.
            if (error && !connect()) error = send();
            if (error) return error;
            from = end + 1;
        }
        return {};
    }

  private:
    std::error_code connect() {
        const int fd = ::socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
        if (fd < 0) return lastError();
        if (::connect(fd, reinterpret_cast<const sockaddr*>(&address_), sizeof address_) != 0) {
            const std::error_code error = lastError();
            ::close(fd);
            return error;
        }
        const int old = std::exchange(fd_, fd);
        if (old >= 0) ::close(old);
        return {};
    }

    void compose(LogLevel level, std::string_view text) {
        const std::time_t now = std::time(nullptr);
        std::tm local{};
        ::localtime_r(&now, &local);
        std::array<char, 32> time{};
        std::strftime(time.data(), time.size(), "%b %e %H:%M:%S", &local);
        message_.clear();
        fmt::format_to(std::back_inserter(message_), "<{}>{} mailgate[{}]: {}",
                       LOG_MAIL | syslogPriority(level), time.data(), ::getpid(), text);
    }

    std::error_code send() const {
        while (::send(fd_, message_.data(), message_.size(), MSG_NOSIGNAL) < 0) {
            if (errno != EINTR) return lastError();
        }
        return {};
    }

    sockaddr_un address_{};
    int fd_ = -1;
    std::error_code error_;
    LineBuffer message_;
};

/// The path of a target "KIND:PATH"; empty when it is of another kind.
std::string pathOf(const std::string& target, std::string_view prefix) {
    return target.starts_with(prefix) ? target.substr(prefix.size()) : "";
}

/// For the targets that check themselves with error().
template <typename Target>
std::unique_ptr<LogTarget> openAt(const std::string& path) {
    auto target = std::make_unique<Target>(path);
    if (target->error())
        throw ConfigError(fmt::format("log.target: cannot open {}: {}", path, target->error().message()));
    return target;
}

}  // namespace

void LogBatch::clear() noexcept {
    text.clear();
    levels.clear();
    if (text.capacity() > kKeptCapacity) std::string().swap(text);
    if (levels.capacity() > kKeptCapacity) std::vector<LogLevel>().swap(levels);
}

std::unique_ptr<LogTarget> openLogTarget(const std::string& target) {
    if (target == "stderr" && isJournalsStream()) return std::make_unique<JournaldTarget>();
    if (target == "stderr") return std::make_unique<DescriptorTarget>(STDERR_FILENO);
    if (target == "syslog") return openAt<SyslogTarget>(_PATH_LOG);
    if (const std::string path = pathOf(target, kSyslogPrefix); !path.empty())
        return openAt<SyslogTarget>(path);
    if (const std::string path = logFileOf(target); !path.empty()) return openAt<FileTarget>(path);
    throw ConfigError(fmt::format("log.target: unknown target {}", target));
}

std::string logFileOf(const std::string& target) {
    return pathOf(target, "file:");
}

std::string forStandardError(LogLevel level, std::string_view text) {
    std::string lines(text);
    if (!isJournalsStream()) return lines;
    const Severity severity = severityOf(level);
    for (std::size_t line = 0; line < lines.size();) {
        lines.insert(line, severity.data(), severity.size());
        line = std::min(lines.find('\n', line), lines.size() - 1) + 1;
    }
    return lines;
}

void tellStandardError(std::string_view target, std::string_view message) noexcept {
    fmt::basic_memory_buffer<char, 512> line;
    try {
        line.append(
            forStandardError(LogLevel::Error, fmt::format("mailgate: log {}: {}\n", target, message)));
    } catch (const std::exception&) {
        line.clear();  // what fits without memory
        line.append(std::string_view("mailgate: the log is failing and there is no memory to say how\n"));
    }
    // Nobody is left to be told when this fails.
    [[maybe_unused]] const ssize_t ignored = ::write(STDERR_FILENO, line.data(), line.size());
}

}  // namespace mailgate
