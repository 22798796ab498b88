// SPDX-License-Identifier: Apache-2.0
/// \file  TLS over another transport, which it owns: as a server for clients, or as a client of mail servers.
///
/// The handshake is a step of its own: advance() until it is Done or has Failed; reads and writes come behind it.
/// What is read and written then is plain text, and the contract is Transport's: events tell of changes once, `more`
/// and `last` are true whatever is still inside OpenSSL, where epoll cannot see it.
///
/// What a write did not take has to come first in the next one: a part of it may have been sealed already. The records of
/// one write go below together, in as few calls as that takes. Between two calls nothing is kept but what OpenSSL keeps,
/// which is no buffer while the connection is idle, and sealed records that below has not taken yet.
///
/// To be used on the thread that made it, as all that is a session's.
///
/// What one call does is bounded, whatever the peer sends: how much it reads from below, how many records it opens. Key
/// updates and the like are counted against the bytes that come with them.
#pragma once

#include "gateway/io/transport.h"
#include "gateway/tls/client_context.h"
#include "gateway/tls/failure.h"
#include "gateway/tls/server_context.h"
#include "protocols/values/time.h"

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

struct ssl_st;

namespace mailgate {

struct TlsPeerCertificate {
    std::string subject;      ///< fit for a log line
    std::string common_name;  ///< empty: none
    std::string sha256;
    UnixSeconds not_after = 0;
    bool verified = false;
};

/// One of a chain, for people to read.
struct TlsChainCertificate {
    std::string subject, issuer;  ///< fit for a log line
    std::vector<std::string> names;
    std::string key_type;  ///< "RSA", "EC", …
    std::string sha256;
    UnixSeconds not_before = 0, not_after = 0;
};

/// Of an established connection.
struct TlsFacts {
    std::string_view version;  ///< "TLSv1.3": a text of OpenSSL's, which stays
    std::string_view cipher;   ///< "TLS_AES_256_GCM_SHA384": likewise
    std::string sni;           ///< the name that was asked for, fit for a log line; empty: none
    Millis handshake_ms = 0;
    std::unique_ptr<const TlsPeerCertificate> peer;  ///< null: it has shown none
    std::string_view fault{};  ///< how it ended, if that was wrong (TlsTransport::fault()); known then
    bool resumed = false;
};

class TlsTransport final : public Transport {
  public:
    struct Handshake {
        enum class State : std::uint8_t {
            Done,
            Wants,   ///< call again when an event has come, or as `again` says
            Failed,  ///< `failure` says why; the peer has been told, where TLS has words for it
        };
        State state;
        TlsFailure failure{};
        bool again =
            false;  ///< in a later turn: this was as much as is fair to others, and no event will tell
    };

    /// Take `below` over, over which nothing of the handshake has been read yet, or `early`. Null, and `below`
    /// untouched, when there is no memory.
    static std::unique_ptr<TlsTransport> accept(std::unique_ptr<Transport>& below,
                                                const std::shared_ptr<const TlsServerContext>& context,
                                                std::string early = {}) noexcept;
    /// `server_name`: asked for, and what the certificate must be for unless the context does not verify; an address is
    /// compared, and not sent. Empty only for a context that does not verify. `peer`: sessions with who has the same are
    /// resumed, so it says which server this is and under which name it was verified; empty: hands are shaken in full.
    static std::unique_ptr<TlsTransport> connect(std::unique_ptr<Transport>& below,
                                                 const std::shared_ptr<const TlsClientContext>& context,
                                                 const std::string& server_name,
                                                 const std::string& peer = {}) noexcept;

    ~TlsTransport() override;
    TlsTransport(const TlsTransport&) = delete;
    TlsTransport& operator=(const TlsTransport&) = delete;

    /// One step of the handshake. `now`: the owner's clock; the first step starts it.
    Handshake advance(Millis now) noexcept;
    bool established() const noexcept { return established_; }
    /// The peer has sent something.
    bool heard() const noexcept { return !first_byte_; }
    /// Gives back what is below, to be read to its end in the clear after a handshake that failed. Then this is of no more
    /// use.
    std::unique_ptr<Transport> release() noexcept { return std::move(below_); }
    TlsFacts facts() const;
    // What facts() says of each, without the rest. The texts are OpenSSL's, and stay.
    std::string_view version() const noexcept;
    std::string_view cipher() const noexcept;
    bool resumed() const noexcept;
    /// 0: the peer has shown no certificate.
    UnixSeconds peerNotAfter() const noexcept;
    bool peerVerified() const noexcept;
    /// What is wrong with the peer's certificate, whether the handshake hung on that or not; None: nothing.
    TlsFailure verdict() const noexcept;
    /// The same in OpenSSL's words.
    std::string_view verdictText() const noexcept;
    /// What the peer has shown, its own certificate first.
    std::vector<TlsChainCertificate> chain() const;

