// SPDX-License-Identifier: Apache-2.0
/// \file  A session in which TLS ends at the gateway, on one side or on both: the far ends are TLS's own, and the script has
/// what is said in the clear and within it, where the handshakes are cut, and what the clock and the operator do.
///
///   * what is said in the clear behind STARTTLS, or behind the consent to it, is never heard within TLS;
///   * a server hears of a client that has TLS what that said within it, and nothing else;
///   * where STARTTLS is mirrored the client has no TLS before the server has;
///   * nothing is written behind a FIN; the session ends, and its handshakes with it.
#pragma once

#include "gateway/tls/tls_listener.h"
#include "protocols/health_dialogue.h"
#include "protocols/proxy/decoder.h"
#include "tests/support/scripted_host.h"
#include "tests/support/scripted_tls_server.h"
#include "tests/support/tls_files.h"
#include "tests/support/tls_peer.h"

#include <algorithm>
#include <array>
#include <cstdint>
#include <limits>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace mailgate::test {

struct SecureOpening {
    Protocol protocol = Protocol::Smtp;
    ListenerTls clients = ListenerTls::StartTls;
    UpstreamTls servers = UpstreamTls::Off;
    bool required = false;
};

inline constexpr SecureOpening kSecureOpenings[] = {
    {.clients = ListenerTls::Implicit},
    {},
    {.required = true},
    {.servers = UpstreamTls::Mirror},
    {.servers = UpstreamTls::StartTls},
    {.servers = UpstreamTls::Implicit, .required = true},
    {.clients = ListenerTls::Implicit, .servers = UpstreamTls::Mirror},
    {.clients = ListenerTls::Off, .servers = UpstreamTls::StartTls},
    {.protocol = Protocol::Lmtp, .servers = UpstreamTls::Mirror},
    {.protocol = Protocol::Imap, .clients = ListenerTls::Implicit, .servers = UpstreamTls::StartTls},
    {.protocol = Protocol::Imap, .required = true},
    {.protocol = Protocol::Imap, .servers = UpstreamTls::Mirror},
    {.protocol = Protocol::Imap, .servers = UpstreamTls::Implicit, .required = true},
    {.protocol = Protocol::Pop3},
    {.protocol = Protocol::Pop3, .servers = UpstreamTls::Mirror, .required = true},
    {.protocol = Protocol::Sieve},
    {.protocol = Protocol::Sieve, .servers = UpstreamTls::Mirror},
};

/// What is said where all goes well.
struct SecureWords {
    std::array<std::string_view, 4> client;  ///< the second asks for TLS
    std::array<std::string_view, 6> server;  ///< the third consents, and the fourth to the gateway's own
};

inline SecureWords secureWordsOf(Protocol protocol) {
    switch (protocol) {
        case Protocol::Imap:
            return {{"a CAPABILITY\r\n", "s STARTTLS\r\n", "b LOGIN u p\r\n", "c LOGOUT\r\n"},
                    {"* OK ready\r\n", "* CAPABILITY IMAP4rev1 STARTTLS\r\na OK done\r\n", "s OK go\r\n",
                     "G0 OK go\r\n", "s NO no\r\n", "b OK in\r\n"}};
        case Protocol::Pop3:
            return {{"CAPA\r\n", "STLS\r\n", "USER u\r\nPASS p\r\n", "QUIT\r\n"},
                    {"+OK ready\r\n", "+OK\r\nSTLS\r\nUSER\r\n.\r\n", "+OK go\r\n", "+OK go\r\n",
                     "-ERR no\r\n", "+OK\r\n"}};
        case Protocol::Sieve:
            return {{"CAPABILITY\r\n", "STARTTLS\r\n", "NOOP\r\n", "LOGOUT\r\n"},
                    {"\"STARTTLS\"\r\n\"SASL\" \"PLAIN\"\r\nOK\r\n", "\"SASL\" \"\"\r\nOK\r\n",
                     "OK \"go\"\r\n", "OK \"go\"\r\n", "NO \"no\"\r\n", "OK\r\n"}};
        default:
            return {{protocol == Protocol::Lmtp ? "LHLO a\r\n" : "EHLO a\r\n", "STARTTLS\r\n",
                     "MAIL FROM:<a@b>\r\n", "QUIT\r\n"},
                    {"220 mx\r\n", "250-mx\r\n250 STARTTLS\r\n", "220 go\r\n", "220 go\r\n", "454 no\r\n",
                     "250 ok\r\n"}};
    }
}

