// SPDX-License-Identifier: Apache-2.0
/// \file  How many processors this process may use.
#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <string_view>

namespace mailgate {

/// The least of: those online, the affinity mask (taskset, CPUAffinity=, cpuset), and what the control groups
/// that the process is in may use (CPUQuota=, docker --cpus; v2 and v1), rounded up. At least 1.
unsigned usableCpus();

/// What the control groups allow, from the files of a /proc/self and a /sys/fs/cgroup; nothing: all.
std::optional<double> cpuQuota(const std::filesystem::path& proc_self,
                               const std::filesystem::path& cgroup_root);

}  // namespace mailgate
