// SPDX-License-Identifier: Apache-2.0
#include "protocols/stream/login_filter.h"

#include "protocols/stream/lines.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <new>
#include <string>
#include <utility>
#include <vector>

namespace mailgate {
namespace {

using ::testing::ElementsAre;

/// A protocol of one line a command, and one a reply. The server greets, then says yes, no or later; of a reply, what
/// stands in brackets does not go on.
class WordFilter final : public LoginFilter {
  public:
    using LoginFilter::LoginFilter;

    bool serverAtBoundary() const noexcept override { return true; }
    bool interruptible() const noexcept override { return pending_.empty(); }

  private:
    enum class Kind : std::uint8_t { Other, Login, Tls };

    bool mustWait() const noexcept override { return !pending_.empty() && pending_.back() != Kind::Other; }

    Decision onCommand(std::string_view bytes) override {
        const std::size_t end = bytes.find('\n') + 1;
        if (end == 0) return {};
        std::string_view line = withoutLineEnd(bytes.substr(0, end));
        const std::string_view verb = takeWord(line);
        if (verb == "ODD") return {Action::Refuse, end};
        if (verb == "CLEAR") return {Action::RefuseInClear, end};
        if (verb == "FORBIDDEN") {
            violate(Violation::ForbiddenCommand);
            return {};
        }
        if (verb == "LARGE") throw std::bad_alloc();
        if (verb == "LOGIN") {
            beginLogin();
            offered(std::string(line));
        }
        pending_.push_back(verb == "LOGIN" ? Kind::Login : verb == "TLS" ? Kind::Tls : Kind::Other);
        return {Action::Pass, end};
    }
    std::string refusal(std::string_view command, Action) const override {
        return "no: " + std::string(withoutLineEnd(command)) + "\r\n";
    }
    std::string nameIn(std::string_view command) const override {
        std::string_view line = withoutLineEnd(command);
        takeWord(line);
        return std::string(line);
    }
    std::string startTlsReply(bool ready) const override { return ready ? "go\r\n" : "later\r\n"; }
    std::optional<std::size_t> replySize(std::string_view bytes) const noexcept override {
        const std::size_t end = bytes.find('\n');
        return end == std::string_view::npos ? std::nullopt : std::optional(end + 1);
    }
    std::optional<std::string> onReply(std::string_view reply) override {
        if (!greeting_over_) {
            greeting_over_ = true;
            return {};
        }
        if (pending_.empty()) {
            violate(Violation::UnexpectedReply);
            return {};
        }
        if (reply.starts_with("large")) throw std::bad_alloc();
        const bool yes = reply.starts_with("yes");
        switch (std::exchange(pending_, {pending_.begin() + 1, pending_.end()}).front()) {
            case Kind::Login:
                yes ? accepted() : reply.starts_with("no") ? refused() : deferred();
                break;
            case Kind::Tls:
                startTlsAnswered(yes);
                break;
            case Kind::Other:
                break;
        }
        const std::size_t from = reply.find('[');
        if (from == std::string_view::npos) return {};
        return std::string(reply).erase(from, reply.find(']') + 1 - from);
    }

    std::vector<Kind> pending_;
};

class LoginFilterTest : public ::testing::Test {
  protected:
    struct Heard final : Output {
        void pass(std::size_t bytes) override {
            passed += input.substr(0, bytes);
            drop(bytes);
        }
        void drop(std::size_t bytes) override { input.remove_prefix(bytes); }
        void write(std::string_view text) override { passed += text; }
        bool canReply() const override { return can_reply; }
        void reply(std::string_view text) override { replied += text; }

        std::string_view input;  ///< what is left of it
        std::string passed, replied;
        bool can_reply = true;
        Rest rest = Rest::Hold;
    };
    Heard says(Side side, std::string_view bytes, bool can_reply = true) {
        Heard heard;
        heard.input = bytes;
        heard.can_reply = can_reply;
        heard.rest = filter_.onBytes(side, bytes, heard);
        return heard;
    }
    std::string fromClient(std::string_view bytes) { return says(Side::Client, bytes).passed; }
    std::string fromServer(std::string_view bytes) { return says(Side::Server, bytes).passed; }
    void greet() { EXPECT_EQ(fromServer("hello\r\n"), "hello\r\n"); }
    void login(const std::string& name, std::string_view reply) {
        EXPECT_EQ(fromClient("LOGIN " + name + "\r\n"), "LOGIN " + name + "\r\n");
        EXPECT_EQ(fromServer(reply), reply);
    }

