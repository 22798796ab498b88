// SPDX-License-Identifier: Apache-2.0
#include "store/journal/fields.h"

#include "tests/support/filled_record.h"

#include <gtest/gtest.h>

#include <set>
#include <string_view>
#include <utility>

namespace mailgate::store::journal {
namespace {

template <typename Record>
void expectUniqueColumns() {
    std::set<std::string_view> columns;
    eachField<Record>([&](const auto& field) {
        if (!field.column.empty()) {
            EXPECT_TRUE(columns.insert(field.column).second) << field.column;
        }
    });
}

TEST(JournalFields, AColumnHasOneField) {
    expectUniqueColumns<JournalSession>();
    expectUniqueColumns<JournalMail>();
}

TEST(JournalFields, ALineHasANameOnce) {
    for (const Line line : {kEnd, kRefused, kMail}) {
        std::set<std::pair<std::string_view, std::string_view>> names;
        const auto add = [&](const auto& field) {
            if ((field.lines & line) != 0 && !field.name.empty()) {
                EXPECT_TRUE(names.insert({field.object, field.name}).second) << field.name;
            }
        };
        eachField<JournalSession>(add);
    }
}

TEST(JournalFields, TheClientComesBeforeWhatMayQuoteIt) {
    bool client_seen = false;
    eachField<JournalSession>([&](const auto& field) {
        client_seen = client_seen || field.masking == Masking::Client;
        EXPECT_TRUE(client_seen || field.masking == Masking::None) << field.name;
    });
    EXPECT_TRUE(client_seen);
}

TEST(JournalFields, EachTellsOneRecordFromAnother) {
    const JournalSession empty, filled = test::filledSession();
    EXPECT_EQ(test::differences(filled, filled), "");
    std::string all;
    eachField<JournalSession>([&](const auto& field) {
        all.append(all.empty() ? "" : ", ").append(field.name.empty() ? field.column : field.name);
    });
    EXPECT_EQ(test::differences(empty, filled), all);
}

}  // namespace
}  // namespace mailgate::store::journal
