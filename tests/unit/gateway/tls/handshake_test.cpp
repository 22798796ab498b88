// SPDX-License-Identifier: Apache-2.0
#include "gateway/tls/tls_transport.h"

#include "tests/support/tls_connection.h"

#include <gtest/gtest.h>

#include <array>
#include <atomic>
#include <ctime>
#include <functional>
#include <memory>
#include <string>
#include <thread>
#include <utility>
#include <vector>

namespace mailgate::test {
namespace {

class TlsHandshakeTest : public ::testing::Test {
  protected:
    std::shared_ptr<const TlsServerContext> context(const TlsServerOptions& options = {}) {
        return TlsServerContext::build(options, certificates_, tickets_);
    }
    static std::shared_ptr<SSL_CTX> only(int version) {
        return TlsPeer::clientContext([=](SSL_CTX* context) {
            SSL_CTX_set_security_level(context, 0);
            SSL_CTX_set_min_proto_version(context, version);
            SSL_CTX_set_max_proto_version(context, version);
        });
    }
    static std::string failureOf(std::shared_ptr<const TlsServerContext> context,
                                 std::shared_ptr<SSL_CTX> client) {
        TlsConnection connection(std::move(context), std::move(client));
        const auto step = connection.handshake();
        EXPECT_EQ(step.state, kFailedStep);
        EXPECT_EQ(step.failure, connection.server->failure());
        return std::string(toString(step.failure));
    }

