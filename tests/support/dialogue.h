/// \file  Dialogues between a client and a server, played to a filter in every split.
#pragma once

#include "protocols/stream_filter.h"

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

/// What a filter knows after a dialogue.
struct Observed {
    SessionFacts facts;
    bool opaque = false;
    bool at_boundary = false;
    bool interruptible = false;
    std::optional<Violation> violation;
    std::string passed;  ///< what went on of the client's bytes
};

/// Everything in it as text: one value to compare, and readable when two differ.
inline std::string toString(const Observed& observed) {
    const SessionFacts& facts = observed.facts;
    std::string text = "helo=" + facts.helo + "\nuser=" + facts.user + "\ntls=" + facts.tls;
    const auto flag = [&text](std::string_view name, bool value) {
        text.append("\n").append(name).append(value ? "=yes" : "=no");
    };
    flag("authenticated", facts.authenticated);
    flag("quit", facts.quit);
    flag("greeted", facts.greeted);
    flag("goodbye", facts.goodbye);
    flag("opaque", observed.opaque);
    if (!observed.opaque) {
        flag("at_boundary", observed.at_boundary);
        flag("interruptible", observed.interruptible);
    }
    if (observed.violation) {
        text += *observed.violation == Violation::BareLf ? "\nobjection=bare_lf" : "\nobjection=command";
    }
    text += "\ntransactions=" + std::to_string(facts.transaction_count);
    for (const MailTransaction& mail : facts.transactions) {
        text += "\n  <" + mail.from + "> to " + std::to_string(mail.recipient_count) + " refused " +
                std::to_string(mail.recipients_refused) + " size " + std::to_string(mail.size) + " reply " +
                mail.reply + (mail.accepted ? " accepted" : "");
        for (const std::string& recipient : mail.recipients)
            text += "\n    <" + recipient + ">";
        for (const std::string& reply : mail.replies)
            text += "\n    reply " + reply;
    }
    return text;
}

/// Does for a filter what the relay does: what it holds back comes again when the server has said more.
class Player {
  public:
    explicit Player(Protocol protocol, const ScreenConfig& screen = {})
        : filter_(makeFilter(protocol, facts_, screen)) {}

    /// The client's `bytes` in one piece, the server's line by line: it would not answer in one breath what
    /// has to come after its first answer.
    void play(Side from, std::string_view bytes) {
        if (from == Side::Client) {
            held_ += bytes;
            return offer();
        }
        while (!bytes.empty()) {
            const std::size_t line = std::min(bytes.find('\n'), bytes.size() - 1) + 1;
            if (!filter_->opaque() && filter_->observe(from, bytes.substr(0, line)) != line) std::abort();
            bytes.remove_prefix(line);
            offer();
        }
    }
    const StreamFilter& filter() const { return *filter_; }
    const SessionFacts& facts() const { return facts_; }
    const std::string& passed() const { return passed_; }

    Observed finish() {
        Observed observed;
        observed.opaque = filter_->opaque();
        observed.at_boundary = filter_->serverAtBoundary();
        observed.interruptible = filter_->interruptible();
        observed.violation = filter_->violation();
        observed.passed = passed_;
        filter_->finish();
        observed.facts = facts_;
        return observed;
    }

  private:
    void offer() {
        if (held_.empty() || filter_->violation()) return;
        const std::size_t taken = filter_->opaque() ? held_.size() : filter_->observe(Side::Client, held_);
        passed_.append(held_, 0, taken);
        held_.erase(0, taken);
    }

    SessionFacts facts_;
    std::unique_ptr<StreamFilter> filter_;
    std::string held_;
    std::string passed_;
};

inline Observed playWhole(Protocol protocol, const Turns& turns, const ScreenConfig& screen = {}) {
    Player player(protocol, screen);
    for (const Turn& turn : turns)
        player.play(turn.from, turn.bytes);
    return player.finish();
}

/// Every turn in pieces of `size` bytes.
inline Observed playInPieces(Protocol protocol, const Turns& turns, std::size_t size,
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
inline Observed playSplit(Protocol protocol, const Turns& turns, std::size_t split, std::size_t at,
                          const ScreenConfig& screen = {}) {
    Player player(protocol, screen);
    for (std::size_t number = 0; number < turns.size(); ++number) {
        const std::string_view bytes = turns[number].bytes;
        if (number == split) player.play(turns[number].from, bytes.substr(0, at));
        player.play(turns[number].from, bytes.substr(number == split ? at : 0));
    }
    return player.finish();
}

}  // namespace mailgate::test