class SecurePlay {
  public:
    explicit SecurePlay(const SecureOpening& opening)
        : opening_(opening), words_(secureWordsOf(opening.protocol)), host_(configFor(opening)) {
        if (opening.clients != ListenerTls::Off) host_.endTlsWith(shared().listener);
        for (Far& far : servers_)
            far.peer = host_.nextServer();
        session_ = &host_.arrive(client_, false);
        serverEvent(kWritable);
        settle();
    }

    void run(std::string_view script) {
        while (script.size() >= 2 && alive()) {
            const unsigned kind = static_cast<unsigned char>(script[0]) % 16;
            const std::size_t amount = static_cast<unsigned char>(script[1]);
            script.remove_prefix(2);
            const std::string_view bytes = script.substr(0, kind < 3 ? amount : 0);
            script.remove_prefix(bytes.size());
            act(kind, amount, bytes);
            settle();
        }
        open();
        settle();
        // Past all limits, one after the other.
        for (int hours = 0; hours < 12 && alive(); ++hours) {
            host_.advance(3'600'000);
            settle();
        }
        require(!alive(), "every session ends");
        require(host_.handshakes == 0, "every handshake has an end");
        for (const store::JournalSession& record : host_.records.kept)
            require(record.server_tls_error.empty() || record.server_tls_version.empty(),
                    "TLS with the server has failed, or has been");
    }

