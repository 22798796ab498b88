// SPDX-License-Identifier: Apache-2.0
#include "store/rules/service.h"

#include "store/backends/rules.h"
#include "tests/unit/store/support.h"

#include <fmt/format.h>
#include <gmock/gmock.h>

namespace mailgate::rules {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;
using testing::SizeIs;
using testing::UnorderedElementsAre;
using PutKind = RuleStore::PutKind;

constexpr UnixSeconds kNow = 1'800'000'000;

AccessRule rule(Verdict verdict, std::string_view text, std::string listener = "") {
    AccessRule result;
    result.verdict = verdict;
    result.network = network(text);
    result.listener = std::move(listener);
    return result;
}

const Site kSite{{{"mx", true, {network("10.0.0.0/24")}}, {"imap", false, {network("10.0.1.0/24")}}},
                 {{"smtp/a", "mail.example.org:25", {address("203.0.113.25"), address("2001:db8::25")}}}};

TEST(WholeInternetTest, IsAllOrHalfOfAFamily) {
    EXPECT_EQ(wholeInternet(network("0.0.0.0/0")), (WholeInternet{true, false}));
    EXPECT_EQ(wholeInternet(network("128.0.0.0/1")), (WholeInternet{true, true}));
    EXPECT_EQ(wholeInternet(network("64.0.0.0/2")), std::nullopt);
    EXPECT_EQ(wholeInternet(network("::/0")), (WholeInternet{false, false}));
    EXPECT_EQ(wholeInternet(network("2000::/3")), (WholeInternet{false, false}));
    EXPECT_EQ(wholeInternet(network("2000::/4")), (WholeInternet{false, true}));
    EXPECT_EQ(wholeInternet(network("4000::/4")), std::nullopt);
    EXPECT_EQ(wholeInternet(network("2000::/5")), std::nullopt);
}

TEST(HazardTest, ADenialShutsOutBalancersOfTheListenersItCovers) {
    const auto all = hazardsOf(rule(Verdict::Deny, "10.0.0.0/8"), kSite);
    ASSERT_THAT(all, SizeIs(2));
    EXPECT_EQ(std::get<OwnBalancers>(all[0]).listener, "mx");
    EXPECT_EQ(std::get<OwnBalancers>(all[1]).listener, "imap");
    const auto one = hazardsOf(rule(Verdict::Deny, "10.0.0.7", "mx"), kSite);
    ASSERT_THAT(one, SizeIs(1));
    EXPECT_EQ(std::get<OwnBalancers>(one[0]).network, network("10.0.0.0/24"));
    EXPECT_THAT(hazardsOf(rule(Verdict::Deny, "10.0.0.7", "imap"), kSite), IsEmpty());
}

TEST(HazardTest, ADenialShutsOutServers) {
    const auto found = hazardsOf(rule(Verdict::Deny, "2001:db8::/64"), kSite);
    ASSERT_THAT(found, SizeIs(1));
    EXPECT_EQ(std::get<OwnServer>(found[0]).name, "smtp/a");
    EXPECT_EQ(std::get<OwnServer>(found[0]).address, "mail.example.org:25");
    EXPECT_THAT(hazardsOf(rule(Verdict::Deny, "203.0.113.26"), kSite), IsEmpty());
}

TEST(HazardTest, AnAllowRuleIsOneForEverybodyOnly) {
    EXPECT_THAT(hazardsOf(rule(Verdict::Allow, "10.0.0.0/8"), kSite), IsEmpty());
    EXPECT_THAT(hazardsOf(rule(Verdict::Allow, "0.0.0.0/0"), kSite), SizeIs(1));
}

TEST(StandingTest, SaysWhichOfTwoRulesDecides) {
    const struct {
        AccessRule rule, other;
        std::optional<Standing> want;
    } cases[] = {
        {rule(Verdict::Deny, "192.0.2.0/24"), rule(Verdict::Deny, "192.0.2.0/25"), std::nullopt},
        {rule(Verdict::Deny, "192.0.2.0/24"), rule(Verdict::Allow, "198.51.100.0/24"), std::nullopt},
        {rule(Verdict::Deny, "192.0.2.0/24", "mx"), rule(Verdict::Allow, "192.0.2.0/24", "imap"),
         std::nullopt},
        {rule(Verdict::Deny, "192.0.2.0/24"), rule(Verdict::Allow, "192.0.2.0/24"), Standing::Wins},
        {rule(Verdict::Allow, "192.0.2.0/24"), rule(Verdict::Deny, "192.0.2.0/24"), Standing::WithoutEffect},
        {rule(Verdict::Allow, "192.0.2.0/24", "mx"), rule(Verdict::Deny, "192.0.2.0/24"), Standing::Wins},
        {rule(Verdict::Deny, "192.0.2.0/24"), rule(Verdict::Allow, "192.0.2.0/24", "mx"),
         Standing::WithoutEffect},
        {rule(Verdict::Deny, "192.0.2.0/24"), rule(Verdict::Allow, "192.0.2.1"), Standing::OverriddenInside},
        {rule(Verdict::Deny, "192.0.2.1"), rule(Verdict::Allow, "192.0.2.0/24"), Standing::MoreSpecific},
    };
    for (const auto& each : cases)
        EXPECT_EQ(standingOf(each.rule, each.other), each.want)
            << each.rule.network.toString() << " and " << each.other.network.toString();
}

TEST(StandingTest, OfOneVerdictItIsToldWhereTheyDoOtherThings) {
    AccessRule exception = rule(Verdict::Allow, "192.0.2.1", "mx"), all = rule(Verdict::Allow, "192.0.2.1");
    exception.id = 1;
    all.id = 2;
    EXPECT_EQ(standingOf(all, exception), std::nullopt) << "both let in";
    exception.expires_at = 1'800'000'000;
    EXPECT_EQ(standingOf(all, exception), Standing::ComesAfter);
    EXPECT_EQ(standingOf(exception, all), Standing::ComesFirst);
    EXPECT_EQ(standingOf(exception, exception), std::nullopt) << "the rule itself";
    exception.listener.clear();
    exception.set = "crm";
    EXPECT_EQ(standingOf(all, exception), Standing::ComesFirst) << "the set manual does";
    all.set = "partners";
    EXPECT_EQ(standingOf(all, exception), Standing::ComesAfter) << "in the alphabet";
    exception.expires_at.reset();
    exception.limits.sessions = 3;
    EXPECT_EQ(standingOf(all, exception), Standing::ComesAfter);
    AccessRule later = rule(Verdict::Deny, "192.0.2.1", "mx"), always = rule(Verdict::Deny, "192.0.2.1");
    later.id = 3;
    always.reply.temporary = true;
    EXPECT_EQ(standingOf(always, later), Standing::ComesAfter);
    later.network = network("192.0.2.0/24");
    EXPECT_EQ(standingOf(always, later), std::nullopt);
}

TEST(NotesTest, TheFirstAreKeptAndTheRestIsCounted) {
    Notes<int> notes;
    for (int each = 0; each < 13; ++each)
        notes.add(each);
    EXPECT_THAT(notes.first, SizeIs(kMaxNotes));
    EXPECT_EQ(notes.more, 3u);
}

class ServiceTest : public testing::Test {
  protected:
    Service service(std::string who = "alice") {
        return {[this]() -> RuleStore& {
                    if (!store_) store_ = store::openRules("sqlite:" + file_);
                    return *store_;
                },
                kSite, std::move(who), kNow};
    }
    static PutRequest request(Verdict verdict, std::string_view text,
                              std::vector<std::string> listeners = {}) {
        return {
            .verdict = verdict, .networks = {network(text)}, .listeners = std::move(listeners), .edit = {}};
    }
    PutOutcome put(const PutRequest& request, std::string who = "alice") {
        Service made = service(std::move(who));
        EXPECT_FALSE(made.judge(request));
        return made.putJudged(request);
    }
    template <typename Kind>
    Kind refusal(const PutRequest& request) {
        const auto refused = service().judge(request);
        if (!refused || !std::holds_alternative<Kind>(*refused)) throw std::logic_error("not refused so");
        return std::get<Kind>(*refused);
    }
    std::vector<std::string> networks(const ListFilter& filter = {}) {
        std::vector<std::string> found;
        for (const AccessRule& each : service().list(filter))
            found.push_back(each.network.toString());
        return found;
    }
    std::variant<ImportOutcome, Refusal> import(std::string_view text, bool replace = false,
                                                bool insist = false) {
        return service().import({.text = text, .options = {}, .replace = replace, .insist = insist});
    }

