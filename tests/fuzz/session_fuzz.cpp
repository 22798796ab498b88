// SPDX-License-Identifier: Apache-2.0
// A whole session over scripted transports. The input is a script: which protocol and state to begin in, then
// what the client, the server, the clock and the operator do. Whatever they do, the gateway's promises hold:
//
//   * nothing is connected to or said before the client is admitted; one that the rules deny is, where the listener only
//   monitors, and its record says so;
//   * a server receives exactly one PROXY header, then the client's bytes, unchanged, in order; in the clear what the
//   filter lets on of them: whole lines, line ends and space as it has them;
//   * the client receives the server's bytes, unchanged, in order, and at most one line of ours behind them; in the
//   clear answers of ours between them as well;
//   * while the relay runs, nothing stays behind once both sides take all they are given, except what a
//   client must
//     not say yet;
//   * nothing is written behind a FIN.
//
// The first byte picks the opening; then come steps of two bytes, what and how much; the first four kinds of
// step are followed by so many bytes. Behind these openings are those of sessions with TLS (secure_session.h).

#include "protocols/proxy/decoder.h"
#include "protocols/refusal.h"
#include "tests/fuzz/secure_session.h"
#include "tests/support/scripted_host.h"

#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <string>
#include <string_view>

namespace mailgate::test {
namespace {

using namespace std::string_view_literals;

constexpr std::string_view kHeader = "PROXY TCP4 198.51.100.7 203.0.113.10 55555 25\r\n";
constexpr std::string_view kHalfV1 = kHeader.substr(0, 20);
constexpr std::string_view kHalfV2 = "\r\n\r\n\0\r\nQUIT\n\x21\x11\0"sv;
constexpr std::string_view kMail = "EHLO a\r\nMAIL FROM:<a@b>\r\nRCPT TO:<c@d>\r\n";
constexpr std::string_view kMailOk = "250 mx\r\n250 ok\r\n250 ok\r\n";
/// What either side may say in all, and in one large step.
constexpr std::size_t kMostBytes = 512 << 10;
constexpr std::size_t kBulk = 512;

void require(bool holds, const char* promise) {
    if (holds) return;
    std::fprintf(stderr, "broken promise: %s\n", promise);
    std::abort();
}

/// What both sides say before the script begins.
struct Opening {
    Protocol protocol = Protocol::Smtp;
    std::string_view header = kHeader;
    std::string_view greeting{};
    std::string_view client{};
    std::string_view server{};
    ListenerTls tls = ListenerTls::Off;
    bool denied = false;
    ListenerMode mode = ListenerMode::Enforce;
    BareLfPolicy bare_lf = BareLfPolicy::Pass;