  private:
    /// A server's end.
    struct Far {
        std::shared_ptr<ScriptedPeer> peer;
        std::unique_ptr<ScriptedTlsServer> tls{};
        std::string pending{};  ///< on its way to the gateway
        bool has_header = false;
    };
    /// Made once: keys are what takes time.
    struct Shared {
        TlsFiles files;
        std::shared_ptr<TlsListener> listener = std::make_shared<TlsListener>(
            TlsServerOptions{},
            std::vector<CertificateFiles>{files.combined(files.authority.issue({{"mx.example.net"}}))},
            std::make_shared<TicketKeys>([] { return 1'800'000'000; }), TlsListener::Callbacks{});
        std::shared_ptr<const TlsServerContext> servers =
            ScriptedTlsServer::context(files.certificate({{"s.example.net"}}));
        std::shared_ptr<SSL_CTX> clients = TlsPeer::clientContext();
    };
    static const Shared& shared() {
        static const Shared made;
        return made;
    }

    static Config configFor(const SecureOpening& opening) {
        Config config = makeConfig(opening.protocol);
        config.name = "gw";
        ListenerConfig& listener = config.listeners[0];
        listener.proxy = ProxyMode::Off;
        listener.tls = opening.clients;
        listener.tls_required = opening.required;
        UpstreamConfig& upstream = config.upstreams[0];
        upstream.tls = opening.servers;
        upstream.tls_options.verify = false;
        return config;
    }

    static void require(bool holds, const char* promise) {
        if (holds) return;
        std::fprintf(stderr, "broken promise: %s\n", promise);
        std::abort();
    }

    void act(unsigned kind, std::size_t amount, std::string_view bytes) {
        switch (kind) {
            case 0:
                return clientSays(bytes);
            case 1:
                return serverSays(bytes);
            case 2:
                return sendRaw(amount & 1, bytes);
            case 3:
                if (!peer_) peer_.emplace(shared().clients);
                peer_->advance();
                return;
            case 4:
                return toGateway(from_client_, amount, *client_, [this] { clientEvent(kReadable); });
            case 5:
                return toGateway(far().pending, amount, *far().peer, [this] { serverEvent(kReadable); });
            case 6:
                return clientSays(words_.client[amount % words_.client.size()]);
            case 7:
                return serverSaysWell(amount % words_.server.size());
            case 8:
                return inject(amount & 1);
            case 9:
                return end(amount);
            case 10:
                (amount & 1 ? *client_ : *far().peer).broken = ECONNRESET;
                return amount & 1 ? clientEvent(kReadable | kFailed) : serverEvent(kReadable | kFailed);
            case 11:
                return host_.advance(static_cast<Millis>(amount * amount) * 50);
            case 12:
                return operate(amount);
            case 13:
                host_.most_handshakes = amount & 1 ? 100 : 0;
                return;
            case 14:
                limited_ = true;
                (amount & 1 ? *client_ : *far().peer).room = amount * 8;
                return;
            default:
                return open();
        }
    }

    /// Who is not within TLS yet speaks in the clear, and in mid-handshake not at all.
    void clientSays(std::string_view text) {
        if (client_->finished || text.empty()) return;
        if (!peer_) {
            from_client_ += text;
        } else if (SSL_is_init_finished(peer_->ssl()) &&
                   !(SSL_get_shutdown(peer_->ssl()) & SSL_SENT_SHUTDOWN)) {
            peer_->writes(text);
            said_within_ += text;
        }
    }
    void serverSays(std::string_view text) {
        if (!far().has_header || far().peer->finished || text.empty()) return;
        if (!far().tls)
            far().pending += text;
        else if (far().tls->established())
            far().pending += far().tls->says(text);
    }
    void serverSaysWell(std::size_t which) {
        const bool consents = which == 2 || which == 3;
        const bool asked =
            opening_.servers == UpstreamTls::StartTls || opening_.servers == UpstreamTls::Mirror;
        serverSays(words_.server[which]);
        if (consents && asked && far().has_header && !far().tls)
            far().tls = std::make_unique<ScriptedTlsServer>(shared().servers);
    }
    void sendRaw(bool by_client, std::string_view bytes) {
        if (by_client)
            from_client_ += bytes;
        else if (far().has_header)
            far().pending += bytes;
    }
    /// In the clear, where it would have to be taken for what is said within TLS.
    void inject(bool by_client) {
        if (by_client) return sendRaw(true, "NOOP evilclient\r\n");
        if (opening_.servers != UpstreamTls::Off && far().tls)
            sendRaw(false, "250 evilserver\r\n* OK evilserver\r\n");
    }
    void end(std::size_t amount) {
        const bool well = amount & 2;
        if (amount & 1) {
            if (well && peer_ && SSL_is_init_finished(peer_->ssl())) SSL_shutdown(peer_->ssl());
            collectClient();
            toGateway(from_client_, 0, *client_, [] {});
            client_->finished = true;
            return clientEvent(kReadable | kHangup);
        }
        if (well && far().tls && far().tls->established()) far().pending += far().tls->ends();
        toGateway(far().pending, 0, *far().peer, [] {});
        far().peer->finished = true;
        serverEvent(kReadable | kHangup);
    }
    void operate(std::size_t amount) {
        const Millis until = host_.now() + static_cast<Millis>(amount) * 50;
        switch (amount % 4) {
            case 0:
                return session_->drain({CloseReason::Shutdown, host_.now(), until});
            case 1:
                return session_->drain({CloseReason::Drained, host_.now(), until});
            case 2:
                return session_->undrain();
            default:
                session_->kill();
        }
    }
    void open() {
        host_.most_handshakes = 100;
        client_->room = far().peer->room = std::numeric_limits<std::size_t>::max();
        clientEvent(kWritable);
        serverEvent(kWritable);
    }

    /// `amount` bytes of what is on its way, 0: all.
    template <typename Event>
    void toGateway(std::string& pending, std::size_t amount, ScriptedPeer& by, Event event) {
        if (pending.empty() || by.finished) return;
        const std::size_t bytes = amount == 0 ? pending.size() : std::min(amount, pending.size());
        by.sends(std::string_view(pending).substr(0, bytes));
        pending.erase(0, bytes);
        event();
    }

    bool alive() const { return host_.openSessions() > 0; }
    Far& far() {
        return servers_[std::clamp<std::size_t>(host_.connected_to.size(), 1, servers_.size()) - 1];
    }
    void clientEvent(std::uint32_t events) {
        if (alive() && !client_->closed) session_->onEvents(Session::kClientSlot, events);
        host_.runAgain();
    }
    void serverEvent(std::uint32_t events) {
        const ScriptedPeer& peer = *far().peer;
        if (alive() && peer.slot != 0 && !peer.closed) session_->onEvents(peer.slot, events);
        host_.runAgain();
    }

    /// Reads what the gateway has written to both.
    void settle() {
        host_.runAgain();
        if (alive())
            secure_ = secure_ || (opening_.clients != ListenerTls::Off && !session_->live().tls.empty());
        for (Far& each : servers_)
            collectServer(each);
        // Connected to just now: what it has to say of the connection is that it is there.
        if (connections_ != host_.connected_to.size()) {
            connections_ = host_.connected_to.size();
            serverEvent(kWritable);
            collectServer(far());
        }
        collectClient();
        check();
    }
    void collectServer(Far& each) {
        std::string bytes = each.peer->heard();
        if (!each.has_header && !bytes.empty()) {
            const auto decoded =
                proxy::decode({reinterpret_cast<const std::uint8_t*>(bytes.data()), bytes.size()});
            const auto* header = std::get_if<proxy::Header>(&decoded);
            // A server without room for it is given up.
            if (!header) return require(limited_, "the header comes first, and whole");
            each.has_header = true;
            bytes.erase(0, header->size);
            if (opening_.servers == UpstreamTls::Implicit)
                each.tls = std::make_unique<ScriptedTlsServer>(shared().servers);
        }
        // Other words of the script may have been taken for consent.
        const std::size_t hello = bytes.find("\x16\x03\x01");
        if (!each.tls && opening_.servers != UpstreamTls::Off && hello != std::string::npos) {
            each.tls = std::make_unique<ScriptedTlsServer>(shared().servers);
            bytes.erase(0, hello);
        }
        if (each.tls) {
            each.pending += each.tls->answerTo(bytes);
            bytes = each.tls->heard();
        }
        if (secure_) heard_by_server_ += bytes;
    }
    void collectClient() {
        const std::string bytes = client_->heard();
        if (!peer_) return;
        peer_->gets(bytes);
        if (!SSL_is_init_finished(peer_->ssl()))
            peer_->advance();
        else
            heard_within_ += peer_->reads();
        from_client_ += peer_->sent();
    }

    void check() {
        require(!client_->wrote_behind_fin, "nothing is written behind a client's FIN");
        for (const Far& each : servers_)
            require(!each.peer->wrote_behind_fin, "nothing is written behind a server's FIN");
        require(!has(heard_within_, "evilserver"),
                "what a server says in the clear behind its consent is not heard within TLS");
        if (limited_) return;
        if (secure_ && opening_.clients == ListenerTls::StartTls && opening_.servers == UpstreamTls::Mirror &&
            !far().peer->closed)
            require(far().tls && far().tls->established(), "the server has TLS before the client has");
        require(isSubsequence(spelled(withoutOwnWords(heard_by_server_)), spelled(said_within_)),
                "a server hears what the client said within TLS, and nothing else");
    }

    static bool has(const std::string& text, std::string_view part) {
        return text.find(part) != std::string::npos;
    }
    /// What the gateway says itself to a server.
    std::string withoutOwnWords(std::string text) const {
        const std::string name = heloName("gw", *IpAddress::parse("203.0.113.10"));
        for (const std::string& own :
             {"EHLO " + name + "\r\n", "LHLO " + name + "\r\n", std::string("G0 STARTTLS\r\n"),
              std::string("G0 CAPABILITY\r\n"), std::string("STARTTLS\r\n"), std::string("STLS\r\n")}) {
            for (std::size_t at = text.find(own); at != std::string::npos; at = text.find(own))
                text.erase(at, own.size());
        }
        return text;
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

    const SecureOpening& opening_;
    const SecureWords words_;
    ScriptedHost host_;
    std::array<Far, 4> servers_;
    std::shared_ptr<ScriptedPeer> client_ = std::make_shared<ScriptedPeer>();
    std::optional<TlsPeer> peer_;  ///< the client's TLS, once it has begun
    Session* session_ = nullptr;
    std::string from_client_;  ///< on its way to the gateway
    std::string said_within_, heard_within_, heard_by_server_;
    std::size_t connections_ = 0;
    bool secure_ = false;   ///< the gateway has shaken hands with the client
    bool limited_ = false;  ///< somebody did not take all that it was given
};

}  // namespace mailgate::test
