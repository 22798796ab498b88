// SPDX-License-Identifier: Apache-2.0
/// \file  Runs a dialogue whole and split at every byte, for GoogleTest.
#pragma once

#include "tests/support/dialogue.h"

#include <gtest/gtest.h>

namespace mailgate::test {

/// What the filter knows in the end. Fails the test when that depends on how the bytes were split.
/// PROXY headers, in the form of each version, of a balancer that nobody expects one from.
inline const std::string kHeaders[] = {
    "PROXY TCP4 192.0.2.1 192.0.2.2 1 2\r\n", "PROXY UNKNOWN\r\n",
    std::string("\r\n\r\n\0\r\nQUIT\n!\x11\0\x0c\xc0\0\2\1\xc0\0\2\2\0\1\0\2", 28)};

inline Observed observe(const ProtocolTraits& protocol, const Turns& turns, const ScreenConfig& screen = {}) {
    const Observed whole = playWhole(protocol, turns, screen);
    const std::string expected = toString(whole);
    EXPECT_EQ(toString(playInPieces(protocol, turns, 1, screen)), expected) << "byte by byte";
    for (std::size_t turn = 0; turn < turns.size(); ++turn) {
        for (std::size_t at = 1; at < turns[turn].bytes.size(); ++at) {
            const std::string split = toString(playSplit(protocol, turns, turn, at, screen));
            EXPECT_EQ(split, expected) << "turn " << turn << " split at " << at;
            if (split != expected) return whole;
        }
    }
    return whole;
}

/// With a NOOP behind it: neither has reached the server.
inline void expectEndsAtHeader(const Observed& observed) {
    EXPECT_EQ(observed.violation, Violation::ProxyHeader);
    for (const char* part : {"PROXY", "QUIT", "NOOP"})
        EXPECT_EQ(observed.sent[1].find(part), std::string::npos) << observed.sent[1];
}

/// No fact holds `secret`, in the clear or in the base64 that crossed the wire.
inline void expectAbsent(const Observed& observed, std::string_view secret) {
    EXPECT_EQ(knownIn(observed).find(secret), std::string::npos) << knownIn(observed);
}

/// A way to log in, up to the server's answer: with alice's name, where it shows, and "wonderland" for a password.
struct LoginCase {
    const char* name;
    Turns turns;
    const char* want_user = "alice";
};

/// The session is logged in as that user and opaque, and the password is nowhere.
inline void expectLogin(const Observed& seen, const LoginCase& login) {
    EXPECT_EQ(seen.facts.user, login.want_user);
    EXPECT_EQ(seen.facts.authenticated, true);
    EXPECT_TRUE(seen.facts.greeted);
    EXPECT_TRUE(seen.opaque);
    expectAbsent(seen, "wonderland");
    expectAbsent(seen, "d29uZGVybGFuZA==");
}

}  // namespace mailgate::test
