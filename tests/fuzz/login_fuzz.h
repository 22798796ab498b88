// SPDX-License-Identifier: Apache-2.0
/// \file  What the fuzz targets of IMAP, POP3 and ManageSieve have in common.
///
/// The input is read twice. As a dialogue of two scripted sides (filter_fuzz.h): the facts keep their bounds, a
/// session is logged in only where the server said so, and neither the facts nor what either side is sent
/// depend on how the bytes were split. As what a client says to a server that reads like Dovecot: whom that
/// server let in and whom it refused is what the facts say.
#pragma once

#include "tests/fuzz/filter_fuzz.h"
#include "tests/support/login_models.h"

#include <algorithm>
#include <string>
#include <string_view>
#include <vector>

namespace mailgate::fuzz {

/// All that must not depend on how the bytes were split.
inline std::string everything(const test::Observed& observed) {
    return test::toString(observed) + "\n" + observed.sent[0] + "\n\x1e" + observed.sent[1];
}

inline void playDialogue(const ProtocolTraits& protocol, const test::Turns& turns,
                         const ScreenConfig& screen) {
    const test::Observed whole = play(protocol, turns, kWhole, screen);
    const SessionFacts& facts = whole.facts;
    require(facts.user.size() <= kMaxNameBytes && facts.failed_users.size() <= kMaxFailedUsersKept);
    require(facts.failed_users.size() <= facts.failed_logins);
    require(facts.tls == TlsBegin::None || whole.opaque);
    require(facts.authenticated != true || whole.opaque);
    require(whole.at_boundary || !whole.interruptible);
    for (const std::string& name : facts.failed_users)
        require(!name.empty() && name.size() <= kMaxNameBytes);
    for (const std::size_t piece : {1, 2, 7})
        require(everything(play(protocol, turns, piece, screen)) == everything(whole));
}

/// What a client that says `bytes` leaves behind: in turns, and these in pieces.
struct Talk {
    test::Observed observed;
    std::unique_ptr<test::LoginModel> server;  ///< the last one: behind TLS it is another
    std::vector<std::string> failed;           ///< whom all of them refused
};

template <typename Model>
Talk talk(const ProtocolTraits& protocol, std::string_view bytes, std::size_t piece,
          const ScreenConfig& screen) {
    test::Player player(protocol, screen);
    Talk result{.observed = {}, .server = std::make_unique<Model>(), .failed = {}};
    const auto refused = [&result] {
        const auto& failed = result.server->failed();
        result.failed.insert(result.failed.end(), failed.begin(), failed.end());
    };
    std::size_t received = 0;
    player.play(Side::Server, result.server->greeting());
    for (const test::Turn& turn : turnsIn(bytes)) {
        const std::string_view client = turn.bytes;
        for (std::size_t at = 0; at < client.size(); at += std::min(piece, client.size())) {
            player.play(Side::Client, client.substr(at, piece));
            while (received < player.passed().size()) {
                const std::string asked = player.passed().substr(received);
                received = player.passed().size();
                player.play(Side::Server, result.server->receive(asked));
            }
        }
        if (!player.beginTls()) continue;
        refused();
        result.server = std::make_unique<Model>();
    }
    refused();
    result.observed = player.finish();
    return result;
}

/// The names that facts can keep.
inline std::vector<std::string> kept(const std::vector<std::string>& names) {
    std::vector<std::string> few;
    for (const std::string& name : names) {
        const std::string cut = name.substr(0, kMaxNameBytes);
        const bool known = std::find(few.begin(), few.end(), cut) != few.end();
        if (!cut.empty() && !known && few.size() < kMaxFailedUsersKept) few.push_back(cut);
    }
    return few;
}

/// A server that does not know a mechanism (its name is empty) does not know either whom that mechanism named.
inline void requireUsers(const std::vector<std::string>& found, const std::vector<std::string>& refused) {
    const std::vector<std::string> known = kept(refused);
    if (std::find(refused.begin(), refused.end(), std::string()) == refused.end()) {
        require(found == known);
    } else if (found.size() < kMaxFailedUsersKept) {
        for (const std::string& name : known)
            require(std::find(found.begin(), found.end(), name) != found.end());
    }
}

template <typename Model>
void playServer(const ProtocolTraits& protocol, std::string_view bytes, const ScreenConfig& screen) {
    const Talk whole = talk<Model>(protocol, bytes, kWhole, screen);
    const SessionFacts& facts = whole.observed.facts;
    const auto& accepted = whole.server->accepted();
    require(whole.observed.violation != Violation::UnexpectedReply);
    require(!screen.no_header || !whole.server->claimed());
    if (!whole.observed.violation) {
        require((facts.authenticated == true) == accepted.has_value());
        require(facts.failed_logins == whole.failed.size());
        requireUsers(facts.failed_users, whole.failed);
    }
    if (facts.authenticated == true) require(accepted && facts.user == accepted->substr(0, kMaxNameBytes));
    for (const std::size_t piece : {1, 2, 7}) {
        const Talk pieces = talk<Model>(protocol, bytes, piece, screen);
        require(pieces.observed.sent[1] == whole.observed.sent[1]);
        require(pieces.observed.violation == whole.observed.violation);
        // A violation ends a session before or after the answers to what came before it.
        if (!whole.observed.violation) require(everything(pieces.observed) == everything(whole.observed));
    }
}

template <typename Model>
void observeLogin(const ProtocolTraits& protocol, const std::uint8_t* data, std::size_t size) {
    const std::string_view input(reinterpret_cast<const char*>(data), size);
    for (const bool no_header : {false, true}) {
        for (const TlsPolicy& tls : {TlsPolicy{}, test::kOffered.tls}) {
            const ScreenConfig screen{.no_header = no_header, .tls = tls};
            playDialogue(protocol, turnsIn(input), screen);
            if (!input.empty()) playServer<Model>(protocol, input, screen);
        }
    }
}

}  // namespace mailgate::fuzz