    TlsFiles files_;
    UnixSeconds time_ = 1'800'000'000;
    std::shared_ptr<TicketKeys> tickets_ = std::make_shared<TicketKeys>([this] { return time_; });
    TlsServerContext::Certificates certificates_{files_.certificate({{"mx.example.net"}})};
};

TEST_F(TlsHandshakeTest, SpeaksBothVersions) {
    for (const auto& [version, name] : {std::pair{TLS1_2_VERSION, "TLSv1.2"}, {TLS1_3_VERSION, "TLSv1.3"}}) {
        TlsConnection connection(context(), only(version));
        connection.client.asksFor("mx.example.net");
        ASSERT_EQ(connection.handshake().state, kDone) << name;
        const TlsFacts facts = connection.server->facts();
        EXPECT_EQ(facts.version, name);
        EXPECT_EQ(facts.cipher, SSL_get_cipher_name(connection.client.ssl()));
        EXPECT_EQ(facts.sni, "mx.example.net");
        EXPECT_FALSE(facts.resumed);
        EXPECT_FALSE(facts.peer);
        EXPECT_GT(facts.handshake_ms, 0);
        EXPECT_LT(facts.handshake_ms, 30);
    }
}

TEST_F(TlsHandshakeTest, RefusesVersionsBelowTheLeast) {
    EXPECT_EQ(failureOf(context(), only(TLS1_1_VERSION)), "unsupported_version");
    TlsServerOptions options;
    options.min_version = "1.3";
    EXPECT_EQ(failureOf(context(options), only(TLS1_2_VERSION)), "unsupported_version");
}

TEST_F(TlsHandshakeTest, TellsWhatCouldNotBeAgreedOn) {
    TlsServerOptions options;
    options.ciphers = "ECDHE-ECDSA-AES256-GCM-SHA384";
    auto other_cipher = only(TLS1_2_VERSION);
    SSL_CTX_set_cipher_list(other_cipher.get(), "ECDHE-ECDSA-AES128-GCM-SHA256");
    EXPECT_EQ(failureOf(context(options), other_cipher), "no_shared_cipher");

    options = {};
    options.groups = "P-384";
    auto other_group = only(TLS1_3_VERSION);
    SSL_CTX_set1_groups_list(other_group.get(), "X25519");
    EXPECT_EQ(failureOf(context(options), other_group), "no_shared_group");

    auto other_signature = only(TLS1_3_VERSION);
    SSL_CTX_set1_sigalgs_list(other_signature.get(), "RSA-PSS+SHA256");
    EXPECT_EQ(failureOf(context(), other_signature), "no_shared_signature");
}

TEST_F(TlsHandshakeTest, ChoosesTheKeyThatTheClientCanUse) {
    certificates_ = {files_.certificate({.names = {"mx.example.net"}, .rsa = true}),
                     files_.certificate({.names = {"mx.example.net"}})};
    const auto server = context();
    const auto kindFor = [&](int version, const char* ciphers, const char* signatures) {
        auto client = only(version);
        if (ciphers) SSL_CTX_set_cipher_list(client.get(), ciphers);
        if (signatures) SSL_CTX_set1_sigalgs_list(client.get(), signatures);
        TlsConnection connection(server, client);
        EXPECT_EQ(connection.handshake().state, kDone);
        return std::string(
            EVP_PKEY_get0_type_name(X509_get0_pubkey(SSL_get0_peer_certificate(connection.client.ssl()))));
    };
    EXPECT_EQ(kindFor(TLS1_2_VERSION, "ECDHE-RSA-AES128-GCM-SHA256", nullptr), "RSA");
    EXPECT_EQ(kindFor(TLS1_2_VERSION, "ECDHE-ECDSA-AES128-GCM-SHA256", nullptr), "EC");
    EXPECT_EQ(kindFor(TLS1_3_VERSION, nullptr, "RSA-PSS+SHA256"), "RSA");
    EXPECT_EQ(kindFor(TLS1_3_VERSION, nullptr, "ECDSA+SHA256"), "EC");
    EXPECT_EQ(kindFor(TLS1_3_VERSION, nullptr, nullptr), "EC") << "the cheaper one where both will do";
}

TEST_F(TlsHandshakeTest, PresentsTheCertificateOfTheNameThatIsAskedFor) {
    certificates_ = {files_.certificate({{"first.example"}, "first"}),
                     files_.certificate({{"mx.example.net"}, "exact"}),
                     files_.certificate({{"*.example.net"}, "wildcard"})};
    const auto server = context();
    const auto presentedFor = [&](const char* name) {
        TlsConnection connection(server);
        if (name) connection.client.asksFor(name);
        EXPECT_EQ(connection.handshake().state, kDone);
        char common_name[64] = "";
        X509_NAME_get_text_by_NID(X509_get_subject_name(SSL_get0_peer_certificate(connection.client.ssl())),
                                  NID_commonName, common_name, sizeof common_name);
        EXPECT_EQ(connection.server->facts().sni, name ? name : "");
        return std::string(common_name);
    };
    EXPECT_EQ(presentedFor("mx.example.net"), "exact");
    EXPECT_EQ(presentedFor("MX.Example.NET"), "exact");
    EXPECT_EQ(presentedFor("imap.example.net"), "wildcard");
    EXPECT_EQ(presentedFor("a.imap.example.net"), "first") << "a wildcard stands for one label";
    EXPECT_EQ(presentedFor("example.net"), "first");
    EXPECT_EQ(presentedFor("first.example"), "first");
    EXPECT_EQ(presentedFor("elsewhere.example"), "first");
    EXPECT_EQ(presentedFor(std::string(250, 'x').c_str()), "first");
    EXPECT_EQ(presentedFor(nullptr), "first");
}

TEST_F(TlsHandshakeTest, ResumesWithATicketOfTheCurrentKeyOrTheOneBefore) {
    for (const int version : {TLS1_2_VERSION, TLS1_3_VERSION}) {
        SCOPED_TRACE(version == TLS1_2_VERSION ? "1.2" : "1.3");
        const auto server = context();
        std::shared_ptr<SSL_SESSION> session;
        const auto ticket = [&] {
            const unsigned char* bytes = nullptr;
            std::size_t size = 0;
            SSL_SESSION_get0_ticket(session.get(), &bytes, &size);
            return std::string(reinterpret_cast<const char*>(bytes), size);
        };
        const auto resumes = [&](std::shared_ptr<const TlsServerContext> with) {
            TlsConnection connection(std::move(with), only(version));
            if (session) SSL_set_session(connection.client.ssl(), session.get());
            EXPECT_EQ(connection.handshake().state, kDone);
            connection.client.reads();
            session.reset(SSL_get1_session(connection.client.ssl()), SSL_SESSION_free);
            EXPECT_EQ(SSL_session_reused(connection.client.ssl()), connection.server->facts().resumed);
            return connection.server->facts().resumed;
        };
        EXPECT_FALSE(resumes(server));
        EXPECT_TRUE(resumes(server));
        EXPECT_TRUE(resumes(context())) << "the keys are shared by contexts";
        const auto old = session;
        const std::string before = ticket();
        time_ += TicketKeys::kLifetime;
        EXPECT_TRUE(resumes(server)) << "the key before";
        EXPECT_NE(ticket().substr(0, 16), before.substr(0, 16)) << "and a ticket of the current one";
        session = old;
        time_ += TicketKeys::kLifetime;
        EXPECT_FALSE(resumes(server)) << "a key that is gone";

        TlsServerOptions elsewhere;
        elsewhere.scope = "another listener";
        EXPECT_FALSE(resumes(context(elsewhere)));
    }
}

TEST_F(TlsHandshakeTest, DemandsCertificatesOfClients) {
    const CertificateAuthority theirs("Clients"), others("Others");
    TlsServerOptions options;
    options.client_certificates = ClientCertificates::Required;
    options.client_ca = files_.write("clients.pem", theirs.pem());
    const auto server = context(options);
    const auto client = [](int version, const Issued* identity) {
        auto made = only(version);
        if (identity)
            SSL_CTX_use_cert_and_key(made.get(), identity->certificate.get(), identity->key.get(), nullptr,
                                     1);
        return made;
    };
    const Issued good = theirs.issue({{}, "relay 7"});
    const Issued expired = theirs.issue({.common_name = "late", .from = -7200, .until = -3600});
    const Issued foreign = others.issue({});
    for (const int version : {TLS1_2_VERSION, TLS1_3_VERSION}) {
        EXPECT_EQ(failureOf(server, client(version, nullptr)), "client_certificate_missing");
        EXPECT_EQ(failureOf(server, client(version, &expired)), "certificate_expired");
        EXPECT_EQ(failureOf(server, client(version, &foreign)), "unknown_ca");
        TlsConnection connection(server, client(version, &good));
        ASSERT_EQ(connection.handshake().state, kDone);
        const auto peer = connection.server->facts().peer;
        ASSERT_TRUE(peer);
        EXPECT_TRUE(peer->verified);
        EXPECT_EQ(peer->subject, "CN=relay 7");
        EXPECT_EQ(peer->common_name, "relay 7");
        EXPECT_EQ(peer->sha256.size(), 64u);
    }
}

TEST_F(TlsHandshakeTest, NotesThatAnOptionalCertificateIsNotVerifiedAndGoesOn) {
    const CertificateAuthority theirs("Clients"), others("Others");
    const CertificateAuthority below("Below others", others);
    time_ = std::time(nullptr);
    TlsServerOptions options;
    options.client_certificates = ClientCertificates::Optional;
    options.client_ca = files_.write("clients.pem", theirs.pem());
    const auto server = context(options);
    const auto verified = [&](const Issued& identity, X509* intermediate) {
        static std::shared_ptr<SSL_SESSION> session;
        session = nullptr;
        auto client = TlsPeer::clientContext();
        SSL_CTX_use_cert_and_key(client.get(), identity.certificate.get(), identity.key.get(), nullptr, 1);
        if (intermediate) SSL_CTX_add1_chain_cert(client.get(), intermediate);
        SSL_CTX_sess_set_new_cb(client.get(), [](SSL*, SSL_SESSION* made) {
            session.reset(made, SSL_SESSION_free);
            return 1;
        });
        bool result = false;
        for (const bool again : {false, true}) {
            TlsConnection connection(server, client);
            if (again) SSL_set_session(connection.client.ssl(), session.get());
            EXPECT_EQ(connection.handshake().state, kDone);
            connection.client.reads();
            const TlsFacts facts = connection.server->facts();
            const bool expired = X509_cmp_current_time(X509_get0_notAfter(identity.certificate.get())) < 0;
            EXPECT_EQ(facts.resumed, again && !expired);
            EXPECT_TRUE(facts.peer);
            const bool now = facts.peer && facts.peer->verified;
            EXPECT_TRUE(!again || now == result) << "a ticket makes nothing true";
            result = now;
        }
        session = nullptr;
        return result;
    };
    EXPECT_TRUE(verified(theirs.issue({}), nullptr));
    EXPECT_FALSE(verified(others.issue({}), nullptr));
    EXPECT_FALSE(verified(below.issue({}), below.self().certificate.get()));
    EXPECT_FALSE(verified(theirs.issue({.from = -7200, .until = -3600}), nullptr));
    EXPECT_FALSE(verified(others.self(), nullptr)) << "signed by itself";

    TlsConnection without(server);
    ASSERT_EQ(without.handshake().state, kDone);
    EXPECT_FALSE(without.server->facts().peer);
}

TEST_F(TlsHandshakeTest, AgreesOnTheRegisteredProtocolAndOnNoOther) {
    TlsServerOptions options;
    options.alpn = "imap";
    const auto server = context(options);
    const auto offering = [](std::string_view wire) {
        return TlsPeer::clientContext([=](SSL_CTX* context) {
            SSL_CTX_set_alpn_protos(context, reinterpret_cast<const unsigned char*>(wire.data()),
                                    static_cast<unsigned int>(wire.size()));
        });
    };
    const auto chosen = [](TlsConnection& connection) {
        const unsigned char* protocol = nullptr;
        unsigned int size = 0;
        SSL_get0_alpn_selected(connection.client.ssl(), &protocol, &size);
        return std::string(reinterpret_cast<const char*>(protocol), size);
    };
    TlsConnection agreed(server, offering("\4pop3\4imap"));
    ASSERT_EQ(agreed.handshake().state, kDone);
    EXPECT_EQ(chosen(agreed), "imap");
    EXPECT_EQ(failureOf(server, offering("\2h2\x8http/1.1")), "no_shared_protocol");
    EXPECT_EQ(TlsConnection(server).handshake().state, kDone) << "who offers none may come in";

    TlsConnection ignored(context(), offering("\2h2"));
    ASSERT_EQ(ignored.handshake().state, kDone);
    EXPECT_EQ(chosen(ignored), "");
}

TEST_F(TlsHandshakeTest, StaplesAResponseWhileItHolds) {
    const auto stapled = [&](long until) {
        const Issued issued = files_.authority.issue({{"mx.example.net"}});
        CertificateFiles named = files_.combined(issued);
        named.ocsp = files_.write("response.der", files_.authority.ocspResponse(issued, until));
        certificates_ = {Certificate::load(named)};
        auto client = TlsPeer::clientContext(
            [](SSL_CTX* context) { SSL_CTX_set_tlsext_status_type(context, TLSEXT_STATUSTYPE_ocsp); });
        TlsConnection connection(context(), client);
        EXPECT_EQ(connection.handshake().state, kDone);
        const unsigned char* response = nullptr;
        return SSL_get_tlsext_status_ocsp_resp(connection.client.ssl(), &response) > 0;
    };
    EXPECT_TRUE(stapled(3600));
    EXPECT_FALSE(stapled(-60));
}

TEST_F(TlsHandshakeTest, TakesAHelloInAThousandPieces) {
    TlsConnection connection(context(), TlsPeer::clientContext([](SSL_CTX* context) {
                                 std::string many;
                                 for (int i = 0; i < 160; ++i)
                                     many += "\6proto" + std::string(1, static_cast<char>('0' + i % 10));
                                 SSL_CTX_set_alpn_protos(context,
                                                         reinterpret_cast<const unsigned char*>(many.data()),
                                                         static_cast<unsigned int>(many.size()));
                             }));
    connection.client.advance();
    const std::string hello = connection.client.sent();
    ASSERT_GT(hello.size(), 1000u);
    for (std::size_t i = 0; i < hello.size(); ++i) {
        ASSERT_EQ(connection.server->advance(0).state, kWants);
        ASSERT_TRUE(connection.wire->received.empty());
        connection.arrives(hello.substr(i, 1));
    }
    EXPECT_EQ(connection.handshake().state, kDone);
}

TEST_F(TlsHandshakeTest, SaysNothingToWhatIsNoHandshake) {
    for (const std::string_view bytes : {"EHLO client.example\r\n", "GET / HTTP/1.1\r\n\r\n",
                                         "\x80\x2e\x01\x03\x01", "\r\n", "a001 STARTTLS\r\n"}) {
        TlsConnection connection(context());
        connection.arrives(bytes);
        const auto step = connection.server->advance(0);
        EXPECT_EQ(step.state, kFailedStep);
        EXPECT_EQ(toString(step.failure), "not_tls") << bytes;
        EXPECT_EQ(connection.wire->received, "");
        std::array<char, 16> buffer;
        EXPECT_EQ(connection.server->read(buffer).status, IoStatus::Error);
        EXPECT_EQ(connection.server->write("x").status, IoStatus::Error);
    }
}

TEST_F(TlsHandshakeTest, TellsGarbageBehindAHelloFromWhatIsNoTls) {
    TlsConnection connection(context());
    connection.client.advance();
    connection.arrives(connection.client.sent() + "EHLO client.example\r\n");
    auto step = connection.server->advance(0);
    while (step.again)
        step = connection.server->advance(0);
    EXPECT_EQ(step.state, kFailedStep);
    EXPECT_EQ(toString(step.failure), "protocol_error");
}

TEST_F(TlsHandshakeTest, AnswersABrokenHandshakeWithAnAlert) {
    using namespace std::string_view_literals;
    for (const auto& [bytes, why] :
         {std::pair{"\x16\x03\x01\x00\x05garbage"sv, "protocol_error"},
          std::pair{"\x16\x03\x01\xff\xff"sv, "too_large"}, std::pair{"\x16\x09\x09\x00\x05"sv, "not_tls"},
          std::pair{"\x15\x03\x01\x00\x02\x02\x28"sv, "protocol_error"}}) {
        TlsConnection connection(context());
        connection.arrives(bytes);
        auto step = connection.server->advance(0);
        EXPECT_EQ(step.state, kFailedStep) << why;
        EXPECT_EQ(toString(step.failure), why);
        EXPECT_EQ(toString(connection.server->advance(0).failure), why) << "and that is the last word";
    }
}

TEST_F(TlsHandshakeTest, TellsThatTheClientWentAway) {
    TlsConnection connection(context());
    connection.client.advance();
    connection.arrives(connection.client.sent().substr(0, 100));
    EXPECT_EQ(connection.server->advance(0).state, kWants);
    connection.finishes();
    EXPECT_EQ(toString(connection.server->advance(0).failure), "peer_closed");

    TlsConnection reset(context());
    reset.wire->broken = ECONNRESET;
    reset.server->note(kReadable | Event::kFailed);
    EXPECT_EQ(toString(reset.server->advance(0).failure), "connection_lost");
}

TEST_F(TlsHandshakeTest, TellsWhyTheClientGaveUp) {
    auto client = TlsPeer::clientContext(
        [](SSL_CTX* context) { SSL_CTX_set_verify(context, SSL_VERIFY_PEER, nullptr); });
    EXPECT_EQ(failureOf(context(), client), "alert_unknown_ca");
}

TEST_F(TlsHandshakeTest, WaitsForRoomToWrite) {
    TlsConnection connection(context());
    connection.wire->room = 0;
    connection.client.advance();
    connection.carry();
    EXPECT_EQ(connection.server->advance(0).state, kWants);
    EXPECT_TRUE(connection.wire->wants_writable);
    for (int i = 0; i < 2000 && connection.server->advance(0).state == kWants; ++i) {
        connection.wire->room = 7;
        connection.server->note(kWritable);
        connection.server->advance(0);
        connection.client.gets(connection.wire->heard());
        connection.client.advance();
        connection.carry();
    }
    EXPECT_EQ(connection.server->advance(0).state, kDone);
}

TEST_F(TlsHandshakeTest, BoundsWhatAHandshakeMayBring) {
    // Records of the type of a handshake whose message never ends: a hello of 128 KiB, announced and begun.
    TlsConnection connection(context());
    std::string record("\x16\x03\x01\x40\x00", 5);
    record += std::string("\x01\x01\xff\xff", 4) + std::string(16380, 'x');
    connection.arrives(record);
    TlsTransport::Handshake step = connection.server->advance(0);
    std::string next("\x16\x03\x01\x40\x00", 5);
    next += std::string(16384, 'x');
    int records = 1;
    for (; records < 100 && step.state == kWants; ++records) {
        connection.arrives(next);
        step = connection.server->advance(0);
    }
    EXPECT_EQ(step.state, kFailedStep);
    EXPECT_LT(records, 20);
}

TEST_F(TlsHandshakeTest, SharesContextsAndTicketKeysBetweenThreads) {
    std::atomic<UnixSeconds> time{1'800'000'000};
    tickets_ = std::make_shared<TicketKeys>([&] { return time += TicketKeys::kLifetime / 8; });
    const auto server = context();
    std::atomic<int> done{0}, resumed{0};
    std::vector<std::thread> workers;
    for (int i = 0; i < 4; ++i) {
        workers.emplace_back([&] {
            std::shared_ptr<SSL_SESSION> session;
            for (int round = 0; round < 20; ++round) {
                TlsConnection connection(server);
                if (session) SSL_set_session(connection.client.ssl(), session.get());
                if (connection.handshake().state == kDone) ++done;
                if (connection.server->facts().resumed) ++resumed;
                connection.client.reads();
                session.reset(SSL_get1_session(connection.client.ssl()), SSL_SESSION_free);
            }
        });
    }
    for (std::thread& worker : workers)
        worker.join();
    EXPECT_EQ(done, 80);
    EXPECT_GT(resumed, 0);
}

/// Two of ours, back to back.
class TlsClientTest : public TlsHandshakeTest {
  protected:
    std::shared_ptr<const TlsClientContext> client(
        const std::function<void(TlsClientOptions&)>& change = nullptr,
        std::shared_ptr<const Certificate> identity = nullptr) {
        TlsClientOptions options;
        options.ca = files_.write("ca.pem", files_.authority.pem());
        if (change) change(options);
        return TlsClientContext::build(options, std::move(identity));
    }

    struct Legs {
        std::unique_ptr<TlsTransport> server, client;
        TlsTransport::Handshake server_step{kWants}, client_step{kWants};
    };
    Legs connect(std::shared_ptr<const TlsServerContext> server_context,
                 std::shared_ptr<const TlsClientContext> client_context, const std::string& name) {
        auto to_server = std::make_shared<ScriptedPeer>(), to_client = std::make_shared<ScriptedPeer>();
        std::unique_ptr<Transport> server_below = std::make_unique<ScriptedTransport>(to_server);
        std::unique_ptr<Transport> client_below = std::make_unique<ScriptedTransport>(to_client);
        Legs legs{TlsTransport::accept(server_below, std::move(server_context)),
                  TlsTransport::connect(client_below, std::move(client_context), name, name)};
        const auto carry = [](ScriptedPeer& from, ScriptedPeer& to, TlsTransport& target) {
            if (from.received.empty()) return;
            to.sends(from.heard());
            target.note(kReadable);
        };
        for (int turn = 0; turn < 20; ++turn) {
            legs.client_step = legs.client->advance(turn);
            carry(*to_client, *to_server, *legs.server);
            legs.server_step = legs.server->advance(turn);
            carry(*to_server, *to_client, *legs.client);
        }
        return legs;
    }
    std::string outcome(std::shared_ptr<const TlsClientContext> client_context, const std::string& name) {
        const Legs legs = connect(context(), std::move(client_context), name);
        if (legs.client_step.state == kDone)
            return legs.client->facts().peer->verified ? "verified" : "not verified";
        return std::string(toString(legs.client_step.failure)) + ", " +
               std::string(toString(legs.server_step.failure));
    }
};

TEST_F(TlsClientTest, VerifiesTheServer) {
    certificates_ = {files_.certificate({{"mx.example.net", "IP:192.0.2.25", "IP:2001:db8::25"}}),
                     files_.certificate({{"*.wild.example"}})};
    EXPECT_EQ(outcome(client(), "mx.example.net"), "verified");
    EXPECT_EQ(outcome(client(), "a.wild.example"), "verified");
    EXPECT_EQ(outcome(client(), "192.0.2.25"), "verified");
    EXPECT_EQ(outcome(client(), "2001:db8::25"), "verified");
    EXPECT_EQ(outcome(client(), "other.example.net"), "wrong_name, alert_bad_certificate");
    EXPECT_EQ(outcome(client(), "192.0.2.26"), "wrong_name, alert_bad_certificate");

    certificates_ = {files_.certificate({.common_name = "mx.example.net"})};
    EXPECT_EQ(outcome(client(), "mx.example.net"), "wrong_name, alert_bad_certificate")
        << "a name that stands in the subject alone is none";
    certificates_ = {files_.certificate({{"mx.example.net"}})};

    const CertificateAuthority others("Others");
    const std::string other_ca = files_.write("others.pem", others.pem());
    EXPECT_EQ(outcome(client([&](TlsClientOptions& options) { options.ca = other_ca; }), "mx.example.net"),
              "unknown_ca, alert_unknown_ca");
    EXPECT_EQ(outcome(client([&](TlsClientOptions& options) { options.ca = "system"; }), "mx.example.net"),
              "unknown_ca, alert_unknown_ca");
    EXPECT_EQ(
        outcome(client([&](TlsClientOptions& options) { options.verify = false; }), "other.example.net"),
        "not verified");

    certificates_ = {files_.certificate({.names = {"mx.example.net"}, .from = -7200, .until = -3600})};
    EXPECT_EQ(outcome(client(), "mx.example.net"), "certificate_expired, alert_certificate_expired");
}

TEST_F(TlsClientTest, NeedsANameToVerify) {
    std::unique_ptr<Transport> below = std::make_unique<ScriptedTransport>(std::make_shared<ScriptedPeer>());
    EXPECT_EQ(TlsTransport::connect(below, client(), ""), nullptr);
    ASSERT_NE(below, nullptr) << "it stays the caller's";
    EXPECT_NE(
        TlsTransport::connect(below, client([](TlsClientOptions& options) { options.verify = false; }), ""),
        nullptr);
}

TEST_F(TlsClientTest, PresentsItsCertificate) {
    TlsServerOptions options;
    options.client_certificates = ClientCertificates::Required;
    options.client_ca = files_.write("clients.pem", files_.authority.pem());
    const auto identity = files_.certificate({{"gate.example.net"}, "gate"});
    const Legs legs = connect(context(options), client(nullptr, identity), "mx.example.net");
    ASSERT_EQ(legs.server_step.state, kDone);
    ASSERT_EQ(legs.client_step.state, kDone);
    EXPECT_EQ(legs.server->facts().peer->sha256, identity->sha256());
    EXPECT_TRUE(legs.server->facts().peer->verified);
    EXPECT_EQ(legs.client->facts().peer->sha256, certificates_.front()->sha256());
    EXPECT_EQ(legs.client->facts().peer->not_after, certificates_.front()->notAfter());
}

TEST_F(TlsClientTest, ResumesWithTheSameServerAlone) {
    certificates_ = {files_.certificate({{"mx.example.net", "mx2.example.net"}})};
    for (const char* const version : {"1.2", "1.3"}) {
        SCOPED_TRACE(version);
        const auto server = context();
        if (version == std::string_view("1.2"))
            SSL_CTX_set_max_proto_version(server->context(), TLS1_2_VERSION);
        const auto ours = client();
        const auto resumes = [&](const std::string& name) {
            Legs legs = connect(server, ours, name);
            EXPECT_EQ(legs.client_step.state, kDone);
            // Tickets of TLS 1.3 come behind the handshake.
            char byte = 0;
            EXPECT_EQ(legs.client->read({&byte, 1}).status, IoStatus::WouldBlock);
            EXPECT_EQ(legs.client->facts().resumed, legs.server->facts().resumed);
            EXPECT_TRUE(legs.client->facts().peer && legs.client->facts().peer->verified);
            EXPECT_EQ(legs.client->facts().version, "TLSv" + std::string(version));
            return legs.client->facts().resumed;
        };
        EXPECT_FALSE(resumes("mx.example.net"));
        EXPECT_TRUE(resumes("mx.example.net"));
        EXPECT_TRUE(resumes("mx.example.net"));
        EXPECT_FALSE(resumes("mx2.example.net")) << "verified for another name";
    }
}

TEST_F(TlsClientTest, TellsAServerThatSpeaksNoTls) {
    auto wire = std::make_shared<ScriptedPeer>();
    std::unique_ptr<Transport> below = std::make_unique<ScriptedTransport>(wire);
    const auto leg = TlsTransport::connect(below, client(), "mx.example.net");
    EXPECT_EQ(leg->advance(0).state, kWants);
    wire->sends("220 mx.example.net ESMTP\r\n");
    leg->note(kReadable);
    EXPECT_EQ(toString(leg->advance(0).failure), "not_tls");
}

}  // namespace
}  // namespace mailgate::test
