// A whole session over scripted transports, in each of its states. The input is a script: which protocol and
// state to begin in, then what the client and the server do. Whatever they do, the relay's promise holds:
//
//   * nothing is connected to or sent before the client is admitted;
//   * a server receives exactly one PROXY header, then the client's bytes, unchanged, in order;
//   * the client receives the server's bytes, unchanged, in order, and at most one line of ours behind them.

#include "protocols/proxy/decoder.h"
#include "tests/support/scripted_host.h"

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <string>
#include <string_view>

namespace mailgate::test {
namespace {

constexpr std::string_view kHeader = "PROXY TCP4 198.51.100.7 203.0.113.10 55555 25\r\n";

void require(bool holds, const char* promise) {
    if (holds) return;
    std::fprintf(stderr, "broken promise: %s\n", promise);
    std::abort();
}

/// What both sides say before the script begins.
struct Opening {
    Protocol protocol;
    bool header;
    std::string_view server;
    std::string_view client;
    std::string_view server_again;
};

constexpr Opening kOpenings[] = {
    {Protocol::Smtp, false, "", "", ""},
    {Protocol::Smtp, true, "", "", ""},
    {Protocol::Smtp, true, "220 mx\r\n", "", ""},
    {Protocol::Smtp, true, "220 mx\r\n", "EHLO a\r\nMAIL FROM:<a@b>\r\nRCPT TO:<c@d>\r\nDATA\r\n",
     "250 mx\r\n250 ok\r\n250 ok\r\n354 go\r\n"},
    {Protocol::Smtp, true, "220 mx\r\n",
     "EHLO a\r\nMAIL FROM:<a@b>\r\nRCPT TO:<c@d>\r\nBDAT 100 LAST\r\nhalf", "250 mx\r\n250 ok\r\n250 ok\r\n"},
    {Protocol::Lmtp, true, "220 mx\r\n",
     "LHLO a\r\nMAIL FROM:<>\r\nRCPT TO:<c@d>\r\nRCPT TO:<e@f>\r\nDATA\r\n",
     "250 mx\r\n250 ok\r\n250 ok\r\n250 ok\r\n354 go\r\n"},
    {Protocol::Imap, true, "* OK ready\r\n", "a LOGIN {3}\r\n", "+ go\r\n"},
    {Protocol::Imap, true, "* OK ready\r\n", "a LOGIN u p\r\n", "a OK in\r\n"},
    {Protocol::Pop3, true, "+OK ready\r\n", "USER u\r\n", "+OK\r\n"},
    {Protocol::Sieve, true, "\"IMPLEMENTATION\" \"x\"\r\nOK\r\n", "AUTHENTICATE \"PLAIN\" {8+}\r\n", ""},
    {Protocol::Tcp, true, "", "", ""},
};

Config configFor(Protocol protocol) {
    Config config;
    config.name = "gw";
    ListenerConfig listener;
    listener.name = "front";
    listener.protocol = protocol;
    listener.access = AccessDefault::Open;
    config.listeners.push_back(listener);
    UpstreamConfig upstream;
    upstream.name = "backend";
    upstream.servers = {serverAt("s", {*IpAddress::parse("192.0.2.1"), 25})};
    config.upstreams.push_back(upstream);
    config.log.level = LogLevel::Critical;
    return config;
}

class Play {
  public:
    explicit Play(const Opening& opening) : host_(configFor(opening.protocol)) {
        server_ = host_.nextServer();
        session_ = &host_.arrive(client_, true);
        if (opening.header) client(kHeader);
        serverEvent(kWritable);
        server(opening.server);
        client(opening.client);
        server(opening.server_again);
    }

    void run(std::string_view script) {
        while (script.size() >= 2 && host_.openSessions() > 0) {
            const auto action = static_cast<unsigned char>(script[0]);
            const std::size_t length = static_cast<unsigned char>(script[1]);
            script.remove_prefix(2);
            act(action % 12, script.substr(0, length), length);
            script.remove_prefix(std::min(length, script.size()));
            check();
        }
        open(*client_);
        open(*server_);
        clientEvent(kWritable);
        serverEvent(kWritable);
        check();
    }

