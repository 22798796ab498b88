// SPDX-License-Identifier: Apache-2.0
/// \file  What the measuring programs of the journal count by.
#pragma once

#include <sys/resource.h>

namespace mailgate::bench {

/// Of all threads of this process since it began, in user and system mode.
inline double cpuSeconds() {
    rusage usage{};
    getrusage(RUSAGE_SELF, &usage);
    const auto seconds = [](const timeval& time) {
        return static_cast<double>(time.tv_sec) + static_cast<double>(time.tv_usec) / 1e6;
    };
    return seconds(usage.ru_utime) + seconds(usage.ru_stime);
}

}  // namespace mailgate::bench
