// SPDX-License-Identifier: Apache-2.0
// What a server says to the gateway itself before a client sees any of it: STARTTLS with it, and the greeting of a connection
// that takes another one's place. The first byte of the input chooses a protocol, the second a size; what follows are the
// server's turns, with 0xff between them. STARTTLS is asked for once, and only of a server that has welcomed us; a consent
// behind which anything comes is none, and one that is none never becomes one by the way in which it was split.

#include "protocols/greeting_swallower.h"
#include "protocols/mail_protocol.h"
#include "protocols/starttls_dialogue.h"
#include "protocols/values/text.h"

#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <iterator>
#include <string>
#include <string_view>
#include <vector>

namespace mailgate::fuzz {
namespace {

constexpr Protocol kProtocols[] = {Protocol::Smtp, Protocol::Lmtp, Protocol::Imap, Protocol::Pop3,
                                   Protocol::Sieve};

void require(bool holds) {
    if (!holds) std::abort();
}

using Turns = std::vector<std::string_view>;

Turns turnsIn(std::string_view bytes) {
    Turns turns;
    while (true) {
        const std::size_t end = bytes.find('\xff');
        turns.push_back(bytes.substr(0, end));
        if (end == std::string_view::npos) return turns;
        bytes.remove_prefix(end + 1);
    }
}

std::size_t count(std::string_view text, std::string_view part) {
    std::size_t found = 0;
    for (std::size_t at = 0; (at = text.find(part, at)) != std::string_view::npos; at += part.size())
        ++found;
    return found;
}

// ---- STARTTLS

using Stage = StartTlsDialogue::State;

struct Talked {
    Stage state = Stage::Greeting;
    std::string said, greeting;
    friend bool operator==(const Talked&, const Talked&) = default;
};

Talked talk(Protocol protocol, const Turns& turns, std::size_t piece) {
    StartTlsDialogue dialogue(protocol, "gw.example");
    Talked outcome;
    for (std::string_view bytes : turns) {
        for (; !bytes.empty(); bytes.remove_prefix(std::min(piece, bytes.size())))
            outcome.said += dialogue.onBytes(bytes.substr(0, piece));
    }
    outcome.state = dialogue.state();
    outcome.greeting = dialogue.greeting();
    require(dialogue.reason().size() < 512 && !hasControls(dialogue.reason()));
    require((outcome.state == Stage::Failed) == !dialogue.reason().empty());
    if (outcome.state == Stage::Ready) {
        require(dialogue.onBytes("x").empty());
        require(dialogue.state() == Stage::Failed);
    }
    return outcome;
}

void judge(Protocol protocol, const Talked& outcome) {
    const std::string_view command = traitsOf(protocol).starttls.command;
    const std::size_t asked = count(outcome.said, command);
    require(asked <= 1);
    if (outcome.state == Stage::NotWelcome) require(outcome.said.empty());
    if (outcome.state != Stage::Ready) return;
    require(asked == 1 && outcome.said.ends_with(command));
    const bool greeted = !traitsOf(protocol).starttls.greets_again;
    require(greeted == !outcome.greeting.empty());
    if (!greeted) return;
    require(judgeGreeting(protocol, outcome.greeting) == Greeting::Welcome);
    require(lowerCase(outcome.greeting).find("preauth") != 2);
}

void startTls(Protocol protocol, const Turns& turns, std::size_t piece) {
    const Talked whole = talk(protocol, turns, std::string_view::npos), split = talk(protocol, turns, piece);
    judge(protocol, whole);
    judge(protocol, split);
    if (whole.state < Stage::NotWelcome) require(split == whole);
}

// ---- the second greeting

void swallow(Protocol protocol, std::string_view bytes, std::size_t piece) {
    GreetingSwallower whole(protocol), split(protocol);
    whole.onBytes(bytes);
    while (!bytes.empty() && split.state() == GreetingSwallower::State::Reading) {
        split.onBytes(bytes.substr(0, piece));
        bytes.remove_prefix(std::min(piece, bytes.size()));
    }
    for (GreetingSwallower* each : {&whole, &split}) {
        if (each->state() == GreetingSwallower::State::Done) {
            require(each->greeted() == each->forClient().empty());
            require(each->forClient().empty() || each->forClient().ends_with('\n'));
        }
        require(each->reason().size() < 512 && !hasControls(each->reason()));
    }
    if (whole.state() != GreetingSwallower::State::Failed) {
        require(split.state() == whole.state());
        require(whole.state() == GreetingSwallower::State::Reading || split.forClient() == whole.forClient());
    } else {
        // What came behind the greeting has not been shown to it.
        require(split.state() == GreetingSwallower::State::Failed || !bytes.empty());
    }
    if (whole.state() == GreetingSwallower::State::Reading)
        require(whole.onEnd() == GreetingSwallower::State::Failed);
}

}  // namespace
}  // namespace mailgate::fuzz

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    using namespace mailgate::fuzz;
    if (size < 2) return 0;
    const mailgate::Protocol protocol = kProtocols[data[0] % std::size(kProtocols)];
    const std::size_t piece = std::max<std::size_t>(data[1], 1);
    const std::string_view bytes(reinterpret_cast<const char*>(data) + 2, size - 2);
    // Which of the two bounds is met first depends on the pieces.
    if (bytes.size() > mailgate::kMaxUnfinishedBytes) return 0;
    startTls(protocol, turnsIn(bytes), piece);
    swallow(protocol, bytes, piece);
    return 0;
}
