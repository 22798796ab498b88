// SPDX-License-Identifier: Apache-2.0
#include "gateway/config/sources.h"

#include "gateway/base/config_error.h"

#include <fmt/format.h>

#include <cerrno>
#include <cstring>
#include <fstream>
#include <system_error>

namespace mailgate::config {

namespace {

namespace fs = std::filesystem;

constexpr std::size_t kMaxFileBytes = std::size_t{1} << 20;

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

}  // namespace mailgate::config
