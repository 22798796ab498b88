// SPDX-License-Identifier: Apache-2.0
#include "gateway/base/cpus.h"

#include <sched.h>
#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <fstream>
#include <sstream>

namespace mailgate {
namespace {

namespace fs = std::filesystem;

std::optional<double> share(std::int64_t quota, std::int64_t period) {
    if (quota <= 0 || period <= 0) return std::nullopt;  // v1 says -1
    return static_cast<double>(quota) / static_cast<double>(period);
}

/// "QUOTA PERIOD", or "max PERIOD".
std::optional<double> readV2(const fs::path& group) {
    std::ifstream file(group / "cpu.max");
    std::int64_t quota = 0, period = 0;
    if (!(file >> quota >> period)) return std::nullopt;
    return share(quota, period);
}

std::optional<double> readV1(const fs::path& group) {
    std::ifstream quota_file(group / "cpu.cfs_quota_us"), period_file(group / "cpu.cfs_period_us");
    std::int64_t quota = 0, period = 0;
    if (!(quota_file >> quota) || !(period_file >> period)) return std::nullopt;
    return share(quota, period);
}

/// A group may use no more than each of those around it. In a container its path may be one of outside: then
/// the root that is seen here is the group's own.
template <typename Read>
std::optional<double> leastOf(const fs::path& root, const fs::path& group, Read read) {
    std::optional<double> least = read(root);
    fs::path at = root;
    for (const fs::path& part : group.relative_path()) {
        if (part == "..") break;
        at /= part;
        const std::optional<double> here = read(at);
        if (here) least = std::min(*here, least.value_or(*here));
    }
    return least;
}

bool listsCpu(std::string_view controllers) {
    while (!controllers.empty()) {
        const std::size_t comma = std::min(controllers.find(','), controllers.size());
        if (controllers.substr(0, comma) == "cpu") return true;
        controllers.remove_prefix(std::min(comma + 1, controllers.size()));
    }
    return false;
}

unsigned allowedByMask() {
    // Large enough for any machine there is; where it is not, the mask says nothing.
    cpu_set_t mask;
    CPU_ZERO(&mask);
    if (::sched_getaffinity(0, sizeof mask, &mask) == 0) return static_cast<unsigned>(CPU_COUNT(&mask));
    return static_cast<unsigned>(std::max(1L, ::sysconf(_SC_NPROCESSORS_ONLN)));
}

}  // namespace

std::optional<double> cpuQuota(const fs::path& proc_self, const fs::path& cgroup_root) {
    // "0::/path" is v2; "4:cpu,cpuacct:/path" a hierarchy of v1, mounted under its controllers' names.
    std::optional<double> least;
    std::ifstream groups(proc_self / "cgroup");
    for (std::string line; std::getline(groups, line);) {
        const std::size_t first = line.find(':');
        const std::size_t second = line.find(':', first + 1);
        if (first == std::string::npos || second == std::string::npos) continue;
        const std::string controllers = line.substr(first + 1, second - first - 1);
        const fs::path group = line.substr(second + 1);
        std::optional<double> here;
        if (controllers.empty())
            here = leastOf(cgroup_root, group, readV2);
        else if (listsCpu(controllers))
            here = leastOf(cgroup_root / controllers, group, readV1);
        if (here) least = std::min(*here, least.value_or(*here));
    }
    return least;
}

unsigned usableCpus() {
    const unsigned allowed = allowedByMask();
    const std::optional<double> quota = cpuQuota("/proc/self", "/sys/fs/cgroup");
    if (!quota || *quota >= allowed) return std::max(1U, allowed);
    return std::max(1U, static_cast<unsigned>(std::ceil(*quota)));
}

}  // namespace mailgate
