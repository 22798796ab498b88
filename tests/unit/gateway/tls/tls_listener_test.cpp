// SPDX-License-Identifier: Apache-2.0
#include "gateway/tls/tls_listener.h"

#include "gateway/tls/error.h"
#include "tests/support/tls_connection.h"
#include "tests/support/tls_files.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <ctime>
#include <filesystem>
#include <memory>
#include <string>
#include <thread>
#include <vector>

namespace mailgate::test {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;
using ::testing::StartsWith;

class TlsListenerTest : public ::testing::Test {
  protected:
    void put(const std::string& name, const Issued& issued) {
        files_.write(name, issued.certificatePem() + files_.authority.pem() + issued.keyPem());
    }
    Issued issue(const std::string& common_name) {
        return files_.authority.issue({{"mx.example.net"}, common_name});
    }
    void open(const TlsServerOptions& options = {}) {
        listener_ = std::make_unique<TlsListener>(
            options,
            std::vector<CertificateFiles>{{files_.path("a.pem"), {}, {}}, {files_.path("b.pem"), {}, {}}},
            tickets_,
            TlsListener::Callbacks{
                [this](const Certificate& certificate) { renewed_.push_back(certificate.subject()); },
                [this](const std::string& why) { refused_.push_back(why); },
                [this](const std::string& client_ca) { trusted_.push_back(client_ca); }});
    }
    void poll(int times = 2) {
        for (int i = 0; i < times; ++i)
            listener_->poll(std::time(nullptr));
    }
    std::string presented() {
        TlsConnection connection(listener_->context());
        EXPECT_EQ(connection.handshake().state, kDone);
        char name[64] = "";
        X509_NAME_get_text_by_NID(X509_get_subject_name(SSL_get0_peer_certificate(connection.client.ssl())),
                                  NID_commonName, name, sizeof name);
        return name;
    }