    bool refused() const { return denied && mode != ListenerMode::Monitor; }
};

constexpr std::string_view kMailToData = "EHLO a\r\nMAIL FROM:<a@b>\r\nRCPT TO:<c@d>\r\nDATA\r\n";
constexpr std::string_view kDataOk = "250 mx\r\n250 ok\r\n250 ok\r\n354 go\r\n";
constexpr std::string_view kFooter = "ask postmaster of $client, $id";

constexpr Opening kOpenings[] = {
    {.header = ""},
    {},
    {.greeting = "220 mx\r\n"},
    {.greeting = "220 mx\r\n",
     .client = "EHLO a\r\nMAIL FROM:<a@b>\r\nRCPT TO:<c@d>\r\nDATA\r\n",
     .server = "250 mx\r\n250 ok\r\n250 ok\r\n354 go\r\n"},
    {.greeting = "220 mx\r\n",
     .client = "EHLO a\r\nMAIL FROM:<a@b>\r\nRCPT TO:<c@d>\r\nBDAT 100 LAST\r\nhalf",
     .server = kMailOk},
    {.protocol = Protocol::Lmtp,
     .greeting = "220 mx\r\n",
     .client = "LHLO a\r\nMAIL FROM:<>\r\nRCPT TO:<c@d>\r\nRCPT TO:<e@f>\r\nDATA\r\n",
     .server = "250 mx\r\n250 ok\r\n250 ok\r\n250 ok\r\n354 go\r\n"},
    {.protocol = Protocol::Imap,
     .greeting = "* OK ready\r\n",
     .client = "a LOGIN {3}\r\n",
     .server = "+ go\r\n"},
    {.protocol = Protocol::Imap,
     .greeting = "* OK ready\r\n",
     .client = "a LOGIN u p\r\n",
     .server = "a OK in\r\n"},
    {.protocol = Protocol::Pop3, .greeting = "+OK ready\r\n", .client = "USER u\r\n", .server = "+OK\r\n"},
    {.protocol = Protocol::Sieve,
     .greeting = "\"IMPLEMENTATION\" \"x\"\r\nOK\r\n",
     .client = "AUTHENTICATE \"PLAIN\" {8+}\r\n"},
    {.protocol = Protocol::Tcp},
    {.header = kHalfV1},
    {.header = kHalfV2},
    {.greeting = "220-mx\r\n220-half a gr"},
    {.greeting = "220 mx\r\n",
     .client = "EHLO a\r\nSTARTTLS\r\n",
     .server = "250-mx\r\n250 STARTTLS\r\n220 go\r\n"},
    {.greeting = "220 mx\r\n", .client = "EHLO a\r\nSTARTTLS\r\n", .server = "250-mx\r\n250 STARTTLS\r\n"},
    {.client = "\x16\x03\x01\x02\0\x01"sv},
    {.protocol = Protocol::Imap, .client = "\x16\x03\x01\x02\0\x01"sv, .tls = ListenerTls::Passthrough},
    {.greeting = "220 mx\r\n", .client = kMail, .server = kMailOk},
    {.protocol = Protocol::Imap, .greeting = "* OK ready\r\n"},
    {.protocol = Protocol::Sieve, .greeting = "OK\r\n"},
    {.denied = true},
    {.protocol = Protocol::Imap, .denied = true},
    {.denied = true, .mode = ListenerMode::Soft},
    {.protocol = Protocol::Imap, .denied = true, .mode = ListenerMode::Soft},
    {.greeting = "220 mx\r\n", .client = kMailToData, .server = kDataOk, .bare_lf = BareLfPolicy::Reject},
    {.greeting = "220 mx\r\n",
     .client = kMailToData,
     .server = kDataOk,
     .mode = ListenerMode::Soft,
     .bare_lf = BareLfPolicy::Reject},
    {.greeting = "220 mx\r\n",
     .client = kMailToData,
     .server = kDataOk,
     .denied = true,
     .mode = ListenerMode::Monitor,
     .bare_lf = BareLfPolicy::Reject},
    {.protocol = Protocol::Pop3, .greeting = "+OK ready\r\n", .denied = true, .mode = ListenerMode::Monitor},
};

Config configFor(const Opening& opening) {
    Config config;
    config.name = "gw";
    ListenerConfig listener;
    listener.name = "front";
    listener.protocol = opening.protocol;
    listener.tls = opening.tls;
    listener.mode = opening.mode;
    listener.bare_lf = opening.bare_lf;
    listener.refusal_footer = kFooter;
    listener.access = opening.denied ? AccessDefault::Allowlist : AccessDefault::Open;
    config.listeners.push_back(listener);
    UpstreamConfig upstream;
    upstream.name = "backend";
    upstream.servers = {serverAt("s", {*IpAddress::parse("192.0.2.1"), 25})};
    config.upstreams.push_back(upstream);
    return config;
}

class Play {
  public:
    explicit Play(const Opening& opening) : opening_(opening), host_(configFor(opening)) {
        server_ = host_.nextServer();
        session_ = &host_.arrive(client_, true);
        id_ = session_->id().text();
        client(opening.header);
        serverEvent(kWritable);
        server(opening.greeting);
        client(opening.client);
        server(opening.server);
        check();
    }

