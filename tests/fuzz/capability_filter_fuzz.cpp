// SPDX-License-Identifier: Apache-2.0
// TLS that ends at the gateway. The first byte of the input chooses a protocol; what follows is read three times. As the
// server's answer to a question about its capabilities: of what a client without this TLS would get, each line goes
// on as it came, without words that the list of edits names, or not at all if it is one of them; nothing that binds the
// login to another connection's TLS is ever offered. As a dialogue (filter_fuzz.h): nothing depends on how the bytes were
// split. And as what a client says to a server that reads like Postfix or Dovecot: where TLS is demanded, that server lets
// nobody in, takes no mail, and nobody's STARTTLS reaches it.

#include "protocols/imap/imap_protocol.h"
#include "protocols/pop3/pop3_protocol.h"
#include "protocols/sieve/sieve_protocol.h"
#include "protocols/smtp/smtp_protocol.h"
#include "protocols/values/text.h"
#include "tests/fuzz/login_fuzz.h"
#include "tests/support/smtp_servers.h"
#include "tests/support/tls_policies.h"

namespace mailgate::fuzz {
namespace {

using Words = std::vector<std::string>;

struct Subject {
    const ProtocolTraits& traits;
    std::string_view greeting;
    std::string_view question;
};

const Subject kSubjects[] = {
    {smtp::kSmtp, "220 mx\r\n", "EHLO a\r\n"},
    {imap::kImap, "* OK hi\r\n", "a CAPABILITY\r\n"},
    {pop3::kPop3, "+OK hi\r\n", "CAPA\r\n"},
    {sieve::kSieve, "OK \"hi\"\r\n", "CAPABILITY\r\n"},
};

bool endsInPlus(std::string_view word) {
    return word.size() >= 5 && equalsIgnoreCase(word.substr(word.size() - 5), "-PLUS");
}

/// Lower case.
Words wordsIn(std::string_view line, std::string_view between) {
    Words words;
    while (true) {
        line.remove_prefix(std::min(line.find_first_not_of(between), line.size()));
        if (line.empty()) return words;
        const std::string_view word = line.substr(0, line.find_first_of(between));
        words.push_back(lowerCase(word));
        line.remove_prefix(word.size());
    }
}

Words wordsOf(const Subject& subject, const std::string& line) {
    constexpr std::string_view kBetween = " \t\v\f\r\n";
    if (subject.traits.protocol == Protocol::Sieve) {
        Words words = wordsIn(line, std::string(kBetween) + '"');
        if (line.starts_with("\"\"")) words.insert(words.begin(), std::string());
        return words;
    }
    Words words = wordsIn(line, kBetween);
    if (subject.traits.protocol != Protocol::Imap || words.size() < 3 || words[2] != "[capability")
        return words;
    // The code's end is that of the list, wherever it stands.
    std::string text = line;
    text[text.find('[')] = ' ';
    const std::size_t end = text.find(']');
    if (end != std::string::npos) text.replace(end, 1, " ] ");
    return wordsIn(text, kBetween);
}

std::vector<std::string> linesOf(std::string_view text) {
    std::vector<std::string> lines;
    while (!text.empty()) {
        const std::size_t size = std::min(text.find('\n'), text.size() - 1) + 1;
        lines.emplace_back(text.substr(0, size));
        text.remove_prefix(size);
    }
    return lines;
}

/// SMTP's marks follow from which line is the last one, and whatever stands behind a keyword ends it.
Words listOf(const Subject& subject, const std::string& line) {
    if (subject.traits.protocol != Protocol::Smtp) return wordsOf(subject, line);
    std::string text = line.substr(std::min<std::size_t>(line.size(), 4));
    const std::size_t first = text.find_first_not_of(" \t\v\f\r");
    const auto in_keyword = [](char c) {
        return std::isalnum(static_cast<unsigned char>(c)) || c == '-' || c == '_';
    };
    const auto end = std::find_if_not(
        text.begin() + static_cast<std::ptrdiff_t>(std::min(first, text.size())), text.end(), in_keyword);
    if (end != text.end()) *end == '=' ? void(*end = ' ') : void(text.insert(end, ' '));
    return wordsOf(subject, text);
}

bool isList(const Subject& subject, const Words& words) {
    if (words.empty()) return false;
    switch (subject.traits.protocol) {
        case Protocol::Smtp:
            return words[0] == "auth";
        case Protocol::Pop3:
        case Protocol::Sieve:
            return words[0] == "sasl";
        default:
            return std::find(words.begin(), words.end(), "capability") != words.end();
    }
}

std::string_view offerOf(const Subject& subject) {
    return subject.traits.protocol == Protocol::Pop3 ? "stls" : "starttls";
}

bool mayVanish(const Subject& subject, const TlsPolicy& tls, const Words& words) {
    if (subject.traits.protocol == Protocol::Imap || words.empty()) return false;
    const std::string& word = words[0];
    if (tls.refused() && word == offerOf(subject)) return true;
    if (word == "auth" || word == "sasl") {
        const bool all_bind = words.size() > 1 && std::all_of(words.begin() + 1, words.end(), endsInPlus);
        return tls.demanded() || all_bind;
    }
    return tls.demanded() && subject.traits.protocol == Protocol::Pop3 && word == "user";
}

bool mayLose(const Subject& subject, const TlsPolicy& tls, const std::string& word) {
    const bool imap = subject.traits.protocol == Protocol::Imap;
    if (endsInPlus(word)) return !imap || word.starts_with("auth=");
    if (!imap) return tls.demanded();
    return (tls.refused() && word == "starttls") || (tls.within() && word == "logindisabled") ||
           (tls.demanded() && word.starts_with("auth="));
}

bool isOffer(const Subject& subject, const Words& words) {
    return words.size() == 1 && words[0] == offerOf(subject);
}

/// Whether `edited` is `words` with what may be lost and added.
bool isEdit(const Subject& subject, const TlsPolicy& tls, const Words& words, const Words& edited) {
    if (edited.empty() || edited[0] != words[0]) return false;
    std::size_t at = 0;
    for (const std::string& word : edited) {
        while (at < words.size() && words[at] != word && mayLose(subject, tls, words[at]))
            ++at;
        if (at < words.size() && words[at] == word) {
            ++at;
            continue;
        }
        const bool added =
            subject.traits.protocol == Protocol::Imap &&
            ((word == "starttls" && tls.addsOffer()) || (word == "logindisabled" && tls.demanded()));
        if (!added) return false;
    }
    return std::all_of(words.begin() + static_cast<std::ptrdiff_t>(at), words.end(),
                       [&](const std::string& word) { return mayLose(subject, tls, word); });
}

void requireEdits(const Subject& subject, const TlsPolicy& tls, const std::string& plain,
                  const std::string& edited) {
    const auto given = linesOf(plain);
    const auto got = linesOf(edited);
    // Beside an offer of the server's there is none of ours. SMTP's first line offers nothing.
    const auto first = given.begin() + (subject.traits.protocol == Protocol::Smtp && !given.empty() ? 1 : 0);
    const bool adds = tls.addsOffer() && std::none_of(first, given.end(), [&](const auto& line) {
                          return isOffer(subject, listOf(subject, line));
                      });
    std::size_t next = 0;
    const auto skipOffers = [&] {
        while (adds && next < got.size() && isOffer(subject, listOf(subject, got[next])))
            ++next;
    };
    for (const std::string& line : given) {
        skipOffers();
        const Words words = listOf(subject, line);
        const bool same = next < got.size() && listOf(subject, got[next]) == words;
        if (same || (next < got.size() && isList(subject, words) &&
                     isEdit(subject, tls, words, listOf(subject, got[next])))) {
            ++next;
            continue;
        }
        require(mayVanish(subject, tls, words));
    }
    skipOffers();
    require(next == got.size());
}

/// Text for people may say what it likes.
void requireUnbound(const Subject& subject, const std::string& edited) {
    for (const std::string& line : linesOf(edited)) {
        const Words words = listOf(subject, line);
        const bool imap = subject.traits.protocol == Protocol::Imap;
        if (imap && (words.size() < 2 || words[0] != "*" || words[1] != "capability")) continue;
        if (!isList(subject, words)) continue;
        for (const std::string& word : words)
            require(!endsInPlus(word) || (imap && !word.starts_with("auth=")));
    }
}

std::string answerTo(const Subject& subject, std::string_view answer, const ScreenConfig& screen,
                     bool& understood) {
    const test::Observed seen =
        test::playWhole(subject.traits,
                        {test::server(std::string(subject.greeting)),
                         test::client(std::string(subject.question)), test::server(std::string(answer))},
                        screen);
    understood = understood && !seen.violation && !seen.opaque;
    return seen.sent[test::kClient].substr(
        std::min(subject.greeting.size(), seen.sent[test::kClient].size()));
}

void readAnswer(const Subject& subject, std::string_view answer) {
    for (const ScreenConfig* screen :
         {&test::kOffered, &test::kRequired, &test::kMirror, &test::kWithin, &test::kToServer}) {
        bool understood = true;
        const std::string plain = answerTo(subject, answer, {}, understood);
        const std::string edited = answerTo(subject, answer, *screen, understood);
        if (!understood) continue;
        // A literal's lines are no lines of a list, and words with escapes are not looked into.
        if (plain.find_first_of("{\\") != std::string::npos) continue;
        requireEdits(subject, screen->tls, plain, edited);
        requireUnbound(subject, edited);
    }
}

void readDialogue(const Subject& subject, std::string_view input) {
    const test::Turns turns = turnsIn(input);
    for (const ScreenConfig* screen :
         {&test::kOffered, &test::kRequired, &test::kWithin, &test::kWithinAgain}) {
        const test::Observed whole = test::playWhole(subject.traits, turns, *screen);
        requireBounds(whole);
        require(whole.facts.tls == TlsBegin::None);
        require(!whole.starts_tls || (screen->tls.offered() && !whole.violation));
        for (const std::size_t piece : {1, 2, 7})
            require(everything(test::playInPieces(subject.traits, turns, piece, *screen)) ==
                    everything(whole));
    }
    (void)test::playWhole(subject.traits, turns, test::kMirror);
    (void)test::playInPieces(subject.traits, turns, 1, test::kMirror);
}

template <typename Model>
void logIn(const Subject& subject, std::string_view client) {
    if (client.empty()) return;
    for (const std::size_t piece : {std::size_t{1}, std::size_t{9}, client.size()}) {
        const Talk refused = talk<Model>(subject.traits, client, piece, test::kRequired);
        require(!refused.server->accepted() && refused.failed.empty());
        require(!refused.observed.facts.authenticated && !refused.observed.opaque);
        require(refused.observed.violation != Violation::UnexpectedReply);
    }
}

void sendMail(const Subject& subject, std::string_view client) {
    for (const std::size_t piece : {std::size_t{1}, std::size_t{9}, client.size() + 1}) {
        test::PostfixLike server;
        test::Player player(subject.traits, test::kRequired);
        player.play(Side::Server, server.greeting);
        std::size_t received = 0;
        converse(player, server, client, piece, received);
        require(server.taken().empty());
        // What was answered here is noted as refused, with what it was answered.
        for (const MailTransaction& mail : player.finish().facts.transactions) {
            require(!mail.accepted && mail.recipient_count == 0 && mail.size == 0);
            require(mail.reply.starts_with("50") || mail.reply.starts_with("530 5.7.0 "));
        }
        for (const std::string& line : linesOf(player.passed()))
            require(!startsWithIgnoreCase(line, "STARTTLS\r") && !startsWithIgnoreCase(line, "AUTH "));
    }
}

void talkTo(const Subject& subject, std::string_view client) {
    switch (subject.traits.protocol) {
        case Protocol::Imap:
            return logIn<test::ImapModel>(subject, client);
        case Protocol::Pop3:
            return logIn<test::Pop3Model>(subject, client);
        case Protocol::Sieve:
            return logIn<test::SieveModel>(subject, client);
        default:
            return sendMail(subject, client);
    }
}

}  // namespace
}  // namespace mailgate::fuzz

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    using namespace mailgate;
    if (size == 0) return 0;
    const fuzz::Subject& subject = fuzz::kSubjects[data[0] % std::size(fuzz::kSubjects)];
    const std::string_view input(reinterpret_cast<const char*>(data) + 1, size - 1);
    fuzz::readAnswer(subject, input);
    fuzz::readDialogue(subject, input);
    fuzz::talkTo(subject, input);
    return 0;
}
