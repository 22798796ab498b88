// SPDX-License-Identifier: Apache-2.0
#include "gateway/daemon/service_unit.h"

#include "gateway/daemon/preflight.h"
#include "tests/support/temporary_folder.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <sys/resource.h>

#include <fstream>

namespace mailgate {
namespace {

using namespace std::chrono_literals;
namespace fs = std::filesystem;

TEST(ServiceUnit, TimeSpansAreSystemds) {
    EXPECT_EQ(parseTimeSpan("60"), 60s);
    EXPECT_EQ(parseTimeSpan("60s"), 60s);
    EXPECT_EQ(parseTimeSpan("1min 30s"), 90s);
    EXPECT_EQ(parseTimeSpan("2h5m"), 2h + 5min);
    EXPECT_EQ(parseTimeSpan(" 500 ms "), 500ms);
    EXPECT_EQ(parseTimeSpan("0"), 0s);
    for (const char* none : {"", "infinity", "-1", "1 fortnight", "s", "99999999999999999999", "1.5s"})
        EXPECT_EQ(parseTimeSpan(none), std::nullopt) << none;
}

class ServiceUnitTest : public testing::Test {
  protected:
    void write(const std::string& file, const std::string& text) {
        const fs::path path = folder_.path() / file;
        fs::create_directories(path.parent_path());
        std::ofstream(path) << text;
    }

