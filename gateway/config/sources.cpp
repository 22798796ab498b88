// SPDX-License-Identifier: Apache-2.0
#include "gateway/config/sources.h"

#include "gateway/base/clock.h"
#include "gateway/base/config_error.h"

#include <fmt/format.h>

#include <fnmatch.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <fstream>
#include <system_error>

namespace mailgate::config {

namespace {

namespace fs = std::filesystem;

constexpr std::size_t kMaxFileBytes = std::size_t{1} << 20;
// The clock of file systems goes in steps: what was written just before it was read may have been written again since.
constexpr std::int64_t kTick = 100;

/// What is included is no pipe or device, at which a reload would wait.
std::string readIncluded(const fs::path& file) {
    std::error_code ignored;
    if (fs::is_directory(file, ignored))
        throw ConfigError("cannot be read: it is a folder: name its files, such as \"conf.d/*.toml\"");
    if (fs::exists(file, ignored) && !fs::is_regular_file(file, ignored))
        throw ConfigError("cannot be read: it is no regular file");
    return readFile(file);
}

std::optional<std::vector<std::string>> filesOf(const fs::path& folder) {
    std::error_code error;
    std::vector<std::string> names;
    for (fs::directory_iterator each(folder.empty() ? "." : folder, error), end; !error && each != end;
         each.increment(error)) {
        std::error_code gone;
        if (!each->is_directory(gone)) names.push_back(each->path().filename().string());
    }
    if (error) return std::nullopt;
    return names;
}

std::int64_t millisOf(const timespec& time) noexcept {
    return std::int64_t{time.tv_sec} * 1'000 + time.tv_nsec / 1'000'000;
}

bool isSame(const struct stat& a, const struct stat& b) noexcept {
    const auto is_same = [](const timespec& one, const timespec& other) {
        return one.tv_sec == other.tv_sec && one.tv_nsec == other.tv_nsec;
    };
    return a.st_dev == b.st_dev && a.st_ino == b.st_ino && a.st_size == b.st_size &&
           is_same(a.st_mtim, b.st_mtim) && is_same(a.st_ctim, b.st_ctim);
}

}  // namespace

std::string readFile(const fs::path& file) {
    const auto fail = [](std::string_view why) -> std::string {
        throw ConfigError(fmt::format("cannot be read: {}", why));
    };
    std::error_code ignored;  // opening it will say what is wrong
    if (fs::is_directory(file, ignored)) return fail("it is a folder");
    errno = 0;
    std::ifstream stream(file, std::ios::binary);
    if (!stream) return fail(errno == 0 ? "unknown error" : std::strerror(errno));
    std::string text(kMaxFileBytes + 1, '\0');
    stream.read(text.data(), static_cast<std::streamsize>(text.size()));
    if (stream.bad()) return fail("input/output error");
    text.resize(static_cast<std::size_t>(stream.gcount()));
    if (text.size() > kMaxFileBytes) return fail("it is larger than 1 MiB");
    return text;
}

FileSource filesOnDisk() {
    return {filesOf, readIncluded};
}

std::optional<std::vector<fs::path>> filesNamed(const fs::path& wildcard, const FileSource& source) {
    const fs::path folder = wildcard.parent_path();
    const auto names = source.list(folder);
    if (!names) return std::nullopt;
    const std::string pattern = wildcard.filename().string();
    std::vector<fs::path> files;
    for (const std::string& name : *names)
        if (::fnmatch(pattern.c_str(), name.c_str(), FNM_PERIOD | FNM_PATHNAME) == 0)
            files.push_back(folder / name);
    std::sort(files.begin(), files.end());
    return files;
}

std::string Sources::read(const fs::path& file, const std::function<std::string(const fs::path&)>& reader) {
    Source source{.file = file, .read_ms = unixMillis()};
    ::stat(file.c_str(), &source.state);  // where it fails, so does the reader
    std::string text = reader(file);
    source.hash = std::hash<std::string>()(text);
    sources_.push_back(std::move(source));
    return text;
}

std::optional<SourceChange> Sources::change() const {
    for (const Source& source : sources_)
        if (auto changed = changeOf(source)) return changed;
    for (const std::string& wildcard : wildcards_) {
        const auto files = filesNamed(wildcard, filesOnDisk());
        if (!files) return SourceChange{wildcard, 0, "cannot be read: its folder cannot"};
        for (const fs::path& file : *files) {
            struct stat state {};
            if (!has(file) && ::stat(file.c_str(), &state) == 0)
                return SourceChange{file.string(), millisOf(state.st_ctim), ""};
        }
    }
    return std::nullopt;
}

std::optional<SourceChange> Sources::changeOf(const Source& source) {
    struct stat now {};
    if (!S_ISREG(source.state.st_mode)) return std::nullopt;  // a pipe is read once
    if (::stat(source.file.c_str(), &now) != 0)
        return SourceChange{
            source.file.string(), 0,
            errno == ENOENT ? "was removed" : fmt::format("cannot be read: {}", std::strerror(errno))};
    const bool is_same = isSame(now, source.state);
    if (is_same && source.read_ms - millisOf(source.state.st_ctim) > kTick) return std::nullopt;
    try {
        if (std::hash<std::string>()(readIncluded(source.file)) == source.hash) return std::nullopt;
    } catch (const ConfigError& error) {
        // Who has become gateway.user since may not read what root may.
        if (is_same) return std::nullopt;
        return SourceChange{source.file.string(), 0, error.what()};
    }
    // A file that was moved here may have been written before.
    const std::int64_t written = millisOf(now.st_mtim);
    return SourceChange{source.file.string(), written > source.read_ms ? written : millisOf(now.st_ctim), ""};
}

bool Sources::has(const fs::path& file) const {
    return std::any_of(sources_.begin(), sources_.end(),
                       [&](const Source& source) { return source.file == file; });
}

}  // namespace mailgate::config
