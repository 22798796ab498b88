// SPDX-License-Identifier: Apache-2.0
#include "gateway/tls/tls_upstream.h"

#include "gateway/tls/error.h"
#include "tests/support/tls_files.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <ctime>
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

namespace mailgate::test {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

class TlsUpstreamTest : public ::testing::Test {
  protected:
    void open(const CertificateFiles& own = {}) {
        TlsClientOptions options;
        options.ca = files_.write("ca.pem", files_.authority.pem());
        upstream_ = std::make_unique<TlsUpstream>(
            options, own,
            TlsUpstream::Callbacks{[this](const std::string& file) { renewed_.push_back(file); },
                                   [this](const std::string& why) { refused_.push_back(why); }});
    }
    void poll(int times = 2) {
        for (int i = 0; i < times; ++i)
            upstream_->poll(std::time(nullptr));
    }

    TlsFiles files_;
    std::unique_ptr<TlsUpstream> upstream_;
    std::vector<std::string> renewed_, refused_;
};

TEST_F(TlsUpstreamTest, TrustsWhomAChangedFileNames) {
    open();
    const auto before = upstream_->context();
    poll(4);
    EXPECT_EQ(upstream_->context(), before) << "nothing has changed";
    const CertificateAuthority others("Others");
    files_.write("ca.pem", others.pem() + files_.authority.pem());
    poll();
    EXPECT_NE(upstream_->context(), before);
    EXPECT_THAT(renewed_, ElementsAre(files_.path("ca.pem")));
    EXPECT_THAT(refused_, IsEmpty());
}

TEST_F(TlsUpstreamTest, StaysAsItIsWhileAFileIsBad) {
    open();
    const auto before = upstream_->context();
    std::filesystem::remove(files_.path("ca.pem"));
    poll(6);
    EXPECT_EQ(upstream_->context(), before);
    EXPECT_THAT(refused_, ElementsAre(HasSubstr(files_.path("ca.pem")))) << "once";
    EXPECT_EQ(upstream_->refusal(), refused_[0] + "; a restart would fail");
    files_.write("ca.pem", CertificateAuthority("Others").pem());
    poll();
    EXPECT_NE(upstream_->context(), before);
    EXPECT_THAT(renewed_, ElementsAre(files_.path("ca.pem")));
}

TEST_F(TlsUpstreamTest, PresentsARenewedCertificateOfItsOwn) {
    const auto put = [&](const std::string& common_name) {
        const Issued issued = files_.authority.issue({{"gw.example.net"}, common_name});
        files_.write("own.pem", issued.certificatePem() + files_.authority.pem() + issued.keyPem());
    };
    put("old");
    open({files_.path("own.pem"), {}, {}});
    const auto before = upstream_->context();
    put("new");
    poll();
    EXPECT_NE(upstream_->context(), before);
    EXPECT_THAT(renewed_, ElementsAre(files_.path("own.pem")));
}

TEST_F(TlsUpstreamTest, NeedsItsFilesAtTheStart) {
    EXPECT_THROW(open({files_.path("none.pem"), {}, {}}), TlsError);
}

}  // namespace
}  // namespace mailgate::test