    RuleStore::RemoveResult remove(const RuleSelection& selection) {
        return service().remove(service().select(selection));
    }
    ImportOutcome imported(const ImportRequest& request) {
        auto answer = service().import(request);
        return std::get<ImportOutcome>(std::move(answer));
    }
    /// "manual 192.0.2.1 note" and so on.
    std::vector<std::string> inSets() {
        std::vector<std::string> found;
        for (const AccessRule& each : service().list({}))
            found.push_back(each.set + " " + each.network.toString() + (each.note.empty() ? "" : " ") +
                            each.note);
        return found;
    }

    TemporaryFolder folder_;
    std::string file_ = folder_.file("rules.db");
    std::unique_ptr<RuleStore> store_;
};

TEST_F(ServiceTest, WhatIsRefusedOpensNoDatabase) {
    EXPECT_EQ(refusal<UnknownListener>(request(Verdict::Deny, "192.0.2.1", {"mx", "smpt"})).name, "smpt");
    PutRequest one = request(Verdict::Deny, "10.0.0.0/8");
    const auto hazardous = refusal<Hazardous>(one);
    EXPECT_EQ(hazardous.line, 0u);
    EXPECT_THAT(hazardous.hazards, SizeIs(2));
    one = request(Verdict::Deny, "192.0.2.1");
    one.edit.note = "bell\a";
    EXPECT_NE(refusal<InvalidNote>(one).why, "");
    one.edit.note.reset();
    one.edit.expires_at = kNow;
    EXPECT_EQ(refusal<ExpiryPast>(one).expires_at, kNow);
    one.edit.expires_at.reset();
    one.edit.sessions = 5;
    refusal<LimitsOnDeny>(one);
    EXPECT_FALSE(std::filesystem::exists(file_));
}

// Or the change would be made without a word.
TEST_F(ServiceTest, ARowThatCannotBeReadDoesNotHideWhatWasChanged) {
    put(request(Verdict::Deny, "192.0.2.1"));
    store::Shell(file_).run("INSERT INTO access_rule(network, verdict) VALUES ('nonsense', 'allow')");
    const auto outcome = put(request(Verdict::Deny, "192.0.2.2"));
    EXPECT_EQ(outcome.rules.at(0).kind, PutKind::Added);
    EXPECT_THROW(service().overlaps(outcome), store::StoreError);
}

TEST_F(ServiceTest, WhatIsAskedForByItsNumberIsReadWithoutTheOthers) {
    put(request(Verdict::Deny, "192.0.2.1"));
    store::Shell(file_).run("INSERT INTO access_rule(network, verdict) VALUES ('nonsense', 'allow')");
    EXPECT_THAT(service().select({.ids = {1, 1}}).rules, SizeIs(1));
    EXPECT_THAT(service().select({.ids = {2}}).unreadable, ElementsAre(2));
    EXPECT_THROW(service().select({.networks = {network("192.0.2.1")}}), store::StoreError);
}

// One that can be is none: whoever has written it can be told, and remove it.
TEST_F(ServiceTest, ARowThatCannotBeReadIsToldOfAndRemoved) {
    put(request(Verdict::Deny, "192.0.2.1"));
    store::Shell(file_).run(
        "INSERT INTO access_rule(network, verdict) VALUES ('192.0.2.1/99', 'allow'), ('host:BAD NAME', "
        "'deny');"
        "INSERT INTO access_name(rule_id, networks, name) VALUES (3, 'nonsense', 'host:bad name')");
    std::vector<std::int64_t> told;
    Service tolerant([this]() -> RuleStore& { return *store_; }, kSite, "alice", kNow,
                     [&](const RuleStore::BadRow& row) {
                         EXPECT_THAT(row.what,
                                     testing::HasSubstr("mailgate access remove " + std::to_string(row.id) +
                                                        " removes the row"));
                         told.push_back(row.id);
                     });
    EXPECT_THAT(tolerant.list({}), SizeIs(1));
    EXPECT_THAT(told, ElementsAre(2, 3));
    const std::vector clients{address("192.0.2.1")};
    EXPECT_FALSE(tolerant.test(clients, {}).at(0).allowed);
    const auto selected = tolerant.select({.ids = {1, 2, 4}});
    EXPECT_THAT(selected.unreadable, ElementsAre(2));
    EXPECT_THAT(selected.missing_ids, ElementsAre(4));
    const auto removed = tolerant.remove(tolerant.select({.ids = {2, 3}}));
    EXPECT_THAT(removed.unreadable, ElementsAre(2, 3));
    EXPECT_THAT(networks(), ElementsAre("192.0.2.1")) << "and nobody minds any more";
}

TEST_F(ServiceTest, WhoInsistsIsObeyed) {
    PutRequest one = request(Verdict::Deny, "10.0.0.0/8");
    one.insist = true;
    EXPECT_EQ(put(one).rules.at(0).kind, PutKind::Added);
}

TEST_F(ServiceTest, PiecesOfTheInternetAddUp) {
    PutRequest all = request(Verdict::Allow, "0.0.0.0/2");
    all.networks = {network("0.0.0.0/2"), network("64.0.0.0/2"), network("128.0.0.0/2"),
                    network("192.0.0.0/2")};
    const auto refused = refusal<TooMuchTogether>(all);
    EXPECT_EQ(refused.share, 1);
    EXPECT_TRUE(refused.v4);
    EXPECT_FALSE(refused.with_others);
    EXPECT_EQ(refused.listener, "mx");
    put(request(Verdict::Allow, "0.0.0.0/2"));
    EXPECT_TRUE(refusal<TooMuchTogether>(request(Verdict::Allow, "64.0.0.0/2")).with_others);
    put(request(Verdict::Deny, "64.0.0.0/2"));
    EXPECT_EQ(refusal<TooMuchTogether>(request(Verdict::Deny, "128.0.0.0/2", {"imap"})).listener, "imap");
    PutRequest six = request(Verdict::Allow, "2400::/6", {"imap"});
    put(six);
    six.networks = {network("2800::/6")};
    EXPECT_FALSE(refusal<TooMuchTogether>(six).v4);
    put(request(Verdict::Allow, "2800::/6", {"mx"}));
    EXPECT_THAT(networks(), SizeIs(4)) << "what was refused is not there";
}

TEST_F(ServiceTest, WhoHasInsistedOnHalfMayGoOnWithinIt) {
    PutRequest half = request(Verdict::Allow, "0.0.0.0/1");
    half.insist = true;
    put(half);
    put(request(Verdict::Allow, "198.51.100.0/24"));
    put(request(Verdict::Allow, "127.0.0.0/8"));
    EXPECT_EQ(refusal<TooMuchTogether>(request(Verdict::Allow, "128.0.0.0/2")).share, 0.75 + 1.0 / (1 << 24));
}

TEST_F(ServiceTest, AListIsMeasuredWithWhatIsThereAfterwards) {
    const std::string_view half = "allow 64.0.0.0/2 set=a\n";
    put(request(Verdict::Allow, "0.0.0.0/2"));
    EXPECT_TRUE(std::holds_alternative<TooMuchTogether>(std::get<Refusal>(import(half))));
    EXPECT_TRUE(std::holds_alternative<TooMuchTogether>(std::get<Refusal>(import(half, true))));
    EXPECT_TRUE(std::holds_alternative<TooMuchTogether>(
        std::get<Refusal>(import("allow 128.0.0.0/2\nallow 192.0.0.0/3\nallow 224.0.0.0/3\n", true))));
    imported({.text = "allow 64.0.0.0/2\n", .replace = true});  // in place of the other quarter
    imported({.text = "allow 0.0.0.0/2 expires=2001-01-01T00:00:00Z\n"});
    EXPECT_THAT(networks(), ElementsAre("64.0.0.0/2"));
    const std::string whole = std::string(half) + store::formatEnd(1) + '\n';
    const auto outcome = imported({.text = whole, .replace = true, .all_sets = true});
    EXPECT_FALSE(outcome.insisted);
    EXPECT_TRUE(imported({.text = "allow 0.0.0.0/2\n", .insist = true}).insisted)
        << "who only compares is told";
}

TEST_F(ServiceTest, WhatANameStandsForCountsToo) {
    PutRequest name = request(Verdict::Allow, "192.0.2.1");
    name.networks.clear();
    name.names = {"spf:example.org"};
    const auto outcome = put(name);
    store_->keepName(outcome.rules.at(0).rule.id, {{network("0.0.0.0/2")}, kNow, kNow, kNow + 60, ""});
    EXPECT_TRUE(refusal<TooMuchTogether>(request(Verdict::Allow, "64.0.0.0/2")).with_others);
}

TEST_F(ServiceTest, UndoingLetsNobodyInInPieces) {
    put(request(Verdict::Allow, "0.0.0.0/2"));
    remove({.networks = {network("0.0.0.0/2")}});
    put(request(Verdict::Allow, "64.0.0.0/2"));
    const auto removal = store_->history(network("0.0.0.0/2")).back().change;
    const auto refused = service().judgeUndo(removal, false);
    ASSERT_TRUE(refused);
    EXPECT_TRUE(std::holds_alternative<TooMuchTogether>(*refused));
    EXPECT_FALSE(service().judgeUndo(removal, true));
    EXPECT_EQ(service().undoJudged(removal).kind, RuleStore::UndoResult::Kind::Done);
}

TEST_F(ServiceTest, PuttingSaysWhatBecameOfEachRule) {
    PutRequest one = request(Verdict::Allow, "198.51.100.0/24", {"mx", "imap"});
    one.edit.note = "partner";
    one.edit.sessions = 20;
    auto outcome = put(one);
    ASSERT_THAT(outcome.rules, SizeIs(2));
    EXPECT_EQ(outcome.rules[0].kind, PutKind::Added);
    EXPECT_EQ(outcome.rules[1].rule.listener, "imap");
    EXPECT_THAT(outcome.cuts, IsEmpty());
    EXPECT_EQ(put(one).rules[0].kind, PutKind::Unchanged);
    one.edit = {};
    one.edit.expires_at = kNow + 60;
    outcome = put(one);
    EXPECT_EQ(outcome.rules[0].kind, PutKind::Changed);
    EXPECT_EQ(outcome.rules[0].rule.note, "partner") << "what was not said stays";
    EXPECT_EQ(outcome.rules[0].rule.limits.sessions, 20u);
    one.edit = {};
    one.edit.expires_at.emplace();
    one.edit.sessions.emplace();
    EXPECT_EQ(put(one).rules[0].rule.limits.sessions, std::nullopt);
    EXPECT_EQ(put(one).rules[0].rule.expires_at, std::nullopt);
}

TEST_F(ServiceTest, AProgramLeavesTheRulesOfPeople) {
    put(request(Verdict::Deny, "192.0.2.1"));
    const auto outcome = put(request(Verdict::Deny, "192.0.2.1"), store::programName("fail2ban"));
    EXPECT_EQ(outcome.rules.at(0).kind, PutKind::Kept);
}

TEST_F(ServiceTest, WhoTakesOverAProgramsRuleSaysWhatChanges) {
    PutRequest ban = request(Verdict::Deny, "192.0.2.1");
    ban.edit.note = "banned";
    ban.edit.expires_at = kNow + 3'600;
    put(ban, store::programName("fail2ban"));
    const auto outcome = put(request(Verdict::Deny, "192.0.2.1"));
    ASSERT_TRUE(outcome.rules.at(0).taken_over);
    EXPECT_EQ(outcome.rules.at(0).rule.note, "banned");
    EXPECT_EQ(outcome.rules.at(0).rule.expires_at, std::nullopt) << "denied by hand is denied for good";
    put(ban, store::programName("other"));
    EXPECT_FALSE(put(request(Verdict::Deny, "192.0.2.1")).rules.at(0).taken_over);

    PutRequest exception = request(Verdict::Allow, "192.0.2.2");
    exception.edit.expires_at = kNow + 3'600;
    put(exception, store::programName("ansible"));
    EXPECT_EQ(put(request(Verdict::Allow, "192.0.2.2")).rules.at(0).rule.expires_at, kNow + 3'600);
    put(exception, store::programName("ansible"));
    ban.networks = {network("192.0.2.3")};
    put(ban, store::programName("fail2ban"));
    EXPECT_EQ(imported({.text = "deny 192.0.2.3 ticket=T1\n"}).taken_over, 1u);
}

TEST_F(ServiceTest, AnExportThatIsReadBackTakesNothingFromPrograms) {
    const std::string fail2ban = store::programName("fail2ban");
    PutRequest ban = request(Verdict::Deny, "192.0.2.1");
    ban.networks.push_back(network("192.0.2.2"));
    ban.edit.note = "banned";
    ban.edit.expires_at = kNow + 3'600;
    const auto bans = put(ban, fail2ban).rules;
    const std::string exported =
        store::formatRule(bans.at(0).rule) + "\n" + store::formatRule(bans.at(1).rule);
    auto outcome = imported({.text = exported + "\n" + store::formatEnd(2) + "\n"});
    EXPECT_EQ(outcome.unchanged, 2u);
    EXPECT_EQ(outcome.taken_over, 0u);
    outcome = imported({.text = exported + " by hand\n"});
    EXPECT_EQ(outcome.unchanged, 1u);
    EXPECT_EQ(outcome.taken_over, 1u);
    // A list that says nothing of the end denies for good.
    outcome = imported({.text = "deny 192.0.2.1\n"});
    EXPECT_EQ(outcome.taken_over, 1u);
    EXPECT_EQ(put(ban, fail2ban).rules.at(0).kind, PutKind::Kept);
}

TEST_F(ServiceTest, APostfixTableSaysOfItsRulesWhetherTheyAreTemporary) {
    auto outcome = imported({.text = "192.0.2.1 DEFER busy\n192.0.2.2 REJECT\n192.0.2.3 DUNNO\n"});
    EXPECT_EQ(outcome.added, 3u);
    EXPECT_EQ(outcome.undecided.count, 1u);
    outcome = imported({.text = "192.0.2.1 REJECT busy\n192.0.2.2 REJECT\n"});
    EXPECT_EQ(outcome.changed, 1u);
    EXPECT_EQ(outcome.unchanged, 1u);
}

TEST_F(ServiceTest, RulesOfAListMayHaveExpiredAlready) {
    const std::string_view text = "deny 192.0.2.1 expires=2001-01-01T00:00:00Z\ndeny 192.0.2.2\n";
    auto outcome = imported({.text = text});
    EXPECT_EQ(outcome.expired, 1u);
    EXPECT_EQ(outcome.added, 2u);
    outcome = imported({.text = text});
    EXPECT_EQ(outcome.expired, 1u);
    EXPECT_EQ(outcome.unchanged, 2u);
}

TEST_F(ServiceTest, ANameWithoutAnAnswerOpensNothing) {
    PutRequest name{
        .verdict = Verdict::Allow, .names = {"host:home.example.org"}, .listeners = {"mx"}, .edit = {}};
    const auto outcome = put(name);
    EXPECT_THAT(service().closedBy(outcome), ElementsAre("mx"));
    store_->keepName(outcome.rules.at(0).rule.id, {{network("192.0.2.1")}, kNow, kNow, kNow + 60, ""});
    EXPECT_THAT(service().closedBy(outcome), IsEmpty());
    EXPECT_THAT(service().closedBy(put(request(Verdict::Deny, "192.0.2.1"))), IsEmpty());
}

TEST_F(ServiceTest, OverlapsAreOfRulesInForce) {
    put(request(Verdict::Allow, "192.0.2.0/24"));
    PutRequest expiring = request(Verdict::Allow, "192.0.2.0/25");
    expiring.edit.expires_at = kNow + 1;
    put(expiring);
    store::Shell(file_).run("UPDATE access_rule SET expires_at = " + std::to_string(kNow) +
                            " WHERE expires_at IS NOT NULL");
    const auto outcome = put(request(Verdict::Deny, "192.0.2.1"));
    const auto overlaps = service().overlaps(outcome);
    ASSERT_THAT(overlaps.first, SizeIs(1));
    EXPECT_EQ(overlaps.first[0].rule_id, outcome.rules[0].rule.id);
    EXPECT_EQ(overlaps.first[0].standing, Standing::MoreSpecific);
    EXPECT_EQ(overlaps.first[0].other.network, network("192.0.2.0/24"));
    ASSERT_THAT(outcome.cuts, SizeIs(1));
    EXPECT_EQ(outcome.cuts[0].network, network("192.0.2.1"));
    EXPECT_EQ(outcome.cuts[0].listener, "");
}

TEST_F(ServiceTest, AnExceptionThatIsMadePermanentElsewhereIsToldOf) {
    PutRequest exception = request(Verdict::Allow, "192.0.2.1", {"mx"});
    exception.edit.expires_at = kNow + 3'600;
    put(exception);
    EXPECT_THAT(service().overlaps(put(request(Verdict::Allow, "192.0.2.1", {"mx"}))).first, IsEmpty());
    auto overlaps = service().overlaps(put(request(Verdict::Allow, "192.0.2.1")));
    ASSERT_THAT(overlaps.first, SizeIs(1));
    EXPECT_EQ(overlaps.first[0].standing, Standing::ComesAfter);
    EXPECT_TRUE(overlaps.first[0].outlives);
    overlaps = service().overlaps(put(exception));
    ASSERT_THAT(overlaps.first, SizeIs(1));
    EXPECT_EQ(overlaps.first[0].standing, Standing::ComesFirst);
    EXPECT_FALSE(overlaps.first[0].outlives);
}

TEST_F(ServiceTest, RemovingTheLastAllowRuleClosesAllowlists) {
    put(request(Verdict::Allow, "192.0.2.0/24"));
    put(request(Verdict::Allow, "198.51.100.0/24", {"imap"}));
    put(request(Verdict::Deny, "192.0.2.9"));
    EXPECT_THAT(service().closedBy(remove({.networks = {network("192.0.2.9")}})), IsEmpty());
    const auto outcome = remove({.networks = {network("192.0.2.0/24")}});
    EXPECT_THAT(outcome.removed, SizeIs(1));
    EXPECT_THAT(service().closedBy(outcome), ElementsAre("mx"));
}

TEST_F(ServiceTest, WhatIsNotThereIsMissingWithItsNeighbours) {
    put(request(Verdict::Deny, "192.0.2.0/24"));
    put(request(Verdict::Deny, "192.0.2.0/28", {"mx"}));
    put(request(Verdict::Deny, "192.0.2.1"));
    put(request(Verdict::Deny, "203.0.113.1"));
    const auto outcome = service().select(
        {.networks = {network("192.0.2.0/28"), network("203.0.113.1")}, .listeners = {"imap"}});
    EXPECT_THAT(outcome.rules, IsEmpty());
    ASSERT_THAT(outcome.missing, SizeIs(2));
    using Relation = NearMiss::Relation;
    std::vector<Relation> relations;
    for (const NearMiss& near : service().nearMisses(outcome.missing[0]).first)
        relations.push_back(near.relation);
    EXPECT_THAT(relations, ElementsAre(Relation::Around, Relation::Same, Relation::Contains));
    EXPECT_THAT(networks(), SizeIs(4));
}

TEST_F(ServiceTest, NamesAreThoseOfListenersOrOfRules) {
    put(request(Verdict::Deny, "192.0.2.1", {"mx"}));
    store::Shell(file_).run("UPDATE access_rule SET listener = 'old'");
    const std::vector<std::string> names{"mx", "old", "older"};
    EXPECT_EQ(service().unknown(names)->name, "old");
    EXPECT_EQ(service().unknownToRules(names)->name, "older");
    EXPECT_EQ(service().unknownToRules(std::span(names).first(2)), std::nullopt);
}

TEST_F(ServiceTest, RulesFollowTheirListener) {
    put(request(Verdict::Deny, "192.0.2.1", {"mx"}));
    put(request(Verdict::Deny, "192.0.2.1", {"imap"}));
    auto answer = service().renameListener("imap", "mx", false);
    EXPECT_EQ(std::get<StillConfigured>(std::get<Refusal>(answer)).listener, "imap");
    answer = service().renameListener("old", "new", false);
    EXPECT_EQ(std::get<UnknownListener>(std::get<Refusal>(answer)).name, "new");
    EXPECT_EQ(std::get<std::size_t>(service().renameListener("old", "mx", false)), 0u);
    store::Shell(file_).run("UPDATE access_rule SET listener = 'old' WHERE listener = 'imap'");
    answer = service().renameListener("old", "mx", false);
    EXPECT_THAT(std::get<InTheWay>(std::get<Refusal>(answer)).rules, SizeIs(1));
    store::Shell(file_).run("DELETE FROM access_rule WHERE listener = 'mx'");
    EXPECT_EQ(std::get<std::size_t>(service().renameListener("old", "mx", false)), 1u);
}

TEST_F(ServiceTest, ARenamedListenerIsGuardedAsANewRuleIs) {
    put(request(Verdict::Allow, "0.0.0.0/2"));
    store::Shell shell(file_);
    shell.run("INSERT INTO access_rule(network, verdict, listener) VALUES ('10.0.0.0/8', 'deny', 'old')");
    auto answer = service().renameListener("old", "mx", false);
    EXPECT_THAT(std::get<Hazardous>(std::get<Refusal>(answer)).hazards, SizeIs(1));
    shell.run("UPDATE access_rule SET network = '64.0.0.0/2', verdict = 'allow' WHERE listener = 'old'");
    answer = service().renameListener("old", "mx", false);
    EXPECT_TRUE(std::get<TooMuchTogether>(std::get<Refusal>(answer)).with_others);
    EXPECT_EQ(std::get<std::size_t>(service().renameListener("old", "mx", true)), 1u);
}

TEST_F(ServiceTest, AListIsImportedAsAWholeOrNotAtAll) {
    auto answer = import("deny 192.0.2.1\ndeny nonsense\n");
    EXPECT_THAT(std::get<UnreadableList>(std::get<Refusal>(answer)).errors, SizeIs(1));
    answer = import("deny 192.0.2.1\ndeny 10.0.0.0/8\n");
    EXPECT_EQ(std::get<Hazardous>(std::get<Refusal>(answer)).line, 2u);
    EXPECT_THAT(networks(), IsEmpty());
    const auto outcome = std::get<ImportOutcome>(import("deny 192.0.2.1\nallow 198.51.100.0/24 note\n"));
    EXPECT_EQ(outcome.format, store::ImportFormat::Mailgate);
    EXPECT_EQ(outcome.allowing, 1u);
    EXPECT_EQ(outcome.denying, 1u);
    EXPECT_EQ(outcome.added, 2u);
    EXPECT_THAT(networks(), ElementsAre("192.0.2.1", "198.51.100.0/24"));
}

TEST_F(ServiceTest, AnImportLeavesWhatALineDoesNotSay) {
    import("allow 198.51.100.0/24 client_rate=5 partner\n");
    const auto outcome =
        std::get<ImportOutcome>(import("allow 198.51.100.0/24 renewed\nallow 198.51.100.0/24 listener=mx\n"));
    EXPECT_EQ(outcome.changed, 1u);
    EXPECT_EQ(outcome.added, 1u);
    EXPECT_EQ(service().list({}).at(0).limits.per_minute, 5u);
    EXPECT_EQ(service().list({}).at(0).note, "renewed");
}

TEST_F(ServiceTest, ReplacingRemovesWhatTheListDoesNotHold) {
    import("allow 198.51.100.0/24\ndeny 192.0.2.1\n");
    EXPECT_TRUE(std::holds_alternative<NothingLeft>(std::get<Refusal>(import("# none\n", true))));
    auto outcome = std::get<ImportOutcome>(import("deny 192.0.2.1\n", true));
    EXPECT_EQ(outcome.unchanged, 1u);
    EXPECT_THAT(outcome.removed, ElementsAre("allow 198.51.100.0/24"));
    EXPECT_THAT(service().closedBy(outcome), ElementsAre("mx"));
    outcome = std::get<ImportOutcome>(import("# none\n", true, true));
    EXPECT_THAT(outcome.removed, SizeIs(1));
    EXPECT_THAT(networks(), IsEmpty());
}

TEST_F(ServiceTest, AnEmptyListIsAFailureOfWhatWasToWriteIt) {
    const auto piped = [&](const char* text, bool insist = false) {
        return service().import({.text = text, .options = {.may_be_cut = true}, .insist = insist});
    };
    EXPECT_TRUE(std::holds_alternative<NothingLeft>(std::get<Refusal>(piped(""))));
    EXPECT_TRUE(std::holds_alternative<NothingLeft>(std::get<Refusal>(piped("# nothing\n"))));
    EXPECT_TRUE(std::holds_alternative<ImportOutcome>(piped("", true)));
    EXPECT_TRUE(std::holds_alternative<ImportOutcome>(piped((store::formatEnd(0) + "\n").c_str())));
    EXPECT_TRUE(std::holds_alternative<NothingLeft>(std::get<Refusal>(import(" \n")))) << "of a file as well";
    EXPECT_TRUE(std::holds_alternative<ImportOutcome>(import("# nothing\n"))) << "which is meant, in a file";
}

TEST_F(ServiceTest, ALineWithoutAListenerIsForThoseThatTheImportNames) {
    const auto forSome = [&](const char* text, std::vector<std::string> listeners) {
        return service().import({.text = text, .options = {}, .listeners = std::move(listeners)});
    };
    EXPECT_EQ(std::get<UnknownListener>(std::get<Refusal>(forSome("deny 192.0.2.1\n", {"pop3"}))).name,
              "pop3");
    forSome("deny 192.0.2.1\ndeny 192.0.2.2 listener=imap\n", {"mx"});
    const auto listenersOf = [&](const char* text) {
        std::vector<std::string> names;
        for (const AccessRule& one : service().list({.covering = network(text)}))
            names.push_back(one.listener);
        return names;
    };
    EXPECT_THAT(listenersOf("192.0.2.1"), ElementsAre("mx"));
    EXPECT_THAT(listenersOf("192.0.2.2"), ElementsAre("imap"));
    const auto outcome = std::get<ImportOutcome>(forSome("deny 192.0.2.3\n", {"mx", "imap"}));
    EXPECT_EQ(outcome.added, 2u);
    EXPECT_THAT(listenersOf("192.0.2.3"), UnorderedElementsAre("mx", "imap"));
}

TEST_F(ServiceTest, RulesOfAListThatDecideNothingAreTold) {
    put(request(Verdict::Deny, "192.0.2.1"));
    const auto outcome =
        std::get<ImportOutcome>(import("allow 192.0.2.1\nallow 192.0.2.2\nallow 192.0.2.0/24\n"));
    const auto idle = service().withoutEffect(outcome);
    ASSERT_THAT(idle.first, SizeIs(1));
    EXPECT_EQ(idle.first[0].rule.network, network("192.0.2.1"));
    EXPECT_EQ(idle.first[0].other.id, 1);
    EXPECT_EQ(idle.more, 0u);
}

TEST_F(ServiceTest, DenialsThatTakeAllThatIsAllowedCloseAListener) {
    put(request(Verdict::Allow, "192.0.2.0/24"));
    EXPECT_THAT(service().closedBy(put(request(Verdict::Deny, "192.0.2.0/25"))), IsEmpty());
    EXPECT_THAT(service().closedBy(put(request(Verdict::Deny, "198.51.100.1"))), IsEmpty());
    EXPECT_THAT(service().closedBy(put(request(Verdict::Deny, "192.0.2.128/25"))), ElementsAre("mx"))
        << "with the other half";
    put(request(Verdict::Allow, "203.0.113.0/24"));
    EXPECT_THAT(service().closedBy(put(request(Verdict::Deny, "192.0.2.0/24"))), IsEmpty());
}

TEST_F(ServiceTest, AListThatWouldLeaveLittleIsNoWholeList) {
    std::string list;
    for (int each = 1; each <= 12; ++each)
        list += "deny 192.0.2." + std::to_string(each) + (each % 2 == 0 ? " set=even\n" : "\n");
    import(list);
    const auto beginning = [&](std::size_t lines, bool marked) {
        std::string text;
        for (std::size_t at = 0; lines-- > 0; at = list.find('\n', at) + 1)
            text += list.substr(at, list.find('\n', at) + 1 - at);
        return marked ? text +
                            store::formatEnd(
                                static_cast<std::size_t>(std::count(text.begin(), text.end(), '\n'))) +
                            '\n'
                      : text;
    };
    const auto replaceAll = [&](const std::string& text, bool insist = false) {
        return service().import(
            {.text = text, .options = {}, .replace = true, .all_sets = true, .insist = insist});
    };
    auto refused = std::get<MostRemoved>(std::get<Refusal>(replaceAll(beginning(5, true))));
    EXPECT_EQ(refused.removed, 7u);
    EXPECT_EQ(refused.present, 12u);
    EXPECT_FALSE(refused.without_end_mark);
    refused = std::get<MostRemoved>(std::get<Refusal>(replaceAll(beginning(11, false))));
    EXPECT_EQ(refused.removed, 1u) << "and nothing says that this is all";
    EXPECT_TRUE(refused.without_end_mark);
    EXPECT_THAT(networks(), SizeIs(12));
    EXPECT_TRUE(std::holds_alternative<ImportOutcome>(replaceAll(list))) << "nothing goes";
    EXPECT_THAT(std::get<ImportOutcome>(replaceAll(beginning(6, true))).removed, SizeIs(6)) << "half of them";
    EXPECT_THAT(std::get<ImportOutcome>(replaceAll(beginning(1, true))).removed, SizeIs(5)) << "of a few";
    import(list);
    const auto insisted = std::get<ImportOutcome>(replaceAll(beginning(1, false), true));
    EXPECT_THAT(insisted.removed, SizeIs(11));
    EXPECT_TRUE(std::holds_alternative<MostRemoved>(*insisted.insisted));
}

TEST_F(ServiceTest, AListOfNamesIsComparedByThem) {
    constexpr int kNames = 2'000;
    const auto listOf = [](int allowed) {
        std::string list;
        for (int each = 1; each <= kNames; ++each)
            list += fmt::format("{} host:mx{}.example.org\n", each <= allowed ? "allow" : "deny", each);
        return list + store::formatEnd(kNames) + '\n';
    };
    const auto replaceAll = [&](const std::string& text) {
        return service().import({.text = text, .options = {}, .replace = true, .all_sets = true});
    };
    import(listOf(kNames));
    EXPECT_TRUE(std::holds_alternative<ImportOutcome>(replaceAll(listOf(kNames)))) << "nothing goes";
    const auto refused = std::get<MostRemoved>(std::get<Refusal>(replaceAll(listOf(999))));
    EXPECT_EQ(refused.removed, 1'001u) << "with another verdict it is another";
    EXPECT_EQ(refused.present, 2'000u);
}

TEST_F(ServiceTest, RulesAreListedByTheNamesThatTheyAreFor) {
    import("allow host:home.example.org\ndeny spf:example.org\ndeny 192.0.2.1\n");
    EXPECT_THAT(service().list({.names = {"host:home.example.org"}}), SizeIs(1));
    EXPECT_THAT(service().list({.names = {"spf:example.org", "host:home.example.org"}}), SizeIs(2));
    EXPECT_THAT(service().list({.names = {"host:example.org"}}), IsEmpty());
}

TEST_F(ServiceTest, RulesAreSelectedByWhatIsSaidOfThem) {
    import("deny 192.0.2.1 listener=mx spam\ndeny 192.0.2.1 set=git From ACME\nallow 198.51.100.1 set=git\n");
    store::Shell(file_).run("UPDATE access_rule SET network = '192.0.2.1/32' WHERE id = 2");
    const auto ids = [&](const RuleSelection& selection, std::string who = "alice") {
        std::vector<std::int64_t> found;
        for (const AccessRule& each : service(std::move(who)).select(selection).rules)
            found.push_back(each.id);
        return found;
    };
    EXPECT_THAT(ids({.networks = {network("192.0.2.1")}}), ElementsAre(1, 2)) << "however it is written";
    EXPECT_THAT(ids({.networks = {network("192.0.2.1")}, .listeners = {"mx"}}), ElementsAre(1));
    EXPECT_THAT(ids({.networks = {network("192.0.2.1")}, .set = "git"}), ElementsAre(2));
    EXPECT_THAT(ids({.ids = {3, 1}}), ElementsAre(1, 3));
    EXPECT_THAT(ids({.set = "git"}), ElementsAre(2, 3));
    EXPECT_THAT(ids({.note_contains = "acme"}), ElementsAre(2));
    EXPECT_THAT(ids({.set = "git"}, store::programName("x")), IsEmpty())
        << "a program has its own rules only";
    store::Shell(file_).run("UPDATE access_rule SET expires_at = " + std::to_string(kNow - 60) +
                            " WHERE id = 3");
    EXPECT_THAT(ids({.expired_for = 60}), ElementsAre(3));
    EXPECT_THAT(ids({.expired_for = 61}), IsEmpty());
    EXPECT_THAT(service().select({.ids = {3, 9}}).missing_ids, ElementsAre(9));
    EXPECT_THAT(service().select({.ids = {1}, .set = "git"}).missing_ids, ElementsAre(1));
}

TEST_F(ServiceTest, ASetIsReplacedAlone) {
    import("allow 192.0.2.1\nallow 192.0.2.2 set=git\ndeny 192.0.2.3 set=fail2ban\n");
    ImportRequest request{.text = "allow 192.0.2.4\n", .options = {}, .replace = true};
    request.options.set = "git";
    const auto outcome = imported(request);
    EXPECT_THAT(outcome.removed, ElementsAre("allow 192.0.2.2 set=git"));
    EXPECT_THAT(outcome.left_alone, ElementsAre(std::pair("fail2ban", 1), std::pair("manual", 1)));
    EXPECT_THAT(inSets(), ElementsAre("manual 192.0.2.1", "fail2ban 192.0.2.3", "git 192.0.2.4"));
    request.text = "allow 192.0.2.4 set=manual\n";
    EXPECT_EQ(std::get<UnreadableList>(std::get<Refusal>(service().import(request))).errors.at(0).message,
              "the rule is of set manual, not of git");
    request.options.set = "no set";
    EXPECT_EQ(std::get<InvalidSet>(std::get<Refusal>(service().import(request))).name, "no set");
}

TEST_F(ServiceTest, AListReplacesTheSetsThatItNames) {
    import("allow 192.0.2.1\nallow 192.0.2.2 set=git\ndeny 192.0.2.3 set=fail2ban\n");
    imported({.text = "allow 192.0.2.5 set=git\n", .options = {}, .replace = true});
    EXPECT_THAT(inSets(), ElementsAre("manual 192.0.2.1", "fail2ban 192.0.2.3", "git 192.0.2.5"));
    imported({.text = "allow 192.0.2.6\n", .options = {}, .replace = true});
    EXPECT_THAT(inSets(), ElementsAre("fail2ban 192.0.2.3", "git 192.0.2.5", "manual 192.0.2.6"));
    const auto outcome = imported(
        {.text = "allow 192.0.2.6\n# end, 1 rules\n", .options = {}, .replace = true, .all_sets = true});
    EXPECT_THAT(outcome.removed, ElementsAre("deny 192.0.2.3 set=fail2ban", "allow 192.0.2.5 set=git"));
    EXPECT_THAT(outcome.left_alone, IsEmpty());
}

TEST_F(ServiceTest, ANewRuleGetsWhatItsSetGives) {
    EXPECT_EQ(std::get<store::SetDefaults>(service().defineSet("git", "from git", 3'600)),
              (store::SetDefaults{"from git", 3'600}));
    EXPECT_EQ(std::get<store::SetDefaults>(service().defineSet("git", "from git", std::nullopt)),
              (store::SetDefaults{"from git", 3'600}));
    EXPECT_EQ(store_->history({}).size(), 1u) << "nothing has changed the second time";
    EXPECT_EQ(std::get<InvalidSet>(std::get<Refusal>(service().defineSet("a b", {}, {}))).name, "a b");

    PutRequest one = request(Verdict::Allow, "192.0.2.1");
    one.set = "git";
    AccessRule made = put(one).rules[0].rule;
    EXPECT_EQ(made.note, "from git");
    EXPECT_EQ(made.expires_at, kNow + 3'600);
    one.edit.expires_at.emplace();
    one.edit.note = "";
    one.edit.owner = "ops@example.org";
    made = put(one).rules[0].rule;
    EXPECT_EQ(made.note, "");
    EXPECT_EQ(made.expires_at, std::nullopt);
    EXPECT_EQ(made.owner, "ops@example.org");
    one.edit.ticket = "bell\a";
    EXPECT_EQ(refusal<InvalidTag>(one).option, "--ticket");
}

TEST_F(ServiceTest, ImportingAgainPutsNoExpiryOff) {
    service().defineSet("git", "from git", 3'600);
    ImportRequest request{
        .text = "allow 192.0.2.1\nallow 192.0.2.2 expires=never \"\"\n", .options = {}, .replace = true};
    request.options.set = "git";
    imported(request);
    const auto first = service().list({});
    EXPECT_EQ(first.at(0).expires_at, kNow + 3'600);
    EXPECT_EQ(first.at(0).note, "from git");
    EXPECT_EQ(first.at(1).expires_at, std::nullopt);
    EXPECT_EQ(first.at(1).note, "");
    Service later{[this]() -> RuleStore& { return *store_; }, kSite, "alice", kNow + 60};
    EXPECT_EQ(std::get<ImportOutcome>(later.import(request)).unchanged, 2u);
    request.replace = false;
    EXPECT_EQ(std::get<ImportOutcome>(later.import(request)).unchanged, 2u);
}

TEST_F(ServiceTest, SetsAreCounted) {
    import("allow 192.0.2.1 set=git\ndeny 192.0.2.2 set=git\ndeny 192.0.2.3 set=git\n");
    store::Shell(file_).run("UPDATE access_rule SET expires_at = 5, hits = 2, last_hit_at = 4 WHERE id = 3");
    service().defineSet("empty", "nothing yet", std::nullopt);
    const auto sets = service().sets();
    ASSERT_THAT(sets, SizeIs(3));
    EXPECT_EQ(sets[0].name, "empty");
    EXPECT_EQ(sets[0].defaults.note, "nothing yet");
    EXPECT_EQ(sets[1].name, "git");
    EXPECT_EQ(sets[1].allowing, 1u);
    EXPECT_EQ(sets[1].denying, 1u);
    EXPECT_EQ(sets[1].expired, 1u);
    EXPECT_EQ(sets[1].hits, 2);
    EXPECT_EQ(sets[1].last_hit_at, 4);
    EXPECT_EQ(sets[2].name, "manual");
    EXPECT_EQ(service().unknownSet("gti")->name, "gti");
    for (const char* name : {"git", "empty", "manual"})
        EXPECT_FALSE(service().unknownSet(name)) << name;
    service().remove(service().select({.set = "git"}), "git");
    EXPECT_TRUE(service().unknownSet("git"));
}

TEST_F(ServiceTest, ListsWhatIsInForceOrWhatHasExpired) {
    put(request(Verdict::Deny, "192.0.2.0/24"));
    put(request(Verdict::Deny, "192.0.2.1", {"mx"}));
    put(request(Verdict::Deny, "198.51.100.1"));
    store::Shell(file_).run("UPDATE access_rule SET expires_at = 5 WHERE network = '198.51.100.1'");
    EXPECT_THAT(networks(), ElementsAre("192.0.2.0/24", "192.0.2.1"));
    EXPECT_THAT(networks({.expired = true}), ElementsAre("198.51.100.1"));
    EXPECT_THAT(networks({.listeners = {"imap"}}), ElementsAre("192.0.2.0/24"));
    EXPECT_THAT(networks({.covering = network("192.0.2.7")}), ElementsAre("192.0.2.0/24"));
}

TEST_F(ServiceTest, ListsWhatMayNeedALook) {
    import(
        "allow 192.0.2.0/24\ndeny 192.0.2.0/24 set=git\ndeny 192.0.2.1\nallow 198.51.100.1\nallow "
        "203.0.113.1 old\n");
    const auto at = [](UnixSeconds time) { return std::to_string(time); };
    store::Shell(file_).run("UPDATE access_rule SET created_at = " + at(kNow - 1'000) +
                            ", last_hit_at = CASE id WHEN 3 THEN " + at(kNow - 100) + " WHEN 4 THEN " +
                            at(kNow - 99) + " END, expires_at = CASE id WHEN 3 THEN " + at(kNow + 60) +
                            " WHEN 4 THEN " + at(kNow + 61) + " WHEN 5 THEN 5 END");
    const std::vector<std::string> not_used{"192.0.2.0/24", "192.0.2.0/24", "192.0.2.1"};
    EXPECT_EQ(networks({.unused_for = 100}), not_used);
    EXPECT_THAT(networks({.unused_for = 1'001}), IsEmpty()) << "a new rule had no time to be used";
    EXPECT_THAT(networks({.expiring_within = 60}), ElementsAre("192.0.2.1"));
    EXPECT_EQ(networks({.overlapping = true}), not_used);
    EXPECT_THAT(networks({.shadowed = true}), ElementsAre("192.0.2.0/24"));
    EXPECT_THAT(networks({.set = "git", .shadowed = true}), IsEmpty())
        << "judged with the rules of other sets";
    EXPECT_THAT(networks({.set = "git", .overlapping = true}), ElementsAre("192.0.2.0/24"));
    EXPECT_THAT(networks({.note_contains = "OLD", .expired = true}), ElementsAre("203.0.113.1"));
}

TEST_F(ServiceTest, PagesHaveWhatTheListHas) {
    import(
        "allow 192.0.2.0/24\ndeny 192.0.2.0/24 set=git\ndeny 192.0.2.1\nallow 198.51.100.1\nallow "
        "203.0.113.1 old\ndeny 203.0.113.2 Older\ndeny 203.0.113.3\n");
    const auto at = [](UnixSeconds time) { return std::to_string(time); };
    store::Shell(file_).run(
        "UPDATE access_rule SET created_at = " + at(kNow - 1'000) +
        ", listener = CASE id WHEN 7 THEN 'mx' ELSE '' END, last_hit_at = CASE id WHEN 3 THEN " +
        at(kNow - 100) + " WHEN 4 THEN " + at(kNow - 99) + " END, expires_at = CASE id WHEN 3 THEN " +
        at(kNow + 60) + " WHEN 4 THEN " + at(kNow + 61) + " WHEN 5 THEN 5 WHEN 6 THEN " + at(kNow) + " END");
    const std::vector<ListFilter> filters{{},
                                          {.expired = true},
                                          {.set = "git"},
                                          {.listeners = {"imap"}},
                                          {.listeners = {"imap", "mx"}},
                                          {.note_contains = "OLD", .expired = true},
                                          {.unused_for = 100},
                                          {.expiring_within = 60},
                                          {.covering = network("192.0.2.1")},
                                          {.overlapping = true},
                                          {.shadowed = true}};
    for (std::size_t which = 0; which < filters.size(); ++which) {
        const auto all = service().list(filters[which]);
        EXPECT_FALSE(all.empty()) << which;
        std::vector<std::int64_t> ids, paged;
        for (const AccessRule& rule : all)
            ids.push_back(rule.id);
        for (std::int64_t after = 0;;) {
            const auto page = service().list(filters[which], {after, 2});
            EXPECT_EQ(page.found, all.size()) << which;
            if (page.rules.empty()) break;
            EXPECT_LE(page.rules.size(), 2U) << which;
            for (const AccessRule& rule : page.rules)
                paged.push_back(rule.id);
            after = paged.back();
        }
        EXPECT_EQ(paged, ids) << which;
    }
    EXPECT_EQ(service().list({.shadowed = true}, {0, 2, 4}).too_many, 5U) << "in force";
    EXPECT_EQ(service().list({.shadowed = true}, {0, 2, 5}).too_many, 0U);
}

TEST_F(ServiceTest, ARuleForANameIsFoundByTheNameAndByWhatItStandsFor) {
    PutRequest named{.verdict = Verdict::Allow, .names = {"host:home.example.org"}, .edit = {}};
    const auto outcome = put(named);
    const auto id = outcome.rules.at(0).rule.id;
    EXPECT_TRUE(outcome.cuts.empty());
    put(request(Verdict::Deny, "192.0.2.0/24"));
    store::NameState state;
    state.networks = {network("192.0.2.0/28"), network("192.0.2.1"), network("2001:db8::1")};
    store_->keepName(id, state);
    EXPECT_EQ(service().names().at(id), state);
    const auto tested = [&](std::string_view client) {
        const AddressBytes bytes = address(client);
        return service().test(std::span(&bytes, 1), {}).at(0);
    };
    const auto decision = tested("192.0.2.1");
    ASSERT_TRUE(decision.by);
    EXPECT_EQ(decision.by->name, "host:home.example.org");
    EXPECT_EQ(decision.by->network, network("192.0.2.1")) << "the most specific one";
    EXPECT_EQ(tested("192.0.2.77").by->name, "");
    EXPECT_EQ(service().list({.covering = network("2001:db8::1")}).size(), 1u);
    EXPECT_EQ(service().list({.covering = network("2001:db8::2")}).size(), 0u);
    const auto overlaps = service().overlaps(outcome);
    ASSERT_EQ(overlaps.first.size(), 2u);
    EXPECT_EQ(overlaps.first[0].rule_id, id);
    EXPECT_EQ(overlaps.first[0].standing, Standing::MoreSpecific);
    const auto others = service().overlaps(put(request(Verdict::Deny, "192.0.2.1")));
    ASSERT_EQ(others.first.size(), 2u);
    EXPECT_EQ(others.first[0].other.name, "host:home.example.org");
    const auto near = service().nearMisses(network("2001:db8::/32"));
    ASSERT_EQ(near.first.size(), 1u);
    EXPECT_EQ(near.first[0].rule.network, network("2001:db8::1"));
    const auto missing = service().select({.networks = {network("::")}, .names = {"host:other.example.org"}});
    EXPECT_THAT(missing.missing, SizeIs(1)) << "it is not for the address that a rule for a name has";
    EXPECT_THAT(missing.missing_names, SizeIs(1));
    EXPECT_THAT(remove({.names = {"host:home.example.org"}}).removed, SizeIs(1));
    EXPECT_FALSE(tested("2001:db8::1").by);
}

TEST_F(ServiceTest, NamesAreComparedByWhatTheyStandFor) {
    const auto idsOf = [&](const ListFilter& filter) {
        std::vector<std::int64_t> ids;
        for (const AccessRule& each : service().list(filter))
            ids.push_back(each.id);
        return ids;
    };
    PutRequest named{
        .verdict = Verdict::Allow, .names = {"host:home.example.org", "host:other.example.org"}, .edit = {}};
    put(named);  // 1, 2
    const store::NameState answer{{network("192.0.2.0/31"), network("192.0.2.0")}, kNow, kNow, kNow + 60, ""};
    store_->keepName(1, answer);
    EXPECT_THAT(idsOf({.overlapping = true}), IsEmpty()) << "a rule is not compared with itself";
    put(request(Verdict::Deny, "192.0.2.0/24"));  // 3
    EXPECT_THAT(idsOf({.overlapping = true}), ElementsAre(1, 3));
    EXPECT_THAT(idsOf({.shadowed = true}), IsEmpty()) << "nor a name that stands for nothing";
    put(request(Verdict::Deny, "192.0.2.0"));  // 4
    put(request(Verdict::Deny, "192.0.2.1"));  // 5
    EXPECT_THAT(idsOf({.shadowed = true}), ElementsAre(1));
    remove({.ids = {4}});
    EXPECT_THAT(idsOf({.shadowed = true}), IsEmpty());
}

TEST_F(ServiceTest, ALineThatIsThereTwiceChangesNothing) {
    const std::string_view text = "allow 192.0.2.1 a note\nallow 192.0.2.1 a note\ndeny 192.0.2.1\n";
    const auto outcome = imported({.text = text, .replace = true});
    EXPECT_EQ(outcome.added, 2u);
    ASSERT_THAT(outcome.contradictions, SizeIs(1));
    EXPECT_EQ(imported({.text = text, .replace = true}).unchanged, 2u);
    EXPECT_TRUE(std::holds_alternative<UnreadableList>(
        std::get<Refusal>(import("allow 192.0.2.1\nallow 192.0.2.1 a note\n", true))));
}

TEST_F(ServiceTest, TestingNamesTheRuleThatDecides) {
    put(request(Verdict::Allow, "192.0.2.0/24"));
    put(request(Verdict::Deny, "192.0.2.1", {"mx"}));
    const std::vector<AddressBytes> client{address("192.0.2.1")};
    auto decisions = service().test(client, {});
    ASSERT_THAT(decisions, SizeIs(2));
    EXPECT_FALSE(decisions[0].allowed);
    EXPECT_EQ(decisions[0].by->network, network("192.0.2.1"));
    ASSERT_THAT(decisions[0].others, SizeIs(1));
    EXPECT_EQ(decisions[0].others[0].network, network("192.0.2.0/24"));
    EXPECT_TRUE(decisions[1].allowed);
    EXPECT_THAT(decisions[1].others, IsEmpty());
    const std::vector<std::string> imap{"imap"};
    const std::vector<AddressBytes> several{address("203.0.113.1"), address("192.0.2.1")};
    decisions = service().test(several, imap);
    ASSERT_THAT(decisions, SizeIs(2));
    EXPECT_EQ(decisions[0].client, several[0]);
    EXPECT_TRUE(decisions[0].allowed) << "no rule: the listener is open";
    EXPECT_FALSE(decisions[0].by.has_value());
    EXPECT_EQ(decisions[1].client, several[1]);
    EXPECT_TRUE(decisions[1].by.has_value());
}

}  // namespace
}  // namespace mailgate::rules