    TlsFiles files_;
    std::shared_ptr<TicketKeys> tickets_ = std::make_shared<TicketKeys>([] { return std::time(nullptr); });
    std::unique_ptr<TlsListener> listener_;
    std::vector<std::string> renewed_, refused_, trusted_;
};

TEST_F(TlsListenerTest, PresentsARenewedCertificateToNewConnections) {
    put("a.pem", issue("old"));
    put("b.pem", files_.authority.issue({{"other.example"}, "other"}));
    open();
    const auto before = listener_->context();
    TlsConnection under_way(before);
    under_way.client.advance();
    under_way.carry();
    under_way.server->advance(0);
    put("a.pem", issue("new"));
    poll();
    EXPECT_EQ(presented(), "new");
    EXPECT_THAT(renewed_, ElementsAre("CN=new"));
    EXPECT_THAT(refused_, IsEmpty());
    EXPECT_NE(listener_->context(), before);
    EXPECT_EQ(under_way.handshake().state, kDone) << "with the context that it began with";
    poll(5);
    EXPECT_EQ(renewed_.size(), 1u);
}

TEST_F(TlsListenerTest, StaysAsItIsWhileANewFileIsBad) {
    put("a.pem", issue("old"));
    put("b.pem", files_.authority.issue({{"other.example"}, "other"}));
    open();
    files_.write("a.pem", "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n");
    std::filesystem::remove(files_.path("b.pem"));
    poll(6);
    EXPECT_EQ(presented(), "old");
    EXPECT_THAT(refused_, ElementsAre(StartsWith(files_.path("a.pem") + ": certificate 1 of it is damaged: "),
                                      files_.path("b.pem") + ": cannot be read: No such file or directory"));
    EXPECT_EQ(listener_->refusal(), refused_[0] + "; a restart would fail");
    put("a.pem", issue("new"));
    poll();
    EXPECT_EQ(presented(), "new") << "whatever became of the other";
    EXPECT_EQ(listener_->refusal(), refused_[1] + "; a restart would fail");
    put("b.pem", files_.authority.issue({{"other.example"}, "other"}));
    poll();
    EXPECT_EQ(listener_->refusal(), "");
}

TEST_F(TlsListenerTest, TriesAgainWhenSomethingElseStoodInTheWay) {
    put("a.pem", issue("old"));
    put("b.pem", files_.authority.issue({{"other.example"}, "other"}));
    TlsServerOptions options;
    options.client_certificates = ClientCertificates::Optional;
    options.client_ca = files_.write("clients.pem", files_.authority.pem());
    open(options);
    std::filesystem::remove(options.client_ca);
    put("a.pem", issue("new"));
    poll(6);
    EXPECT_THAT(refused_, ElementsAre(options.client_ca + ": cannot be read: No such file or directory"));
    EXPECT_EQ(presented(), "old");
    EXPECT_EQ(listener_->refusal(), refused_[0] + "; a restart would fail");
    files_.write("clients.pem", files_.authority.pem());
    poll(1);
    EXPECT_EQ(presented(), "new");
    EXPECT_THAT(renewed_, ElementsAre("CN=new"));
}

TEST_F(TlsListenerTest, BelievesTheClientsOfAChangedFile) {
    put("a.pem", issue("a"));
    put("b.pem", files_.authority.issue({{"other.example"}, "other"}));
    const CertificateAuthority before("Before"), after("After");
    TlsServerOptions options;
    options.client_certificates = ClientCertificates::Required;
    options.client_ca = files_.write("clients.pem", before.pem());
    open(options);
    const auto enters = [&](const CertificateAuthority& authority) {
        const Issued identity = authority.issue({});
        TlsConnection connection(listener_->context(), TlsPeer::clientContext([&](SSL_CTX* client) {
                                     SSL_CTX_use_cert_and_key(client, identity.certificate.get(),
                                                              identity.key.get(), nullptr, 1);
                                 }));
        return connection.handshake().state == kDone;
    };
    poll();
    EXPECT_TRUE(enters(before));
    files_.write("clients.pem", after.pem());
    poll(3);
    EXPECT_FALSE(enters(before));
    EXPECT_TRUE(enters(after));
    EXPECT_THAT(trusted_, ElementsAre(options.client_ca));
    EXPECT_THAT(renewed_, IsEmpty());

    std::filesystem::remove(options.client_ca);
    poll(6);
    EXPECT_TRUE(enters(after)) << "nothing better has come";
    EXPECT_THAT(refused_, ElementsAre(options.client_ca + ": cannot be read: No such file or directory"));
    files_.write("clients.pem", before.pem());
    poll();
    EXPECT_TRUE(enters(before));
    EXPECT_EQ(trusted_.size(), 2u);
}

TEST_F(TlsListenerTest, TakesANewFileWhenItsModeIsMended) {
    using std::filesystem::perms;
    put("a.pem", issue("old"));
    put("b.pem", files_.authority.issue({{"other.example"}, "other"}));
    open();
    put("a.pem", issue("new"));
    std::filesystem::permissions(files_.path("a.pem"), perms::others_read,
                                 std::filesystem::perm_options::add);
    poll(6);
    EXPECT_THAT(refused_,
                ElementsAre(StartsWith(files_.path("a.pem") + ": holds a private key and its mode is ")));
    EXPECT_EQ(presented(), "old");
    std::filesystem::permissions(files_.path("a.pem"), perms::others_read,
                                 std::filesystem::perm_options::remove);
    poll(1);
    EXPECT_EQ(presented(), "new");
    EXPECT_THAT(renewed_, ElementsAre("CN=new"));
}

TEST_F(TlsListenerTest, IsRenewedWhileWorkersShakeHands) {
    put("a.pem", issue("0"));
    put("b.pem", files_.authority.issue({{"other.example"}, "other"}));
    open();
    std::atomic<bool> over{false};
    std::atomic<int> done{0}, failed{0};
    std::vector<std::thread> workers;
    for (int i = 0; i < 2; ++i) {
        workers.emplace_back([&] {
            while (!over) {
                TlsConnection connection(listener_->context());
                ++(connection.handshake().state == kDone ? done : failed);
            }
        });
    }
    for (int generation = 1; generation <= 8; ++generation) {
        put("a.pem", issue(std::to_string(generation)));
        poll();
    }
    for (const int before = done; done < before + 4;)
        std::this_thread::sleep_for(std::chrono::milliseconds(1));
    over = true;
    for (std::thread& worker : workers)
        worker.join();
    EXPECT_EQ(failed, 0);
    EXPECT_EQ(renewed_.size(), 8u);
    EXPECT_EQ(presented(), "8");
}

TEST_F(TlsListenerTest, DoesNotBeginWithABadPair) {
    put("a.pem", issue("old"));
    EXPECT_THROW(open(), TlsError);
}

}  // namespace
}  // namespace mailgate::test