    void run(std::string_view script) {
        while (script.size() >= 2 && alive()) {
            const unsigned kind = static_cast<unsigned char>(script[0]) % 16;
            const std::size_t amount = static_cast<unsigned char>(script[1]);
            script.remove_prefix(2);
            const std::string_view bytes = script.substr(0, kind < 4 ? amount : 0);
            script.remove_prefix(bytes.size());
            act(kind, bytes, amount);
            check();
        }
        open(*client_);
        open(*server_);
        for (int turn = 0; turn < 2; ++turn) {
            clientEvent(kWritable);
            serverEvent(kWritable);
        }
        check();
        if (alive() && relaying()) checkNothingLeft();
        host_.takeLog();
        checkRecords();
    }

  private:
    void act(unsigned kind, std::string_view bytes, std::size_t amount) {
        switch (kind) {
            case 0:
                return client(bytes);
            case 1:
                for (const char& one : bytes)
                    client({&one, 1});
                return;
            case 2:
                return server(bytes);
            case 3:
                for (const char& one : bytes)
                    server({&one, 1});
                return;
            case 4:
                client_->room = amount;
                return;
            case 5:
                server_->room = amount;
                return;
            case 6:
                open(*client_);
                return clientEvent(kWritable);
            case 7:
                open(*server_);
                return serverEvent(kWritable);
            case 8:
                client_->finished = true;
                return clientEvent(kReadable | kHangup);
            case 9:
                server_->finished = true;
                return serverEvent(kReadable | kHangup);
            case 10:
                if (amount & 1) {
                    client_->broken = ECONNRESET;
                    return clientEvent(kReadable | kFailed);
                }
                server_->broken = ECONNRESET;
                return serverEvent(kReadable | kFailed);
            case 11:
                // Up to most of an hour: longer than any limit.
                return host_.advance(static_cast<Millis>(amount * amount) * 50);
            case 12:
                return client(bulk(amount));
            case 13:
                return server(bulk(amount));
            case 14:
                return operate(amount);
            default:
                host_.is_full = amount & 1;
                host_.is_stopping = amount & 2;
                return;
        }
    }

    void operate(std::size_t amount) {
        const Millis until = host_.now() + static_cast<Millis>(amount) * 50;
        switch (amount % 4) {
            case 0:
                session_->drain({CloseReason::Shutdown, host_.now(), until});
                break;
            case 1:
                session_->drain({CloseReason::Drained, host_.now(), until});
                break;
            case 2:
                session_->undrain();
                break;
            default:
                session_->kill();
                break;
        }
        host_.runAgain();
    }

    /// Lines of a text that repeats nowhere near.
    std::string bulk(std::size_t amount) {
        std::string text;
        while (text.size() < amount * kBulk)
            text += std::to_string(bulk_lines_++) + " bulk\r\n";
        return text;
    }

    bool alive() const { return host_.openSessions() > 0; }
    bool relaying() const { return session_->live().state == "relaying"; }
    static void open(ScriptedPeer& peer) { peer.room = std::numeric_limits<std::size_t>::max(); }

    void client(std::string_view bytes) {
        if (client_->finished || bytes.empty() || client_said_.size() + bytes.size() > kMostBytes) return;
        client_->sends(bytes);
        client_said_ += bytes;
        clientEvent(kReadable);
    }
    void server(std::string_view bytes) {
        if (server_->finished || server_->received.empty() || bytes.empty()) return;
        if (server_said_.size() + bytes.size() > kMostBytes) return;
        server_->sends(bytes);
        server_said_ += bytes;
        serverEvent(kReadable);
    }
    void clientEvent(std::uint32_t events) {
        if (alive() && !client_->closed) session_->onEvents(Session::kClientSlot, events);
        host_.runAgain();
    }
    void serverEvent(std::uint32_t events) {
        if (alive() && server_->slot != 0 && !server_->closed) session_->onEvents(server_->slot, events);
        host_.runAgain();
    }