    SessionFacts facts_;
    WordFilter filter_{facts_, ScreenConfig{}};
};

TEST_F(LoginFilterTest, HoldsWhatComesBeforeTheGreeting) {
    const Heard heard = says(Side::Client, "A\r\n");
    EXPECT_EQ(heard.passed + heard.replied, "");
    EXPECT_EQ(heard.rest, Rest::Hold);
    greet();
    EXPECT_EQ(fromClient("A\r\n"), "A\r\n");
}

TEST_F(LoginFilterTest, PassesWholeCommandsWithOneKindOfLineEnd) {
    greet();
    const Heard heard = says(Side::Client, "A\r\nB\nC");
    EXPECT_EQ(heard.passed, "A\r\nB\r\n");
    EXPECT_EQ(heard.input, "C");
    EXPECT_EQ(heard.rest, Rest::More);
}

TEST_F(LoginFilterTest, WaitsForTheAnswerThatDecidesWhatComesNext) {
    greet();
    const Heard heard = says(Side::Client, "A\r\nLOGIN alice\r\nB\r\n");
    EXPECT_EQ(heard.passed, "A\r\nLOGIN alice\r\n");
    EXPECT_EQ(heard.rest, Rest::Hold);
    EXPECT_EQ(fromServer("yes\r\n"), "yes\r\n");
    EXPECT_EQ(fromClient("B\r\n"), "") << "that was the answer to A";
    EXPECT_EQ(fromServer("no\r\n"), "no\r\n");
    EXPECT_EQ(fromClient("B\r\n"), "B\r\n");
}

TEST_F(LoginFilterTest, LooksAtNothingAfterALogin) {
    greet();
    EXPECT_EQ(fromClient("LOGIN alice\r\n"), "LOGIN alice\r\n");
    EXPECT_EQ(fromServer("yes\r\n* unasked [x]"), "yes\r\n* unasked [x]");
    EXPECT_TRUE(filter_.opaque());
    EXPECT_EQ(facts_.user, "alice");
    EXPECT_EQ(facts_.authenticated, true);
    EXPECT_EQ(fromClient("FORBIDDEN\nODD"), "FORBIDDEN\nODD");
    EXPECT_FALSE(filter_.violation());
}

TEST_F(LoginFilterTest, LooksAtNothingAfterTlsHasStarted) {
    greet();
    fromClient("TLS\r\n");
    EXPECT_EQ(fromServer("no\r\n"), "no\r\n");
    EXPECT_FALSE(filter_.opaque());
    fromClient("TLS\r\n");
    EXPECT_EQ(fromServer("yes\r\n"), "yes\r\n");
    EXPECT_TRUE(filter_.opaque());
    EXPECT_EQ(facts_.tls, TlsBegin::StartTls);
}

TEST_F(LoginFilterTest, NamesNobodyWhoseNameItHasNotSeen) {
    greet();
    login("alice", "no\r\n");
    EXPECT_EQ(facts_.user, "alice") << "the last name that was offered";
    login("", "yes\r\n");
    EXPECT_EQ(facts_.user, "") << "alice was refused";
}

TEST_F(LoginFilterTest, KeepsTheFirstNamesThatFailedOnceEach) {
    greet();
    for (const char* name : {"a", "b", "a", "", "c", "d", "e", "f"})
        login(name, "no\r\n");
    EXPECT_EQ(facts_.failed_logins, 8U);
    EXPECT_THAT(facts_.failed_users, ElementsAre("a", "b", "c", "d", "e"));
    EXPECT_EQ(facts_.authenticated, false);
}

TEST_F(LoginFilterTest, ALoginThatWasNotJudgedIsNoFailure) {
    greet();
    login("alice", "no\r\n");
    login("alice", "later\r\n");
    EXPECT_EQ(facts_.authenticated, std::nullopt);
    EXPECT_EQ(facts_.failed_logins, 1U);
}

TEST_F(LoginFilterTest, BoundsAName) {
    greet();
    login(std::string(8000, 'x'), "no\r\n");
    EXPECT_EQ(facts_.user, std::string(kMaxNameBytes, 'x'));
    EXPECT_EQ(facts_.failed_users.front().size(), kMaxNameBytes);
}

TEST_F(LoginFilterTest, AnswersInTurnWhatTheServerMustNotGet) {
    greet();
    EXPECT_EQ(fromClient("A\r\nODD x\r\nB\r\n"), "A\r\n") << "A's reply comes first";
    EXPECT_EQ(fromServer("yes\r\n"), "yes\r\n");
    const Heard full = says(Side::Client, "ODD x\r\nB\r\n", false);
    EXPECT_EQ(full.passed + full.replied, "");
    EXPECT_EQ(full.rest, Rest::Hold);
    const Heard heard = says(Side::Client, "ODD x\r\nB\r\n");
    EXPECT_EQ(heard.replied, "no: ODD x\r\n");
    EXPECT_EQ(heard.passed, "B\r\n");
}

/// Nothing is known of its password; what was said of an earlier one goes, as with a server that puts a login off.
TEST_F(LoginFilterTest, NotesALoginThatHasToWaitForTls) {
    greet();
    fromClient("LOGIN alice\r\n");
    fromServer("no\r\n");
    EXPECT_EQ(facts_.authenticated, false);
    EXPECT_EQ(says(Side::Client, "CLEAR bob\r\n", false).replied, "");
    EXPECT_EQ(facts_.user, "alice") << "it is not its turn";
    EXPECT_EQ(facts_.tls_refusals, 0U);
    EXPECT_EQ(says(Side::Client, "CLEAR bob\r\n").replied, "no: CLEAR bob\r\n");
    EXPECT_EQ(facts_.user, "bob");
    EXPECT_EQ(facts_.authenticated, std::nullopt);
    EXPECT_EQ(says(Side::Client, "CLEAR\r\n").replied, "no: CLEAR\r\n");
    EXPECT_EQ(facts_.user, "bob") << "the last one that was seen";
    EXPECT_EQ(facts_.tls_refusals, 2U);
    EXPECT_EQ(facts_.failed_logins, 1U);
}

TEST_F(LoginFilterTest, EndsTheSessionOfAClientThatSaysNothingElse) {
    greet();
    for (int number = 0; number < 10; ++number) {
        EXPECT_EQ(says(Side::Client, "ODD\r\n").replied, "no: ODD\r\n");
        EXPECT_FALSE(filter_.violation());
    }
    EXPECT_EQ(says(Side::Client, "ODD\r\nA\r\n").replied, "");
    EXPECT_EQ(filter_.violation(), Violation::BadCommand);
    EXPECT_EQ(fromClient("A\r\n"), "");
}

TEST_F(LoginFilterTest, StillBringsTheAnswersToWhatCameBeforeAViolation) {
    greet();
    EXPECT_EQ(fromClient("A\r\nFORBIDDEN\r\nB\r\n"), "A\r\n");
    EXPECT_EQ(filter_.violation(), Violation::ForbiddenCommand);
    EXPECT_EQ(fromServer("yes\r\n"), "yes\r\n");
    EXPECT_EQ(fromClient("B\r\n"), "");
    EXPECT_TRUE(filter_.noReplyPending());
    EXPECT_EQ(fromServer("yes\r\n"), "") << "nobody asked";
    EXPECT_EQ(filter_.violation(), Violation::ForbiddenCommand) << "the first one is the cause";
}

TEST_F(LoginFilterTest, PassesNoReplyThatNothingExplains) {
    greet();
    fromClient("A\r\n");
    EXPECT_EQ(fromServer("yes\r\nyes\r\nyes\r\n"), "yes\r\n");
    EXPECT_EQ(filter_.violation(), Violation::UnexpectedReply);
}

TEST_F(LoginFilterTest, WaitsForAWholeReplyWithinABound) {
    greet();
    fromClient("A\r\n");
    std::string reply(kMaxUnfinishedBytes, 'x');
    EXPECT_EQ(says(Side::Server, reply).rest, Rest::More);
    EXPECT_FALSE(filter_.violation());
    reply += "x";
    EXPECT_EQ(fromServer(reply), "");
    EXPECT_EQ(filter_.violation(), Violation::UnexpectedReply);
}

TEST_F(LoginFilterTest, TakesALongReplyForNone) {
    greet();
    fromClient("A\r\n");
    EXPECT_EQ(fromServer(std::string(kMaxUnfinishedBytes, 'x') + "\r\n"), "") << "whole or not";
    EXPECT_EQ(filter_.violation(), Violation::UnexpectedReply);
}

TEST_F(LoginFilterTest, CutsAPartOfAReply) {
    greet();
    fromClient("A\r\nB\r\n");
    EXPECT_EQ(fromServer("yes [XCLIENT] x\r\n[y]\r\n"), "yes  x\r\n\r\n");
}

TEST_F(LoginFilterTest, EndsTheSessionWhenThereIsNoMemory) {
    greet();
    EXPECT_EQ(fromClient("A\r\nLARGE\r\nB\r\n"), "A\r\n");
    EXPECT_EQ(filter_.violation(), Violation::NoMemory);
    EXPECT_EQ(fromServer("yes\r\n"), "") << "what it answers is not known any more";
    EXPECT_EQ(fromClient("B\r\n"), "");
}

TEST_F(LoginFilterTest, PassesNoReplyThatItHasNoMemoryFor) {
    greet();
    fromClient("A\r\nB\r\n");
    EXPECT_EQ(fromServer("yes\r\nlarge\r\n"), "yes\r\n");
    EXPECT_EQ(filter_.violation(), Violation::NoMemory);
}

// A record that holds a ClientHello of four bytes, and something behind it.
constexpr std::string_view kHello("\x16\x03\x01\x00\x04\x01hel", 9);

TEST_F(LoginFilterTest, ShowsTheServerAClientHelloAndNoMore) {
    for (std::size_t size = 1; size < 6; ++size) {
        const Heard heard = says(Side::Client, kHello.substr(0, size));
        EXPECT_EQ(heard.passed, "");
        EXPECT_EQ(heard.rest, Rest::More) << size;
    }
    const std::string more = std::string(kHello) + "A\r\n";
    const Heard heard = says(Side::Client, more);
    EXPECT_EQ(heard.passed, kHello);
    EXPECT_EQ(heard.input, "A\r\n");
    EXPECT_EQ(heard.rest, Rest::Hold);
    EXPECT_EQ(fromServer("\x16\x03\x03"), "\x16\x03\x03");
    EXPECT_TRUE(filter_.opaque());
    EXPECT_EQ(facts_.tls, TlsBegin::Implicit);
}

TEST_F(LoginFilterTest, AnAlertIsAnAnswerToAHelloToo) {
    EXPECT_EQ(fromClient(kHello.substr(0, 7)), kHello.substr(0, 7));
    EXPECT_EQ(fromClient(kHello.substr(7)), kHello.substr(7));
    EXPECT_EQ(fromServer("\x15\x03\x03"), "\x15\x03\x03");
    EXPECT_TRUE(filter_.opaque());
}

TEST_F(LoginFilterTest, EndsTheSessionWhenTheServerTakesAHelloForText) {
    EXPECT_EQ(fromClient(kHello), kHello);
    EXPECT_EQ(fromServer("hello\r\n"), "");
    EXPECT_EQ(filter_.violation(), Violation::BadCommand);
    EXPECT_TRUE(filter_.noReplyPending());
    EXPECT_EQ(fromServer("hello\r\nyes\r\n"), "") << "what the hello held may have been commands";
    EXPECT_FALSE(filter_.opaque());
}

TEST_F(LoginFilterTest, HoldsWhatOnlyBeginsLikeAHello) {
    for (const std::string_view bytes :
         {std::string_view("\x16LOGIN alice\r\n"), std::string_view("\x16\x03\x01\x00\x04\x02hel", 9),
          std::string_view("\x15\x03\x01\x00\x02\x01\x00", 7)}) {
        const Heard heard = says(Side::Client, bytes);
        EXPECT_EQ(heard.passed, "") << bytes;
        EXPECT_EQ(heard.rest, Rest::Hold);
    }
    greet();
    EXPECT_EQ(facts_.tls, TlsBegin::None);
}

}  // namespace
}  // namespace mailgate
