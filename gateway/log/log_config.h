// SPDX-License-Identifier: Apache-2.0
/// \file  Where log lines go, and which.
#pragma once

#include <cstdint>
#include <string>

namespace mailgate {

enum class LogFormat : std::uint8_t { Json, Logfmt };
enum class LogLevel : std::uint8_t { Debug, Information, Warning, Error, Critical };

struct LogConfig {
    LogFormat format = LogFormat::Json;
    std::string target =
        "stderr";  ///< stderr | syslog | syslog:SOCKET | file:PATH (paths made absolute when loaded)
    LogLevel level = LogLevel::Information;

    friend bool operator==(const LogConfig&, const LogConfig&) = default;
};

}  // namespace mailgate
