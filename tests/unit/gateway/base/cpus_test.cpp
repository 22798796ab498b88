// SPDX-License-Identifier: Apache-2.0
#include "gateway/base/cpus.h"

#include <gtest/gtest.h>

#include <sched.h>
#include <stdlib.h>

#include <fstream>
#include <stdexcept>
#include <thread>

namespace mailgate {
namespace {

namespace fs = std::filesystem;

/// The files of a machine, as far as they matter.
class Cgroups : public testing::Test {
  protected:
    Cgroups() {
        std::string name = fs::temp_directory_path() / "mailgate-cpus-XXXXXX";
        if (::mkdtemp(name.data()) == nullptr) throw std::runtime_error("mkdtemp");
        root_ = name;
    }
    ~Cgroups() override { fs::remove_all(root_); }
    void write(const fs::path& file, const std::string& text) const {
        fs::create_directories((root_ / file).parent_path());
        std::ofstream(root_ / file) << text;
    }
    std::optional<double> quota() const { return cpuQuota(root_ / "proc", root_ / "cgroup"); }

  private:
    fs::path root_;
};

TEST_F(Cgroups, NoneIsNoLimit) {
    EXPECT_EQ(quota(), std::nullopt);
    write("proc/cgroup", "0::/system.slice/mailgate.service\n");
    write("cgroup/system.slice/mailgate.service/cpu.max", "max 100000\n");
    EXPECT_EQ(quota(), std::nullopt);
}

TEST_F(Cgroups, VersionTwoTheNarrowestOfTheGroupsAround) {
    write("proc/cgroup", "0::/system.slice/mailgate.service\n");
    write("cgroup/system.slice/mailgate.service/cpu.max", "250000 100000\n");
    EXPECT_EQ(quota(), 2.5);
    write("cgroup/system.slice/cpu.max", "150000 100000\n");
    EXPECT_EQ(quota(), 1.5);
    write("cgroup/system.slice/mailgate.service/cpu.max", "50000 100000\n");
    EXPECT_EQ(quota(), 0.5);
}

TEST_F(Cgroups, AContainersOwnGroupIsItsRoot) {
    write("cgroup/cpu.max", "200000 100000\n");
    for (const char* path : {"0::/\n", "0::/../../outside\n", "0::/docker/0123456789\n"}) {
        write("proc/cgroup", path);
        EXPECT_EQ(quota(), 2.0) << path;
    }
}

TEST_F(Cgroups, VersionOneWithoutAndWithAQuota) {
    write("proc/cgroup", "12:memory:/m\n5:cpuset:/s\n4:cpu,cpuacct:/box\n0::/\n");
    write("cgroup/cpu,cpuacct/box/cpu.cfs_period_us", "100000\n");
    write("cgroup/cpu,cpuacct/box/cpu.cfs_quota_us", "-1\n");
    EXPECT_EQ(quota(), std::nullopt);
    write("cgroup/cpu,cpuacct/box/cpu.cfs_quota_us", "120000\n");
    EXPECT_EQ(quota(), 1.2);
}

TEST_F(Cgroups, WhatCannotBeReadIsNoLimit) {
    for (const char* text : {"", "max", "100000", "-1 100000", "100000 0", "x y\n"}) {
        write("proc/cgroup", "0::/\nnonsense\n1:\n");
        write("cgroup/cpu.max", text);
        EXPECT_EQ(quota(), std::nullopt) << text;
    }
}

TEST(UsableCpus, TheAffinityMaskCounts) {
    unsigned found = 0;
    std::thread narrowed([&] {
        cpu_set_t mask;
        ASSERT_EQ(::sched_getaffinity(0, sizeof mask, &mask), 0);
        int first = 0;
        while (!CPU_ISSET(first, &mask))
            ++first;
        CPU_ZERO(&mask);
        CPU_SET(first, &mask);
        ASSERT_EQ(::sched_setaffinity(0, sizeof mask, &mask), 0);
        found = usableCpus();
    });
    narrowed.join();
    EXPECT_EQ(found, 1U);
    EXPECT_GE(usableCpus(), 1U);
}

}  // namespace
}  // namespace mailgate
