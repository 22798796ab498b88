// SPDX-License-Identifier: Apache-2.0
/// \file  What systemd's unit of the gateway says on this machine (systemd.service(5), systemd.unit(5)).
#pragma once

#include <chrono>
#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace mailgate {

/// TimeoutStopSec of mailgate.service with its drop-ins: when systemd kills a gateway that has not stopped yet. Nothing where
/// the unit is not installed, or sets no limit. `root`: where the folders of units are.
std::optional<std::chrono::milliseconds> stopLimit(const std::filesystem::path& root = "/");

/// Whether `systemctl reload` of that unit, if it serves with `config`, is `mailgate reload`, which needs admin.socket.
bool reloadsBySocket(const std::filesystem::path& config, const std::filesystem::path& root = "/");

/// How many descriptors serve may have: LimitNOFILE of that unit, where it is installed, else what this process may have.
std::uint64_t descriptorLimit(const std::filesystem::path& root = "/");

/// Whom systemd runs the gateway as.
struct ServiceUser {
    std::string user;
    std::string group;                ///< empty: the user's own
    std::vector<std::string> groups;  ///< besides
};

/// User=, Group= and SupplementaryGroups= of that unit, if it serves with this file. Nothing for root, for DynamicUser=, where
/// the unit lets the service read what its user may not (`+`, CAP_DAC_READ_SEARCH), and where it is not installed.
std::optional<ServiceUser> serviceUser(const std::filesystem::path& config,
                                       const std::filesystem::path& root = "/");

/// Whether ProtectSystem=strict of that unit makes `file` read-only to the gateway that it serves with `config`, as none of
/// the unit's folders is above it.
bool readOnlyInUnit(const std::filesystem::path& file, const std::filesystem::path& config,
                    const std::filesystem::path& root = "/");

/// The setting of that unit that hides `file` from the gateway which it serves with `config`, whatever else the unit says:
/// "ProtectHome=yes", "InaccessiblePaths=/srv". Empty: none.
std::string hiddenInUnitBy(const std::filesystem::path& file, const std::filesystem::path& config,
                           const std::filesystem::path& root = "/");

/// As systemd.time(7) has it: "60", "1min 30s". Nothing for "infinity", and for what is none.
std::optional<std::chrono::milliseconds> parseTimeSpan(std::string_view text);

}  // namespace mailgate
