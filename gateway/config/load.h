// SPDX-License-Identifier: Apache-2.0
/// \file  Reads the configuration file (TOML).
#pragma once

#include "gateway/base/config_error.h"
#include "gateway/config/config.h"
#include "gateway/config/documents.h"
#include "gateway/io/resolve.h"

#include <filesystem>
#include <functional>
#include <map>
#include <stdexcept>
#include <stop_token>
#include <string>
#include <string_view>
#include <vector>

namespace mailgate {

/// Where the system's configuration is.
inline constexpr const char* kSystemConfig = "/etc/mailgate/mailgate.toml";

struct FoundConfig {
    enum class How : std::uint8_t { Named, WorkingFolder, System };
    std::filesystem::path file;
    How how = How::Named;
    std::string passed_over{};  ///< why a mailgate.toml of the working folder is not it; empty: there is none
};

/// The file that --config names, or the first of ./mailgate.toml and kSystemConfig that exists. One in the working folder
/// has to belong to the process's user: in a folder of somebody else's it would be him who decides. Throws ConfigError
/// naming both when there is none.
FoundConfig findConfig(const std::string& given);

/// Reads, checks and resolves. All errors are reported at once, in the file's order. Names that have no answer
/// within kNamePatience, or when `stop` is requested, are a warning. Throws ConfigError.
Config loadConfig(const std::filesystem::path& file, const std::stop_token& stop = {});

/// The same without asking name servers, which may be dead: servers with host names have no endpoints.
Config loadUnresolved(const std::filesystem::path& file);

/// Gives them those of such a configuration's servers that are wanted (none: all), as far as name servers tell within
/// kNamePatience.
using WantedServer = std::function<bool(const UpstreamConfig& upstream, const ServerConfig& server)>;
void resolveServers(Config& config, const WantedServer& wanted = {}, const Resolver& resolve = resolveHost);

/// What a file says that has errors.
struct ReadableConfig {
    Config config;
    std::string
        errors;  ///< as ConfigError has them; empty: there are none, and all of the configuration is there
};

/// For commands that need the rules, the journal or the admin socket and not the listeners and upstreams, while the file is
/// being edited. Where all errors are elsewhere than in [gateway], [store], [rules], [fleet], [journal] and [admin], the
/// configuration has these tables; listeners and upstreams it has none. As loadUnresolved(). Of a file that is no TOML, what
/// stands in front of the table with the error counts, provided that none of those tables can be behind it. Otherwise throws
/// ConfigError.
ReadableConfig loadReadable(const std::filesystem::path& file);

/// Of such a file, and of one with errors anywhere else, or with included files that cannot be read, what it says itself in [admin], and
/// nothing more: for commands that ask the gateway that runs, which tells with which file it was started. `errors`: why its socket may be
/// another one. Throws ConfigError.
ReadableConfig loadOwnAdmin(const std::filesystem::path& file);

/// By the place that a file is to have, absolute and normal, where its text is for now.
using ComingFiles = std::map<std::filesystem::path, std::filesystem::path>;

/// The same of a file as if all of `coming` were in their places.
ReadableConfig loadReadable(const std::filesystem::path& file, const ComingFiles& coming);

/// Without a folder or file: for texts that include nothing.
inline const config::FileSource kNoFiles{
    [](const std::filesystem::path&) { return std::nullopt; },
    [](const std::filesystem::path&) -> std::string { throw ConfigError("there are no other files"); }};

/// The same from text, for tests; `file` is used in messages and as the base of relative paths.
Config parseConfig(std::string_view toml, const std::filesystem::path& file,
                   const Resolver& resolve = resolveHost, const config::FileSource& source = kNoFiles,
                   const std::stop_token& stop = {});

/// loadReadable() from text, for tests.
ReadableConfig parseReadable(std::string_view toml, const std::filesystem::path& file,
                             const config::FileSource& source = kNoFiles);

/// Every key that a configuration may hold, dotted ("timeouts.idle.smtp"), sorted.
std::vector<std::string> configKeys();

}  // namespace mailgate
