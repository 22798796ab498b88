// SPDX-License-Identifier: Apache-2.0
/// \file  What the filters' fuzz targets have in common.
///
/// The input is a dialogue: turns, the server's first, with the byte 0x1E between them. Properties: the facts
/// keep their bounds, and what the filter knows does not depend on how the bytes were split. Where the gateway offers TLS and the
/// client asks for it at the end of a turn, the next turns are within it, and another filter's.
#pragma once

#include "tests/support/dialogue.h"
#include "tests/support/tls_policies.h"

#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <limits>

namespace mailgate::fuzz {

inline void require(bool holds) {
    if (!holds) std::abort();
}

inline test::Turns turnsIn(std::string_view input) {
    constexpr char kSeparator = '\x1e';
    test::Turns turns;
    Side side = Side::Server;
    while (true) {
        const std::size_t end = input.find(kSeparator);
        turns.push_back({side, std::string(input.substr(0, end))});
        if (end == std::string_view::npos) return turns;
        input.remove_prefix(end + 1);
        side = other(side);
    }
}

/// Strings and their heads.
inline std::size_t bytesOf(const SessionFacts& facts) {
    std::size_t bytes = sizeof facts + facts.helo.size() + facts.user.size();
    const auto add = [&bytes](const std::string& text) { bytes += sizeof text + text.size(); };
    for (const std::string& user : facts.failed_users)
        add(user);
    for (const MailTransaction& mail : facts.transactions) {
        bytes += sizeof mail + mail.from.size() + mail.reply.size() + mail.queue_id.size() +
                 mail.message_id.size();
        for (const std::string& recipient : mail.recipients)
            add(recipient);
        for (const std::string& reply : mail.replies)
            add(reply);
        for (const RefusedRecipient& refused : mail.refused)
            add(refused.to), add(refused.reply);
    }
    return bytes;
}

inline void requireBounds(const test::Observed& observed) {
    const SessionFacts& facts = observed.facts;
    require(bytesOf(facts) <= kMaxFactBytes);
    require(facts.helo.size() <= kMaxNameBytes && facts.user.size() <= kMaxNameBytes);
    require(facts.transactions.size() <= kMaxTransactionsKept);
    require(facts.transactions.size() <= facts.transaction_count);
    require(facts.tls == TlsBegin::None || observed.opaque);
    require(observed.at_boundary || !observed.interruptible);
    for (const MailTransaction& mail : facts.transactions) {
        require(mail.from.size() <= kMaxMailboxBytes && mail.reply.size() <= kMaxReplyBytes);
        require(mail.recipients.size() <= mail.recipient_count);
        require(mail.refused.size() <= mail.refused_count);
        require(mail.truncated || (mail.recipients.size() == mail.recipient_count &&
                                   mail.refused.size() == mail.refused_count));
        require(mail.queue_id.empty() || mail.accepted);
        require(mail.message_id.size() <= kMaxMessageIdBytes);
        require(mail.replies.empty() || mail.replies.size() == mail.recipients.size());
        for (const std::string& reply : mail.replies)
            require(reply.size() <= kMaxReplyBytes);
        for (const std::string& recipient : mail.recipients)
            require(recipient.size() <= kMaxMailboxBytes);
    }
}

inline constexpr std::size_t kWhole = std::numeric_limits<std::size_t>::max();

inline test::Observed play(const ProtocolTraits& protocol, const test::Turns& turns, std::size_t piece,
                           const ScreenConfig& screen) {
    test::Player player(protocol, screen);
    for (const test::Turn& turn : turns) {
        const std::string_view bytes = turn.bytes;
        for (std::size_t at = 0; at < bytes.size(); at += std::min(piece, bytes.size()))
            player.play(turn.from, bytes.substr(at, piece));
        player.beginTls();
    }
    return player.finish();
}

/// What the client says goes in pieces to a server that answers what it gets. `received`: how much of what the filter let pass the server
/// has had; 0 before the first.
template <typename Server>
void converse(test::Player& player, Server& server, std::string_view client, std::size_t piece,
              std::size_t& received) {
    for (std::size_t at = 0; at < client.size() && !player.filter().violation(); at += piece) {
        player.play(Side::Client, client.substr(at, piece));
        while (received < player.passed().size()) {
            const std::string replies = server.receive(std::string_view(player.passed()).substr(received));
            received = player.passed().size();
            player.play(Side::Server, replies);
        }
    }
}

inline void observe(const ProtocolTraits& protocol, const std::uint8_t* data, std::size_t size) {
    const test::Turns turns = turnsIn({reinterpret_cast<const char*>(data), size});
    for (const BareLfPolicy bare_lf : {BareLfPolicy::Normalize, BareLfPolicy::Reject, BareLfPolicy::Pass}) {
        for (const TlsPolicy& tls : {TlsPolicy{}, test::kOffered.tls}) {
            const ScreenConfig screen{.bare_lf = bare_lf, .tls = tls, .reads_message_id = true};
            const test::Observed whole = play(protocol, turns, kWhole, screen);
            requireBounds(whole);
            for (const std::size_t piece : {1, 2, 7})
                require(test::toString(play(protocol, turns, piece, screen)) == test::toString(whole));
        }
    }
}

}  // namespace mailgate::fuzz