    void check() {
        if (client_->room != std::numeric_limits<std::size_t>::max()) client_took_all_ = false;
        const auto decoded =
            proxy::decode({reinterpret_cast<const std::uint8_t*>(client_said_.data()), client_said_.size()});
        const auto* header = std::get_if<proxy::Header>(&decoded);
        require(!client_->wrote_behind_fin && !server_->wrote_behind_fin, "nothing is written behind a FIN");
        if (header == nullptr) {
            require(client_->received.empty(), "nothing is said before a whole, valid header");
            require(host_.connected_to.empty(), "nothing is connected to before a whole, valid header");
            return;
        }
        const bool from_client = header->hasClientAddress() && header->source != kBalancer;
        client_text_ = (from_client ? header->source : kBalancer).address.toString();
        if (!from_client || opening_.refused()) {
            require(host_.connected_to.empty(), "no server hears of a check or of a client that is denied");
            return checkDialogue(from_client, std::string_view(client_said_).substr(header->size));
        }
        relayed_ = 0;
        if (!server_->received.empty()) checkServer(*header);
        checkClient();
    }

    void checkServer(const proxy::Header& header) {
        const std::string_view received = server_->received;
        const auto decoded =
            proxy::decode({reinterpret_cast<const std::uint8_t*>(received.data()), received.size()});
        // A server that has no room for the header is given up; it must not get the rest later.
        if (server_->closed && std::holds_alternative<proxy::NeedMore>(decoded)) return;
        const auto* ours = std::get_if<proxy::Header>(&decoded);
        require(ours != nullptr && ours->source == header.source && ours->destination == header.destination,
                "our header comes first, whole, with the client's address");
        relayed_ = received.size() - ours->size;
        to_relay_ = std::string_view(client_said_).substr(header.size);
        if (screened())
            require(isSubsequence(spelled(received.substr(ours->size)), spelled(to_relay_)),
                    "nothing reaches the server but what the client said, in its order");
        else
            require(to_relay_.substr(0, relayed_) == received.substr(ours->size),
                    "the client's bytes reach the server unchanged and in order");
    }

    /// There is a filter that edits.
    bool screened() const {
        return opening_.protocol != Protocol::Tcp && opening_.tls != ListenerTls::Passthrough;
    }

    /// Without what a filter may change: space, line ends, dots, the * that gives a login up.
    static std::string spelled(std::string_view bytes) {
        std::string text(bytes);
        std::erase_if(
            text, [](char c) { return std::string_view(" \t\v\f\r\n.*").find(c) != std::string_view::npos; });
        return text;
    }
    static bool isSubsequence(std::string_view part, std::string_view whole) {
        for (const char c : whole) {
            if (!part.empty() && part.front() == c) part.remove_prefix(1);
        }
        return part.empty();
    }

    /// How the filters' own answers go; IMAP's have the command's tag before them.
    static constexpr std::string_view kAnswers[] = {
        "500 5.5.2 gw Error: ", "501 5.5.4 gw Error: ", "-ERR Command not understood",
        "NO \"Command not understood", " BAD Command not understood"};

    /// Without the filter's own answers, each a line.
    static std::string withoutAnswers(std::string text) {
        for (const std::string_view answer : kAnswers) {
            for (std::size_t at = text.find(answer); at != std::string::npos; at = text.find(answer)) {
                const std::size_t begin = text.rfind('\n', at) + 1;
                text.erase(begin, std::min(text.find('\n', at), text.size() - 1) + 1 - begin);
            }
        }
        return text;
    }

    /// `line` may be the beginning of an answer, of which a client that does not read has no more.
    static bool mayBeAnswer(std::string_view line) {
        return std::any_of(std::begin(kAnswers), std::end(kAnswers), [line](std::string_view answer) {
            return answer.starts_with(line) ||
                   (answer.front() == ' ' &&
                    answer.starts_with(line.substr(std::min(line.find(' '), line.size()))));
        });
    }

