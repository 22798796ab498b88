// SPDX-License-Identifier: Apache-2.0
#include "store/fleet/postgres/journal_conditions.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace mailgate::store::postgres {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::Not;

JournalFilter with(std::optional<std::string> JournalFilter::*member, const std::string& value) {
    JournalFilter filter;
    filter.*member = value;
    return filter;
}

Conditions ofMail(const JournalFilter& filter) {
    Conditions conditions;
    addMailConditions(conditions, storable(filter));
    return conditions;
}

TEST(JournalConditions, WithoutAnyEverythingPasses) {
    Conditions conditions;
    addSessionConditions(conditions, {}, false);
    EXPECT_EQ(conditions.all(), "true");
    EXPECT_EQ(ofMail({}).all(), "true");
}

TEST(JournalConditions, ValuesAreParametersAlways) {
    JournalFilter filter;
    for (auto member :
         {&JournalFilter::from, &JournalFilter::to, &JournalFilter::reply, &JournalFilter::message_id,
          &JournalFilter::user, &JournalFilter::queue_id, &JournalFilter::listener, &JournalFilter::helo,
          &JournalFilter::server, &JournalFilter::rule})
        filter.*member = "evil'; --";
    Conditions conditions;
    addSessionConditions(conditions, filter, true);
    addMailConditions(conditions, filter);
    EXPECT_THAT(conditions.all(), Not(HasSubstr("evil")));
    EXPECT_THAT(conditions.parameters(), testing::Each(HasSubstr("evil")));
}

TEST(JournalConditions, SendersOfADomainStandTogether) {
    const auto domain = ofMail(with(&JournalFilter::from, "@Example.org"));
    EXPECT_EQ(domain.all(), "m.sender_key >= $1 AND m.sender_key < $2");
    EXPECT_THAT(domain.parameters(), ElementsAre("example.org@", "example.orgA"));
    EXPECT_THAT(ofMail(with(&JournalFilter::from, "Al@Example.org")).parameters(),
                ElementsAre("example.org@al"));
}

TEST(JournalConditions, TheNullSenderHasNoDomainEither) {
    const auto none = ofMail(with(&JournalFilter::from, "@"));
    EXPECT_EQ(none.all(), "(m.sender_key >= $1 AND m.sender_key < $2 OR m.sender_key = '')");
    EXPECT_THAT(none.parameters(), ElementsAre("@", "A"));
    EXPECT_THAT(ofMail(with(&JournalFilter::to, "@")).parameters(), ElementsAre());
}

TEST(JournalConditions, AMessageIdMayBeThereInAnotherSpelling) {
    const auto id = ofMail(with(&JournalFilter::message_id,
                                "3@B\xC3\xBC"
                                "cher.example"));
    EXPECT_THAT(id.all(), HasSubstr("OR octet_length(m.message_id) <> char_length(m.message_id))"));
    EXPECT_THAT(id.parameters(), testing::Contains("3@xn--bcher-kva.example"));
}

TEST(JournalConditions, TextsAreAskedForAsTheDatabaseHasThem) {
    EXPECT_EQ(storable(with(&JournalFilter::user, "a\xFF")).user, "a\\xFF");
}

}  // namespace
}  // namespace mailgate::store::postgres