    /// The peer's end came without a close_notify: bytes before it may be missing.
    bool truncated() const noexcept { return truncated_; }
    /// Why reading or writing gave EPROTO.
    TlsFailure failure() const noexcept { return failure_; }
    /// TLS could not go on, though the connection below could have; failure() says why.
    bool broken() const noexcept { return failure_ && failure_.reason != TlsFailure::Reason::ConnectionLost; }
    /// What was wrong with its end, for logs: a failure, or "truncated". Empty: nothing, or it was the connection's.
    std::string_view fault() const noexcept {
        if (broken()) return toString(failure_);
        return truncated_ ? "truncated" : "";
    }

    bool watch(bool writable) noexcept override { return below_->watch(writable); }
    void note(std::uint32_t events) noexcept override;
    bool readable() const noexcept override;
    IoResult read(std::span<char> into) noexcept override;
    IoResult write(std::string_view bytes) noexcept override;
    bool canSplice() const noexcept override { return false; }
    IoResult spliceTo(Pipe& pipe) noexcept override;
    IoResult spliceFrom(Pipe& pipe) noexcept override;
    int peek() noexcept override;
    /// Sends close_notify, then FIN; reading goes on.
    void shutdownWrite() noexcept override;
    /// Without a close_notify, too.
    void resetOnClose() noexcept override;
    void notifyWritable() noexcept override { below_->notifyWritable(); }
    std::size_t unacknowledged() const noexcept override { return below_->unacknowledged(); }
    void acknowledge() noexcept override { below_->acknowledge(); }
    void noDelay() noexcept override { below_->noDelay(); }
    void keepAlive() noexcept override { below_->keepAlive(); }

  private:
    struct Callbacks;
    struct Sealed;

    explicit TlsTransport(std::shared_ptr<const void> context) noexcept;
    static std::unique_ptr<TlsTransport> make(std::unique_ptr<Transport>& below,
                                              std::shared_ptr<const void> context,
                                              ssl_ctx_st* openssl_context) noexcept;
    bool expect(const std::string& server_name) noexcept;

    bool readableBelow() const noexcept { return early_ || below_->readable(); }
    IoResult readBelow(std::span<char> into) noexcept;
    int takeFromBelow(char* into, int size) noexcept;
    int giveToBelow(const char* bytes, int size) noexcept;
    int writeBelow(std::string_view bytes) noexcept;
    bool seal(std::string_view bytes) noexcept;
    bool flushSealed() noexcept;
    void begin() noexcept;
    void stopped(int result) noexcept;
    TlsFailure handshakeFailure(int error) noexcept;
    TlsFailure opensslFailure() noexcept;
    Handshake fail(TlsFailure failure) noexcept;
    void breakOff(TlsFailure failure, int error) noexcept;
    void countBytes(std::size_t bytes) noexcept;
    void finishWriting() noexcept;

    std::shared_ptr<const void> context_;  ///< what OpenSSL's callbacks look into
    std::unique_ptr<Transport> below_;
    std::unique_ptr<std::string> early_;  ///< read from below before this came to be; null: nothing is left
    ssl_st* ssl_ = nullptr;
    std::unique_ptr<Sealed> sealed_;  ///< records that below has not taken yet; null: none
    Millis started_ = -1;
    std::uint32_t handshake_ms_ = 0;
    std::uint32_t handshake_bytes_ = 0;
    std::uint32_t progress_ = 0;   ///< bytes of plain text towards the next credit
    std::uint16_t credit_ = 64;    ///< messages that are not plain text, still to be borne
    std::uint8_t reads_left_ = 0;  ///< from below, in this call
    std::uint8_t writes_ = 0;      ///< to below, in this call
    int error_ = 0;                ///< errno of below, or EPROTO
    TlsFailure failure_;
    bool established_ = false;
    bool verifies_ = false;   ///< the peer's certificate
    bool first_byte_ = true;  ///< is still to come
    bool not_tls_ = false;
    bool speaks_tls_ = false;   ///< a handshake message of the peer has been read
    bool below_ended_ = false;  ///< its end has been read
    bool ended_ = false;        ///< the peer's end has been reached, or comes behind what is read
    bool truncated_ = false;
    bool buffered_ = false;     ///< a read may give something without anything from below
    bool gathers_ = false;      ///< what OpenSSL writes goes to sealed_
    bool wants_write_ = false;  ///< a read cannot go on before something is written
    bool resets_ = false;       ///< there will be no close_notify
    bool closing_ = false;      ///< close_notify is due, and FIN behind it
};

}  // namespace mailgate