    void checkClient() {
        const std::string heard = withoutAnswers(client_->received);
        // A server may use the same words.
        const std::string said = withoutAnswers(server_said_);
        const std::size_t shorter = std::min(heard.size(), said.size());
        const auto differ =
            std::mismatch(heard.begin(), heard.begin() + static_cast<std::ptrdiff_t>(shorter), said.begin());
        const auto common = static_cast<std::size_t>(differ.first - heard.begin());
        if (common == heard.size()) return;
        // What differs is ours. It may begin like the server's own words.
        for (int refusal = 0; refusal <= static_cast<int>(Refusal::ServerViolation); ++refusal) {
            const std::string line = refusalLine(opening_.protocol, static_cast<Refusal>(refusal), text());
            const std::size_t longest = std::min(line.size(), heard.size());
            if (client_took_all_ && heard.ends_with(line) && !line.empty() &&
                heard.size() - line.size() <= common)
                return;
            // A client that does not read may miss the end of it.
            for (std::size_t length = longest; !client_took_all_ && length > 0; --length) {
                if (heard.size() - length > common) break;
                if (heard.ends_with(line.substr(0, length))) return;
            }
        }
        const std::size_t last_line = heard.rfind('\n') + 1;
        if (!client_took_all_ && last_line <= common &&
            mayBeAnswer(std::string_view(heard).substr(last_line)))
            return;
        require(false,
                "the client hears the server's bytes unchanged, and one line of ours at most behind them");
    }

    void checkDialogue(bool refused, std::string_view said) {
        for (const bool up : {true, false}) {
            for (const Refusal refusal : {Refusal::Rule, Refusal::NoServer}) {
                const auto dialogue = refused ? makeRefusalDialogue(opening_.protocol, refusal, text())
                                              : makeCheckDialogue(opening_.protocol, up, text());
                std::string expected = dialogue->open().reply;
                expected += dialogue->onBytes(said).reply;
                if (std::string_view(expected).starts_with(client_->received)) return;
            }
        }
        require(false, "a check and a refusal are heard as their dialogue has it");
    }

    void checkRecords() const {
        for (const store::JournalSession& record : host_.records.kept) {
            if (record.kind != store::JournalKind::Session) continue;
            const auto& reasons = record.would_refuse;
            const bool recorded = std::find(reasons.begin(), reasons.end(), "access") != reasons.end();
            require(recorded == opening_.denied, "who is served though the rules deny it is recorded");
            require(opening_.mode == ListenerMode::Monitor || reasons.empty(),
                    "only a listener that monitors sets a refusal aside");
        }
    }

    void checkNothingLeft() {
        // Of what a filter judges whole, it keeps the part that has come: the filters' own targets look after that.
        if (screened()) return;
        if (!server_->broken)
            require(client_->received.starts_with(server_said_),
                    "all that the server said reaches the client");
        require(relayed_ == to_relay_.size() || client_->broken,
                "all that the client said reaches the server");
    }

    RefusalText text() const {
        return {"gw", client_text_, id_, kFooter, opening_.mode == ListenerMode::Soft};
    }

    const Endpoint kBalancer{*IpAddress::parse("10.0.0.9"), 40001};
    const Opening& opening_;
    std::shared_ptr<ScriptedPeer> client_ = std::make_shared<ScriptedPeer>();
    std::shared_ptr<ScriptedPeer> server_;
    ScriptedHost host_;
    Session* session_ = nullptr;
    std::string id_;
    std::string client_text_;  ///< as refusals name it
    std::string client_said_;
    std::string server_said_;
    std::string_view to_relay_;
    std::size_t relayed_ = 0;
    std::size_t bulk_lines_ = 0;
    bool client_took_all_ = true;
};

}  // namespace
}  // namespace mailgate::test

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    using namespace mailgate::test;
    if (size == 0 || size > 2048) return 0;
    const std::string_view script(reinterpret_cast<const char*>(data) + 1, size - 1);
    const std::size_t opening = data[0] % (std::size(kOpenings) + std::size(kSecureOpenings));
    if (opening < std::size(kOpenings)) {
        Play(kOpenings[opening]).run(script);
    } else {
        SecurePlay(kSecureOpenings[opening - std::size(kOpenings)]).run(script);
    }
    return 0;
}
