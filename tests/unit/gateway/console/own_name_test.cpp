// SPDX-License-Identifier: Apache-2.0
#include "gateway/console/own_name.h"

#include <gtest/gtest.h>

namespace mailgate::console {
namespace {

TEST(OwnName, IsAnAddressOrOneThatIsKnown) {
    for (const char* host :
         {"127.0.0.1", "127.0.0.1:8026", "[::1]", "[2001:db8::1]:8026", "localhost:8026", "LOCALHOST",
          "GW.example.net", "gw.example.net:1", "console.example.net", "Console.Example.net:8443"})
        EXPECT_TRUE(isOwnName(host, "https://console.example.net:8443", "gw.example.net")) << host;
    for (const char* host :
         {"", "evil.example", "evil.example:8026", "127.0.0.1.evil.example", "x.localhost", "[::1", "[]",
          ":8026", "console.example.net.evil.example", "https", "[::1]evil.example", "[::1].evil.example",
          "127.0.0.1:80.evil.example", "localhost:evil", "[::1]x:80", "u@localhost", "localhost:65536",
          "127.0.0.1:99999999999999999999"})
        EXPECT_FALSE(isOwnName(host, "https://console.example.net:8443", "gw.example.net")) << host;
    EXPECT_FALSE(isOwnName("x", "", ""));
}

TEST(SoundPort, IsNoneOrOneThatThereIs) {
    for (const char* sound : {"", "x", "x:", "x:0", "x:65535", "[::1]", "[::1]:65535", "null", "https://x",
                              "https://x:65535", "https://[::1]:1"})
        EXPECT_TRUE(hasSoundPort(sound)) << sound;
    for (const char* other : {"x:65536", "x:1:2", "x:-1", "x:+1", "x:1a", "x: 1", "[::1", "[::1]1",
                              "[::1]:65536", "https://x:65536", "https://x:99999999999999999999"})
        EXPECT_FALSE(hasSoundPort(other)) << other;
}

TEST(OwnOrigin, IsWhereThePageWasAskedFor) {
    EXPECT_TRUE(isOwnOrigin("http://127.0.0.1:8026", "127.0.0.1:8026", ""));
    EXPECT_TRUE(isOwnOrigin("https://console.example.net", "127.0.0.1:8026", "https://console.example.net"));
    for (const char* origin : {"", "null", "http://evil.example", "http://x127.0.0.1:8026",
                               "http://127.0.0.1:8027", "http://a//127.0.0.1:8026"})
        EXPECT_FALSE(isOwnOrigin(origin, "127.0.0.1:8026", "https://console.example.net")) << origin;
    EXPECT_FALSE(isOwnOrigin("http://console.example.net", "127.0.0.1:8026", "https://console.example.net"));
}

}  // namespace
}  // namespace mailgate::console
