/// \file  Reads the configuration file (TOML).
#pragma once

#include "gateway/config/config.h"

#include <filesystem>
#include <functional>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

namespace mailgate {

/// Everything that is wrong with the file, one "FILE:LINE:COLUMN: key: what was expected" per line of what().
class ConfigError : public std::runtime_error {
  public:
    using std::runtime_error::runtime_error;
};

/// What a host name stands for; `error` says why when there are no addresses.
struct Resolution {
    std::vector<IpAddress> addresses;
    std::string error;
};
using Resolver = std::function<Resolution(const std::string& host)>;

/// getaddrinfo(3): every address of the name, in its order of preference. Blocks; no exception.
Resolution resolveHost(const std::string& host);

/// The file that --config names, or the first of ./mailgate.toml and /etc/mailgate/mailgate.toml that exists.
/// Throws ConfigError naming both when there is none.
std::filesystem::path findConfig(const std::string& given);

/// Reads, checks and resolves. All errors are reported at once, in the file's order. Throws ConfigError.
Config loadConfig(const std::filesystem::path& file);

/// The same from text, for tests; `file` is used in messages and as the base of relative paths.
Config parseConfig(std::string_view toml, const std::filesystem::path& file,
                   const Resolver& resolve = resolveHost);

/// Every key that a configuration may hold, dotted ("timeouts.idle.smtp"), sorted.
std::vector<std::string> configKeys();

}  // namespace mailgate
