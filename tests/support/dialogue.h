// SPDX-License-Identifier: Apache-2.0
/// \file  Dialogues between a client and a server, played to a filter in every split.
#pragma once

#include "protocols/dialogue/protocol_traits.h"
#include "protocols/stream/stream_filter.h"

#include <algorithm>
#include <cstddef>
#include <cstdlib>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace mailgate::test {

struct Turn {
    Side from;
    std::string bytes;
};
using Turns = std::vector<Turn>;

inline Turn client(std::string bytes) {
    return {Side::Client, std::move(bytes)};
}
inline Turn server(std::string bytes) {
    return {Side::Server, std::move(bytes)};
}

inline Turns after(Turns before, const Turns& rest) {
    before.insert(before.end(), rest.begin(), rest.end());
    return before;
}

/// Of Observed::sent.
inline constexpr std::size_t kClient = 0;
inline constexpr std::size_t kServer = 1;

/// What a filter knows after a dialogue.
struct Observed {
    SessionFacts facts;
    bool opaque = false;
    bool starts_tls = false;
    bool at_boundary = false;
    bool interruptible = false;
    std::optional<Violation> violation;
    std::string sent[2];  ///< what each side was sent, by side
};

/// What the filter knows as text.
inline std::string knownIn(const Observed& observed) {
    const SessionFacts& facts = observed.facts;
    std::string text = "helo=" + std::string(facts.helo.view()) + "\nuser=" + facts.user +
                       "\ntls=" + std::string(toString(facts.tls));
    const auto flag = [&text](std::string_view name, bool value) {
        text.append("\n").append(name).append(value ? "=yes" : "=no");
    };
    text += "\nauthenticated=";
    text += facts.authenticated ? *facts.authenticated ? "yes" : "no" : "unknown";
    text += "\nfailed_logins=" + std::to_string(facts.failed_logins);
    for (const std::string& failed : facts.failed_users)
        text += " " + failed;
    flag("quit", facts.quit);
    flag("greeted", facts.greeted);
    flag("goodbye", facts.goodbye);
    flag("opaque", observed.opaque);
    if (observed.starts_tls) flag("starts_tls", true);
    if (!observed.opaque) {
        flag("at_boundary", observed.at_boundary);
        flag("interruptible", observed.interruptible);
    }
    if (observed.violation) text += "\nviolation=" + std::to_string(static_cast<int>(*observed.violation));
    text += "\ntransactions=" + std::to_string(facts.transaction_count);
    for (const MailTransaction& mail : facts.transactions) {
        text += "\n  <" + mail.from + "> to " + std::to_string(mail.recipient_count) + " refused " +
                std::to_string(mail.refused_count) + " size " + std::to_string(mail.size) + " reply " +
                mail.reply + (mail.accepted ? " accepted " : " ") + mail.queue_id +
                (mail.message_id.empty() ? "" : " message " + mail.message_id) +
                (mail.truncated ? " truncated" : "");
        for (const std::string& recipient : mail.recipients)
            text += "\n    <" + recipient + ">";
        for (const RefusedRecipient& refused : mail.refused)
            text += "\n    refused <" + refused.to + "> " + refused.reply;
        for (const std::string& reply : mail.replies)
            text += "\n    reply " + reply;
    }
    return text;
}

/// Everything in it as text: one value to compare, and readable when two differ.
inline std::string toString(const Observed& observed) {
    return knownIn(observed) + "\nto the client: " + observed.sent[kClient] +
           "\nto the server: " + observed.sent[kServer];
}

/// Does for a filter what the relay does: bytes that it leaves over come again with those that follow them, or when the
/// other side has said more. Keeps to the contract of Output, and aborts where the filter does not.
class Player {
  public:
    explicit Player(const ProtocolTraits& protocol, const ScreenConfig& screen = {}, MailSink* sink = nullptr)
        : protocol_(protocol),
          screen_(screen),
          sink_(sink),
          filter_(protocol.make_filter(facts_, screen, sink)) {}

    /// The client's `bytes` in one piece, the server's line by line: it would not answer in one breath what
    /// has to come after its first answer.
    void play(Side from, std::string_view bytes) {
        if (from == Side::Client) {
            left_[0] += bytes;
            return offer(Side::Client);
        }
        while (!bytes.empty()) {
            const std::size_t line = std::min(bytes.find('\n'), bytes.size() - 1) + 1;
            left_[1] += bytes.substr(0, line);
            bytes.remove_prefix(line);
            offer(Side::Server);
            offer(Side::Client);
        }
    }
    /// What a session does when the client has asked for TLS, and has said nothing behind that: another filter goes on with the
    /// same facts. False: it is not so.
    bool beginTls() {
        if (!filter_->startsTls() || !left_[0].empty() || !left_[1].empty()) return false;
        sent_[0] += filter_->answerStartTls(true);
        filter_->finish({});
        screen_.tls = {.stage = TlsPolicy::Stage::Within};
        screen_.greeted = true;
        filter_ = protocol_.make_filter(facts_, screen_, sink_);
        return true;
    }
    /// As the filter's.
    std::string answerStartTls(bool ready) { return filter_->answerStartTls(ready); }
    const StreamFilter& filter() const { return *filter_; }
    const SessionFacts& facts() const { return facts_; }
    /// What `side` was sent: what the other side said as far as it went on, and words of ours.
    const std::string& sent(Side side) const { return sent_[static_cast<std::size_t>(side)]; }
    const std::string& passed() const { return sent(Side::Server); }

