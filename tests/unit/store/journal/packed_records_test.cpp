// SPDX-License-Identifier: Apache-2.0
#include "store/journal/packed_records.h"

#include "tests/support/filled_record.h"

#include <gtest/gtest.h>

namespace mailgate::store::journal {
namespace {

JournalSession filled(JournalKind kind) {
    auto record = test::filledRecord<JournalSession>();
    record.kind = kind;
    record.mail.front().number = 7;
    return record;
}

void expectSame(const JournalSession& found, const JournalSession& expected) {
    EXPECT_EQ(found.kind, expected.kind);
    EXPECT_EQ(test::differences(found, expected), "");
    ASSERT_EQ(found.mail.size(), expected.mail.size());
    for (std::size_t at = 0; at < found.mail.size(); ++at) {
        EXPECT_EQ(found.mail[at].number, expected.mail[at].number);
        EXPECT_EQ(test::differences(found.mail[at], expected.mail[at]), "");
    }
}

TEST(PackedRecords, GiveEveryFieldBackWhateverWasInTheRecordBefore) {
    const JournalSession full = filled(JournalKind::Mail), empty;
    PackedRecords one, all;
    all.add(full);
    all.add(empty);
    one.add(full);
    all.append(one);
    EXPECT_EQ(all.count(), 3U);
    JournalSession record;
    std::size_t place = 0;
    for (const JournalSession* expected : {&full, &empty, &full}) {
        ASSERT_FALSE(all.isEnd(place));
        all.read(place, record);
        expectSame(record, *expected);
    }
    EXPECT_TRUE(all.isEnd(place));
}

TEST(PackedRecords, AreEmptyAfterClear) {
    PackedRecords records;
    EXPECT_TRUE(records.empty());
    records.add(filled(JournalKind::Session));
    EXPECT_GT(records.bytes(), 0U);
    records.clear();
    EXPECT_TRUE(records.empty());
    EXPECT_EQ(records.bytes(), 0U);
    EXPECT_TRUE(records.isEnd(0));
}

}  // namespace
}  // namespace mailgate::store::journal
