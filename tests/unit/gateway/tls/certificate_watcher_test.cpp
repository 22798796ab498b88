// SPDX-License-Identifier: Apache-2.0
#include "gateway/tls/certificate_watcher.h"

#include "tests/support/tls_files.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <ctime>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

namespace mailgate::test {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;
using ::testing::StartsWith;

class CertificateWatcherTest : public ::testing::Test {
  protected:
    CertificateWatcherTest() {
        // As certbot has it: live/ holds links into archive/.
        put(first_, "1");
        link("1");
        watcher_.emplace(
            CertificateWatcher::Certificates{Certificate::load(linked())},
            CertificateWatcher::Callbacks{
                [this](const std::vector<std::size_t>& places) { changes_.push_back(places); },
                [this](const CertificateFiles&, const std::string& why) { refusals_.push_back(why); }});
    }
    CertificateFiles linked() const { return {files_.path("cert.pem"), files_.path("key.pem"), {}}; }
    void put(const Issued& issued, const std::string& generation) {
        files_.write("cert" + generation + ".pem", issued.certificatePem() + files_.authority.pem());
        files_.write("key" + generation + ".pem", issued.keyPem());
    }
    void link(const std::string& name, const std::string& generation) {
        const std::string link = files_.path(name + ".pem");
        std::filesystem::remove(link);
        std::filesystem::create_symlink(name + generation + ".pem", link);
    }
    void link(const std::string& generation) {
        link("cert", generation);
        link("key", generation);
    }
    void poll(int times) {
        for (int i = 0; i < times; ++i)
            watcher_->poll(now_);
    }
    std::string inUse() const { return watcher_->current().front()->sha256(); }
    std::string of(const Issued& issued) { return Certificate::load(files_.combined(issued))->sha256(); }

    TlsFiles files_;
    UnixSeconds now_ = std::time(nullptr);
    const Issued first_ = files_.authority.issue({{"mx.example.net"}});
    const Issued second_ = files_.authority.issue({{"mx.example.net"}});
    std::optional<CertificateWatcher> watcher_;
    std::vector<std::vector<std::size_t>> changes_;
    std::vector<std::string> refusals_;
};

TEST_F(CertificateWatcherTest, FollowsLinksToANewPair) {
    poll(3);
    EXPECT_THAT(changes_, IsEmpty());
    put(second_, "2");
    link("2");
    poll(1);
    EXPECT_EQ(inUse(), of(first_)) << "whoever writes may still be at it";
    poll(1);
    EXPECT_EQ(inUse(), of(second_));
    poll(3);
    EXPECT_THAT(changes_, ElementsAre(ElementsAre(0u)));
    EXPECT_THAT(refusals_, IsEmpty());
}

TEST_F(CertificateWatcherTest, NoticesAFileThatIsWrittenInPlace) {
    put(second_, "1");
    poll(2);
    EXPECT_EQ(inUse(), of(second_));
}

TEST_F(CertificateWatcherTest, DoesNotReadAPairThatIsHalfRenewed) {
    put(second_, "2");
    link("cert", "2");
    poll(1);
    link("key", "2");
    poll(2);
    EXPECT_EQ(inUse(), of(second_));
    EXPECT_THAT(refusals_, IsEmpty());
}

TEST_F(CertificateWatcherTest, KeepsTheOldPairAndTellsOnceWhatIsWrong) {
    put(second_, "2");
    link("cert", "2");
    poll(5);
    EXPECT_EQ(inUse(), of(first_));
    EXPECT_THAT(
        refusals_,
        ElementsAre(StartsWith(linked().key + ": the private key is not the one of the certificate in ")));
    link("key", "2");
    poll(5);
    EXPECT_EQ(inUse(), of(second_));
    EXPECT_EQ(refusals_.size(), 1u);
}

TEST_F(CertificateWatcherTest, SurvivesFilesThatVanishAndComeBack) {
    std::filesystem::remove(linked().key);
    poll(5);
    EXPECT_EQ(inUse(), of(first_));
    EXPECT_THAT(refusals_, ElementsAre(linked().key + ": cannot be read: No such file or directory"));
    link("key", "1");
    poll(5);
    EXPECT_EQ(inUse(), of(first_));
    EXPECT_EQ(refusals_.size(), 1u);
}

TEST_F(CertificateWatcherTest, PrefersAPairThatHoldsToANewOneThatDoesNot) {
    put(files_.authority.issue({.names = {"mx.example.net"}, .from = -7200, .until = -3600}), "2");
    link("2");
    poll(5);
    EXPECT_EQ(inUse(), of(first_));
    EXPECT_THAT(refusals_, ElementsAre(StartsWith(linked().certificate + ": has expired at ")));
    EXPECT_EQ(watcher_->refusal(), refusals_[0] + "; a restart or a reload would present it");
    std::filesystem::remove(linked().key);
    poll(2);
    EXPECT_EQ(watcher_->refusal(),
              linked().key + ": cannot be read: No such file or directory; a restart would fail");
}

TEST_F(CertificateWatcherTest, TellsOfOneRenewalOnce) {
    const auto combined = [&] { return files_.combined(files_.authority.issue({{"mx.example.net"}})); };
    const CertificateFiles files[] = {combined(), combined(), combined()};
    const auto renew = [&](const CertificateFiles& each) {
        const Issued issued = files_.authority.issue({{"mx.example.net"}});
        writeFile(each.certificate, issued.certificatePem() + files_.authority.pem() + issued.keyPem());
    };
    std::vector<std::vector<std::size_t>> changes;
    CertificateWatcher watcher(
        {Certificate::load(files[0]), Certificate::load(files[1]), Certificate::load(files[2])},
        {[&](const std::vector<std::size_t>& places) { changes.push_back(places); },
         [](const CertificateFiles&, const std::string& why) { ADD_FAILURE() << why; }});
    renew(files[0]);
    renew(files[2]);
    for (int i = 0; i < 3; ++i)
        watcher.poll(now_);
    EXPECT_THAT(changes, ElementsAre(ElementsAre(0u, 2u)));
}

}  // namespace
}  // namespace mailgate::test