    Observed finish(std::string_view told = {}) {
        Observed observed;
        observed.opaque = filter_->opaque();
        observed.starts_tls = filter_->startsTls();
        observed.at_boundary = filter_->serverAtBoundary();
        observed.interruptible = filter_->interruptible();
        observed.violation = filter_->violation();
        observed.sent[0] = sent_[0];
        observed.sent[1] = sent_[1];
        filter_->finish(told);
        observed.facts = facts_;
        return observed;
    }

  private:
    class Sent final : public Output {
      public:
        Sent(Player& player, Side from) : player_(player), from_(from) {}
        void pass(std::size_t bytes) override {
            take(bytes);
            put(std::string_view(player_.left(from_)).substr(at_ - bytes, bytes));
        }
        void drop(std::size_t bytes) override { take(bytes); }
        void write(std::string_view text) override { put(text); }
        bool canReply() const override { return true; }
        void reply(std::string_view text) override {
            replied_ += text.size();
            if (replied_ > kMaxEditBytes) std::abort();
            player_.sent_[static_cast<std::size_t>(from_)] += text;
        }
        std::size_t taken() const { return at_; }

      private:
        void take(std::size_t bytes) {
            if (bytes > player_.left(from_).size() - at_) std::abort();
            at_ += bytes;
        }
        void put(std::string_view text) {
            put_ += text.size();
            if (put_ > 2 * player_.left(from_).size() + kMaxEditBytes) std::abort();
            player_.sent_[static_cast<std::size_t>(other(from_))] += text;
        }

        Player& player_;
        Side from_;
        std::size_t at_ = 0;
        std::size_t put_ = 0;
        std::size_t replied_ = 0;
    };

    std::string& left(Side from) { return left_[static_cast<std::size_t>(from)]; }

    void offer(Side from) {
        // The server still answers what it was sent before a client's violation.
        if (left(from).empty() || (filter_->violation() && (from == Side::Client || server_at_fault_)))
            return;
        Sent out(*this, from);
        const Rest rest = filter_->opaque() ? Rest::Hold : filter_->onBytes(from, left(from), out);
        if (filter_->opaque()) out.pass(left(from).size() - out.taken());
        left(from).erase(0, out.taken());
        if (filter_->violation()) {
            server_at_fault_ = server_at_fault_ || (from == Side::Server && !client_at_fault_);
            client_at_fault_ = !server_at_fault_;
            return;
        }
        if (rest == Rest::More && left(from).size() > kMaxUnfinishedBytes) std::abort();
    }

    const ProtocolTraits& protocol_;
    ScreenConfig screen_;
    MailSink* const sink_;
    SessionFacts facts_;
    std::unique_ptr<StreamFilter> filter_;
    std::string left_[2];
    std::string sent_[2];
    bool client_at_fault_ = false;
    bool server_at_fault_ = false;
};

inline Observed playWhole(const ProtocolTraits& protocol, const Turns& turns,
                          const ScreenConfig& screen = {}) {
    Player player(protocol, screen);
    for (const Turn& turn : turns)
        player.play(turn.from, turn.bytes);
    return player.finish();
}

/// Every turn in pieces of `size` bytes.
inline Observed playInPieces(const ProtocolTraits& protocol, const Turns& turns, std::size_t size,
                             const ScreenConfig& screen = {}) {
    Player player(protocol, screen);
    for (const Turn& turn : turns) {
        for (std::size_t at = 0; at < turn.bytes.size(); at += size) {
            player.play(turn.from, std::string_view(turn.bytes).substr(at, size));
        }
    }
    return player.finish();
}

/// Turn number `split` in two pieces, the second beginning at `at`.
inline Observed playSplit(const ProtocolTraits& protocol, const Turns& turns, std::size_t split,
                          std::size_t at, const ScreenConfig& screen = {}) {
    Player player(protocol, screen);
    for (std::size_t number = 0; number < turns.size(); ++number) {
        const std::string_view bytes = turns[number].bytes;
        if (number == split) player.play(turns[number].from, bytes.substr(0, at));
        player.play(turns[number].from, bytes.substr(number == split ? at : 0));
    }
    return player.finish();
}

}  // namespace mailgate::test
