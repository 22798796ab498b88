// SPDX-License-Identifier: Apache-2.0
#include "gateway/admin/client.h"

#include "gateway/admin/server.h"
#include "tests/support/fake_control.h"
#include "tests/support/temporary_folder.h"

#include <Poco/Net/ServerSocket.h>
#include <Poco/Net/SocketAddress.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <chrono>
#include <string>
#include <thread>

namespace mailgate::admin {
namespace {

using testing::HasSubstr;

template <typename Ask>
ClientError errorOf(Ask ask) {
    try {
        ask();
    } catch (const ClientError& error) {
        return error;
    }
    return {-1, "no error"};
}

TEST(AdminClient, TellsWhyThereIsNoAnswer) {
    const TemporaryFolder folder;
    const ClientError nobody = errorOf([&] { Client(folder.file("none.sock")).get("/v1/status"); });
    EXPECT_EQ(nobody.status(), 0);
    EXPECT_EQ(nobody.kind(), ClientError::Kind::NotListening);
    EXPECT_THAT(nobody.what(), HasSubstr("no gateway is listening on " + folder.file("none.sock")));
    const ClientError unset = errorOf([] { Client("").get("/v1/status"); });
    EXPECT_THAT(unset.what(), HasSubstr("no admin.socket"));
}

/// A socket on which nobody accepts: the kernel does, up to its queue.
TEST(AdminClient, WaitsNoLongerThanItIsPatient) {
    const TemporaryFolder folder;
    const std::string path = folder.file("silent.sock");
    Poco::Net::ServerSocket silent;
    silent.bind(Poco::Net::SocketAddress(Poco::Net::SocketAddress::UNIX_LOCAL, path));
    silent.listen();
    const ClientError error = errorOf([&] { Client(path, std::chrono::milliseconds(20)).get("/v1/status"); });
    EXPECT_EQ(error.kind(), ClientError::Kind::Silent);
    EXPECT_THAT(error.what(), HasSubstr("no answer from mailgate on " + path));
}

/// It does not read what is asked, and the client may find the connection closed before it has asked.
TEST(AdminClient, OneWithoutDescriptorsIsNotTakenForOneThatHangs) {
    const TemporaryFolder folder;
    const std::string path = folder.file("exhausted.sock");
    Poco::Net::ServerSocket gateway;
    gateway.bind(Poco::Net::SocketAddress(Poco::Net::SocketAddress::UNIX_LOCAL, path));
    gateway.listen();
    const std::string refusal = "HTTP/1.1 503 Service Unavailable\r\nContent-Length: 4\r\n\r\nnone";
    for (int round = 0; round < 10; ++round) {
        std::thread refusing(
            [&] { gateway.acceptConnection().sendBytes(refusal.data(), static_cast<int>(refusal.size())); });
        const ClientError error = errorOf([&] { Client(path).get("/v1/status"); });
        refusing.join();
        EXPECT_EQ(error.status(), 503);
        EXPECT_THAT(error.what(), HasSubstr("has hardly any descriptors left"));
    }
}

TEST(AdminClient, AnErrorIsTheGatewaysSentence) {
    const TemporaryFolder folder;
    FakeControl control;
    AdminConfig config;
    config.socket = folder.file("mailgate.sock");
    AdminServer server(config, control, nullptr);
    server.start();
    const Client client(config.socket);
    EXPECT_EQ(client.get("/v1/status")->getValue<std::string>("name"), "gw.example.net");
    const ClientError missing = errorOf([&] { client.del("/v1/sessions/" + percentEncoded("a b")); });
    EXPECT_EQ(missing.status(), 404);
    EXPECT_EQ(missing.kind(), ClientError::Kind::Answered);
    EXPECT_STREQ(missing.what(), "there is no live session \"a b\"");
    const ClientError foreign = errorOf([&] { client.get("/metrics"); });
    EXPECT_THAT(foreign.what(), HasSubstr("is not mailgate"));
}

TEST(AdminClient, EncodesOneSegment) {
    EXPECT_EQ(percentEncoded("192.0.2.0/24 &x"), "192.0.2.0%2F24%20%26x");
    EXPECT_EQ(percentEncoded("a?b&c=d#e+f"), "a%3Fb%26c%3Dd%23e%2Bf");
}

}  // namespace
}  // namespace mailgate::admin