  private:
    void act(unsigned action, std::string_view bytes, std::size_t amount) {
        switch (action) {
            case 0:
            case 1:
                return client(bytes);
            case 2:
            case 3:
                return server(bytes);
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
                if (amount & 1)
                    client_->broken = ECONNRESET;
                else
                    server_->broken = ECONNRESET;
                return amount & 1 ? clientEvent(kReadable | kFailed) : serverEvent(kReadable | kFailed);
            default:
                host_.advance(static_cast<Millis>(amount) * 50);
                return;
        }
    }

    static void open(ScriptedPeer& peer) { peer.room = std::numeric_limits<std::size_t>::max(); }

    void client(std::string_view bytes) {
        if (client_->finished || bytes.empty()) return;
        client_->sends(bytes);
        client_said_ += bytes;
        clientEvent(kReadable);
    }
    void server(std::string_view bytes) {
        if (server_->finished || server_->received.empty() || bytes.empty()) return;
        server_->sends(bytes);
        server_said_ += bytes;
        serverEvent(kReadable);
    }
    void clientEvent(std::uint32_t events) {
        if (host_.openSessions() > 0 && !client_->closed) session_->onEvents(Session::kClientSlot, events);
        host_.runAgain();
    }
    void serverEvent(std::uint32_t events) {
        if (host_.openSessions() > 0 && server_->slot != 0 && !server_->closed)
            session_->onEvents(server_->slot, events);
        host_.runAgain();
    }

    void check() {
        checkServer();
        checkClient();
    }

    void checkServer() {
        if (server_->received.empty()) return;
        const auto whole =
            proxy::decode({reinterpret_cast<const std::uint8_t*>(client_said_.data()), client_said_.size()});
        const auto* header = std::get_if<proxy::Header>(&whole);
        require(header != nullptr && header->hasClientAddress(),
                "a server hears only of clients with a valid header");
        const auto ours = proxy::decode(
            {reinterpret_cast<const std::uint8_t*>(server_->received.data()), server_->received.size()});
        const auto* sent = std::get_if<proxy::Header>(&ours);
        require(sent != nullptr && sent->source == header->source,
                "our header comes first, whole, with the client's address");
        const std::string_view relayed = std::string_view(server_->received).substr(sent->size);
        require(std::string_view(client_said_).substr(header->size).substr(0, relayed.size()) == relayed,
                "the client's bytes reach the server unchanged and in order");
    }

    void checkClient() {
        const std::string& heard = client_->received;
        const std::size_t common = static_cast<std::size_t>(
            std::mismatch(
                heard.begin(),
                heard.begin() + static_cast<std::ptrdiff_t>(std::min(heard.size(), server_said_.size())),
                server_said_.begin())
                .first -
            heard.begin());
        if (common == heard.size()) return;
        // What differs is ours. It may begin like the server's own words, so look for where a line of ours
        // can start.
        for (std::size_t at = 0; at <= common; ++at) {
            const std::string_view rest = std::string_view(heard).substr(at);
            if (isOurs(rest)) return;
        }
        require(false,
                "the client hears the server's bytes unchanged, and whole lines of ours at most behind them");
    }

    static bool isOurs(std::string_view text) {
        for (const std::string_view start :
             {"421 ", "521 ", "554 ", "503 ", "220 gw", "221 ", "250 ", "502 ", "500 ", "* BYE", "* OK",
              "-ERR ", "+OK", "BYE", "NO", "OK", "\""}) {
            if (text.substr(0, std::min(start.size(), text.size())) ==
                start.substr(0, std::min(start.size(), text.size())))
                return true;
        }
        return false;
    }

    std::shared_ptr<ScriptedPeer> client_ = std::make_shared<ScriptedPeer>();
    std::shared_ptr<ScriptedPeer> server_;
    ScriptedHost host_;
    Session* session_ = nullptr;
    std::string client_said_;
    std::string server_said_;
};

}  // namespace
}  // namespace mailgate::test

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    using namespace mailgate::test;
    if (size == 0 || size > 4096) return 0;
    Play play(kOpenings[data[0] % std::size(kOpenings)]);
    play.run({reinterpret_cast<const char*>(data) + 1, size - 1});
    return 0;
}