    TemporaryFolder folder_;
};

TEST_F(ServiceUnitTest, TheStopLimitIsTheUnitsAndTheDropInsOverrideIt) {
    EXPECT_EQ(stopLimit(folder_.path()), std::nullopt) << "no unit";
    write("usr/lib/systemd/system/mailgate.service", "[Unit]\nTimeoutStopSec=1\n[Service]\nType=notify\n");
    EXPECT_EQ(stopLimit(folder_.path()), 90s) << "systemd's own";
    write("usr/lib/systemd/system/mailgate.service", "[Service]\n# TimeoutStopSec=1\nTimeoutStopSec = 60s\n");
    EXPECT_EQ(stopLimit(folder_.path()), 60s);
    write("etc/systemd/system/mailgate.service.d/20-b.conf", "[Service]\nTimeoutStopSec=5min\n");
    write("usr/lib/systemd/system/mailgate.service.d/10-a.conf", "[Service]\nTimeoutStopSec=1min\n");
    EXPECT_EQ(stopLimit(folder_.path()), 5min) << "the last name wins";
    write("etc/systemd/system/mailgate.service.d/20-b.conf", "[Service]\nTimeoutStopSec=infinity\n");
    EXPECT_EQ(stopLimit(folder_.path()), std::nullopt);
    write("etc/systemd/system/mailgate.service", "[Service]\nTimeoutSec=7\n");
    write("etc/systemd/system/mailgate.service.d/20-b.conf", "[Install]\nTimeoutStopSec=8\n");
    write("etc/systemd/system/mailgate.service.d/10-a.conf", "");
    EXPECT_EQ(stopLimit(folder_.path()), 7s)
        << "an administrator's unit and empty drop-in take the place of the package's";
}

TEST_F(ServiceUnitTest, TheLimitOnOpenFilesIsTheUnitsOrElseOnesOwn) {
    rlimit own{};
    ASSERT_EQ(::getrlimit(RLIMIT_NOFILE, &own), 0);
    EXPECT_EQ(descriptorLimit(folder_.path()), own.rlim_max) << "no unit";
    write("usr/lib/systemd/system/mailgate.service", "[Service]\nType=notify\n");
    EXPECT_EQ(descriptorLimit(folder_.path()), 524'288u) << "systemd's own";
    write("usr/lib/systemd/system/mailgate.service", "[Service]\nLimitNOFILE=131072\n");
    EXPECT_EQ(descriptorLimit(folder_.path()), 131'072u);
    write("etc/systemd/system/mailgate.service.d/10-a.conf", "[Service]\nLimitNOFILE=1024:4096\n");
    EXPECT_EQ(descriptorLimit(folder_.path()), 4'096u) << "what it raises its own to";
    write("etc/systemd/system/mailgate.service.d/10-a.conf", "[Service]\nLimitNOFILE=infinity\n");
    EXPECT_EQ(descriptorLimit(folder_.path()), RLIM_INFINITY);
}

TEST_F(ServiceUnitTest, TheServicesUserIsTheUnitsThatServesWithTheFile) {
    const fs::path config = "/etc/mailgate/mailgate.toml";
    EXPECT_FALSE(serviceUser(config, folder_.path())) << "no unit";
    write(
        "usr/lib/systemd/system/mailgate.service",
        "[Service]\nExecStart=/usr/bin/mailgate serve --config /etc/mailgate/mailgate.toml\nUser=mailgate\n");
    EXPECT_EQ(serviceUser(config, folder_.path())->user, "mailgate");
    EXPECT_EQ(serviceUser(config, folder_.path())->group, "");
    EXPECT_FALSE(serviceUser("/etc/mailgate/other.toml", folder_.path())) << "a file of somebody's own";
    const std::string drop_in = "etc/systemd/system/mailgate.service.d/10-a.conf";
    write(drop_in,
          "[Service]\nUser=mx\nGroup=mail\nSupplementaryGroups=ssl-cert \\\n# more of it\n  adm\nExecStart=\n"
          "ExecStart=/opt/mailgate serve \"--config\" /srv/mx.toml\n");
    const auto service = serviceUser("/srv/mx.toml", folder_.path());
    ASSERT_TRUE(service);
    EXPECT_EQ(service->user + ":" + service->group, "mx:mail");
    EXPECT_THAT(service->groups, testing::ElementsAre("ssl-cert", "adm"));
    for (const char* other :
         {"User=root", "User=", "DynamicUser=yes", "AmbientCapabilities=CAP_CHOWN CAP_DAC_READ_SEARCH",
          "ExecStart=\nExecStart=-+/usr/bin/mailgate serve"}) {
        write(drop_in, std::string("[Service]\n") + other);
        EXPECT_FALSE(serviceUser(config, folder_.path())) << other;
    }
}

TEST_F(ServiceUnitTest, KnowsWhetherAReloadNeedsTheSocket) {
    const fs::path config = "/etc/mailgate/mailgate.toml";
    EXPECT_FALSE(reloadsBySocket(config, folder_.path())) << "no unit";
    write("usr/lib/systemd/system/mailgate.service",
          "[Service]\nExecStart=/usr/bin/mailgate serve\nExecReload=/usr/bin/mailgate reload\n");
    EXPECT_TRUE(reloadsBySocket(config, folder_.path()));
    EXPECT_FALSE(reloadsBySocket("/srv/mx.toml", folder_.path()));
    write("etc/systemd/system/mailgate.service.d/10-a.conf",
          "[Service]\nExecReload=\nExecReload=/bin/kill -HUP $MAINPID\n");
    EXPECT_FALSE(reloadsBySocket(config, folder_.path()));
}

TEST_F(ServiceUnitTest, OnlyItsOwnFoldersCanBeWrittenWhereTheSystemIsProtected) {
    const fs::path config = "/etc/mailgate/mailgate.toml";
    const auto readOnly = [&](const char* file) { return readOnlyInUnit(file, config, folder_.path()); };
    EXPECT_FALSE(readOnly("/data/j.db")) << "no unit";
    write("lib/systemd/system/mailgate.service",
          "[Service]\nExecStart=/usr/bin/mailgate serve\nProtectSystem=strict\nStateDirectory=mailgate\n"
          "LogsDirectory=mailgate\n");
    EXPECT_TRUE(readOnly("/data/j.db"));
    EXPECT_TRUE(readOnly("/var/log/mailgate.log"));
    EXPECT_TRUE(readOnly("/var/lib/mailgate-journal/j.db"));
    EXPECT_FALSE(readOnly("/var/lib/mailgate/j.db"));
    EXPECT_FALSE(readOnly("/var/log/mailgate/mailgate.log"));
    EXPECT_FALSE(readOnlyInUnit("/data/j.db", "/home/bob/mailgate.toml", folder_.path()));
    write("etc/systemd/system/mailgate.service.d/10-a.conf",
          "[Service]\nReadWritePaths=-/data /more\nBindPaths=/from:/to\n");
    EXPECT_FALSE(readOnly("/data/j.db"));
    EXPECT_FALSE(readOnly("/to/j.db"));
    EXPECT_TRUE(readOnly("/from/j.db"));
    write("etc/systemd/system/mailgate.service.d/10-a.conf", "[Service]\nReadWritePaths=%h/other\n");
    EXPECT_FALSE(readOnly("/data/j.db")) << "not known";
    write("etc/systemd/system/mailgate.service.d/20-b.conf", "[Service]\nReadWritePaths=\n");
    EXPECT_TRUE(readOnly("/data/j.db")) << "an empty one ends the list";
    EXPECT_FALSE(readOnly("/var/lib/mailgate/j.db")) << "and no other";
    write("etc/systemd/system/mailgate.service.d/10-a.conf",
          "[Service]\nReadWriteDirectories=/old\nBindPaths=/from:/to\nBindReadOnlyPaths=\n");
    EXPECT_TRUE(readOnly("/old/j.db"));
    EXPECT_TRUE(readOnly("/to/j.db"));
    write("etc/systemd/system/mailgate.service.d/20-b.conf",
          "[Service]\nReadWritePaths=%S/other -%L/else/%p %t/100%%\n");
    for (const char* file :
         {"/var/lib/other/j.db", "/var/log/else/mailgate/m.log", "/run/100%/x", "/old/j.db"})
        EXPECT_FALSE(readOnly(file)) << file;
    EXPECT_TRUE(readOnly("/var/lib/another/j.db"));
    fs::remove(folder_.path() / "etc/systemd/system/mailgate.service.d/20-b.conf");
    write("etc/systemd/system/mailgate.service.d/10-a.conf", "[Service]\nProtectSystem=full\n");
    EXPECT_FALSE(readOnly("/data/j.db"));
}

TEST_F(ServiceUnitTest, SomePlacesAreHiddenWhateverElseItSays) {
    const fs::path config = "/etc/mailgate/mailgate.toml";
    const auto setting = [&](const char* file) { return hiddenInUnitBy(file, config, folder_.path()); };
    EXPECT_EQ(setting("/srv/j.db"), "") << "no unit";
    write("lib/systemd/system/mailgate.service",
          "[Service]\nExecStart=/usr/bin/mailgate serve\nProtectHome=yes\nInaccessiblePaths=-/mnt -/srv\n"
          "ReadWritePaths=/srv/mailgate /home/mailgate\n");
    EXPECT_EQ(setting("/srv/mailgate/j.db"), "InaccessiblePaths=/srv");
    EXPECT_EQ(setting("/home/mailgate/j.db"), "ProtectHome=yes");
    EXPECT_EQ(setting("/root/j.db"), "ProtectHome=yes");
    EXPECT_EQ(setting("/srvs/j.db"), "");
    EXPECT_EQ(setting("/var/lib/mailgate/j.db"), "");
    EXPECT_EQ(hiddenInUnitBy("/srv/j.db", "/home/bob/mailgate.toml", folder_.path()), "")
        << "not that service";
    write("etc/systemd/system/mailgate.service.d/10-a.conf",
          "[Service]\nProtectHome=read-only\nInaccessiblePaths=\n");
    EXPECT_EQ(setting("/srv/j.db"), "");
    EXPECT_EQ(setting("/home/mailgate/j.db"), "");
}

TEST_F(ServiceUnitTest, ADrainThatLastsLongerIsWarnedOf) {
    Config config;
    config.drain_timeout = 60s;
    EXPECT_THAT(drainWarnings(config, std::nullopt), testing::IsEmpty());
    EXPECT_THAT(drainWarnings(config, 61s), testing::IsEmpty());
    EXPECT_THAT(drainWarnings(config, 60s),
                testing::ElementsAre(
                    "gateway.drain_timeout is 1m, but systemd kills the gateway 1m after the order to "
                    "stop: set TimeoutStopSec to more (systemctl edit mailgate)"));
}

}  // namespace
}  // namespace mailgate
