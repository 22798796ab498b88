// SPDX-License-Identifier: Apache-2.0
/// \file  Runs a dialogue whole and split at every byte, for GoogleTest.
#pragma once

#include "tests/support/dialogue.h"

#include <gtest/gtest.h>

namespace mailgate::test {

/// What the filter knows in the end. Fails the test when that depends on how the bytes were split.
inline Observed observe(Protocol protocol, const Turns& turns, const ScreenConfig& screen = {}) {
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

/// No fact holds `secret`, in the clear or in the base64 that crossed the wire.
inline void expectAbsent(const Observed& observed, std::string_view secret) {
    EXPECT_EQ(knownIn(observed).find(secret), std::string::npos) << knownIn(observed);
}

}  // namespace mailgate::test
