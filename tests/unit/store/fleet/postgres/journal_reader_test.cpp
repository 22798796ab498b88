// SPDX-License-Identifier: Apache-2.0
#include "store/fleet/postgres/journal_reader.h"

#include "store/store_error.h"

#include <gtest/gtest.h>

namespace mailgate::store::postgres {
namespace {

TEST(JournalReader, APositionOfAnotherJournalIsNoneInThis) {
    const auto journal = openJournal("postgresql:///mailgate?host=/nonexistent", {});
    for (const char* text : {"3=120/7", "120/7", "1+5/6 2=3/4", "x"}) {
        journal::Position position{text};
        try {
            journal->after({}, position, 1);
            FAIL() << text;
        } catch (const StoreError& error) {
            EXPECT_EQ(error.kind(), StoreError::Kind::BadInput) << text << ": " << error.what();
        }
    }
    for (const char* text : {"", "0", "0 1=2/3", "1700000000000 1=2/3 2+0/4"}) {
        journal::Position position{text};
        try {
            journal->after({}, position, 1);
            FAIL() << text;
        } catch (const StoreError& error) {
            EXPECT_NE(error.kind(), StoreError::Kind::BadInput) << text << ": " << error.what();
        }
    }
}

}  // namespace
}  // namespace mailgate::store::postgres
