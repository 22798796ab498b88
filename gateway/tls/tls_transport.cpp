// SPDX-License-Identifier: Apache-2.0
#include "gateway/tls/tls_transport.h"

#include "gateway/io/session_set.h"
#include "gateway/tls/openssl.h"
#include "protocols/values/address.h"
#include "protocols/values/text.h"

#include <openssl/err.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <limits>
#include <new>
#include <utility>

namespace mailgate {
namespace {

using Reason = TlsFailure::Reason;

constexpr char kHandshakeRecord = 22;
constexpr char kAlertRecord = 21;

// A full record is 16 KiB: eight of them fill the largest buffer of a relay, and a ninth may be begun.
constexpr std::uint8_t kReadsPerCall = 10;
// Records may be of one byte each, or of none.
constexpr int kRecordsPerCall = 128;
// Certificates of clients are the largest that there is in it (OpenSSL's own limit for a chain: 100 KiB).
constexpr std::uint32_t kMaxHandshakeBytes = std::uint32_t{256} << 10;
// A key update is due after gigabytes: one for each of these is beyond reason.
constexpr std::uint32_t kBytesPerCredit = std::uint32_t{16} << 10;
constexpr std::uint16_t kMaxCredit = 64;

// As many records as a relay writes at once, whatever the cipher adds to them.
constexpr std::size_t kSealedBytes = std::size_t{8} * SSL3_RT_MAX_PACKET_SIZE;

/// The keys that the handshake was agreed with, of which nobody has any more use: OpenSSL keeps them as long as the
/// connection. Their shells stay, some 400 bytes go.
void emptyEphemeralKeys(SSL* ssl) noexcept {
    const auto empty = [](EVP_PKEY* key) {
        EVP_PKEY_set_type(key, EVP_PKEY_get_id(key));
        EVP_PKEY_free(key);
    };
    EVP_PKEY* key = nullptr;
    if (SSL_get_tmp_key(ssl, &key) == 1) empty(key);
    if (SSL_get_peer_tmp_key(ssl, &key) == 1) empty(key);
    ERR_clear_error();
}

}  // namespace

/// Records on their way. A write seals what it can into the thread's spare one; a connection keeps it only where below
/// has not taken all.
struct TlsTransport::Sealed {
    std::uint32_t begin = 0;
    std::uint32_t end = 0;
    std::uint32_t untaken = 0;  ///< plain text in it that no write has reported as taken
    std::uint32_t last = 0;     ///< ... of the last record
    char bytes[kSealedBytes];

    std::size_t room() const noexcept { return kSealedBytes - end; }

    static std::unique_ptr<Sealed>& spare() noexcept {
        thread_local std::unique_ptr<Sealed> kept;
        return kept;
    }
    /// Null when there is no memory.
    static std::unique_ptr<Sealed> borrow() noexcept {
        if (spare()) return std::move(spare());
        return std::unique_ptr<Sealed>(new (std::nothrow) Sealed);
    }
    static void giveBack(std::unique_ptr<Sealed> sealed) noexcept {
        sealed->begin = sealed->end = sealed->untaken = sealed->last = 0;
        if (!spare()) spare() = std::move(sealed);
    }
};

/// What OpenSSL calls back, in the middle of a call that begin() has announced. So connections of a thread can share one
/// BIO, which has nothing to remember: some 200 bytes less for each.
struct TlsTransport::Callbacks {
    static TlsTransport*& current() noexcept {
        thread_local TlsTransport* caller = nullptr;
        return caller;
    }
    /// Null when there is no memory.
    static BIO* shared() noexcept {
        thread_local const openssl::Bio bio(method() ? BIO_new(method()) : nullptr);
        return bio.get();
    }

    static int onRead(BIO* bio, char* into, int size) noexcept {
        BIO_clear_retry_flags(bio);
        const int got = size > 0 ? current()->takeFromBelow(into, size) : 0;
        if (got <= 0) BIO_set_retry_read(bio);
        return got > 0 ? got : -1;
    }

    static int onWrite(BIO* bio, const char* bytes, int size) noexcept {
        BIO_clear_retry_flags(bio);
        const int put = size > 0 ? current()->giveToBelow(bytes, size) : 0;
        if (put == 0) BIO_set_retry_write(bio);
        return put > 0 ? put : -1;
    }

    static long onControl(BIO*, int command, long, void*) noexcept {
        // The end is never shown to OpenSSL, which would make an error of it, and refuse to write from then on.
        return command == BIO_CTRL_FLUSH ? 1 : 0;
    }

    static int onCreate(BIO* bio) noexcept {
        BIO_set_init(bio, 1);
        return 1;
    }

    static void onMessage(int sent, int, int type, const void*, std::size_t, SSL*, void* self) noexcept {
        auto& transport = *static_cast<TlsTransport*>(self);
        if (sent || type != SSL3_RT_HANDSHAKE) return;
        transport.speaks_tls_ = true;
        if (transport.established_ && transport.credit_ > 0) --transport.credit_;
    }

    static const BIO_METHOD* method() noexcept {
        static const BIO_METHOD* const made = [] {
            BIO_METHOD* method = BIO_meth_new(BIO_get_new_index() | BIO_TYPE_SOURCE_SINK, "transport");
            if (method && BIO_meth_set_read(method, &onRead) == 1 &&
                BIO_meth_set_write(method, &onWrite) == 1 && BIO_meth_set_ctrl(method, &onControl) == 1 &&
                BIO_meth_set_create(method, &onCreate) == 1) {
                return method;
            }
            BIO_meth_free(method);
            return static_cast<BIO_METHOD*>(nullptr);
        }();
        return made;
    }
};

TlsTransport::TlsTransport(std::shared_ptr<const void> context) noexcept : context_(std::move(context)) {}

std::unique_ptr<TlsTransport> TlsTransport::make(std::unique_ptr<Transport>& below,
                                                 std::shared_ptr<const void> context,
                                                 SSL_CTX* openssl_context) noexcept {
    std::unique_ptr<TlsTransport> made(new (std::nothrow) TlsTransport(std::move(context)));
    BIO* const bio = Callbacks::shared();
    if (!made || !bio) return nullptr;
    made->ssl_ = SSL_new(openssl_context);
    if (!made->ssl_ || BIO_up_ref(bio) != 1) return nullptr;
    SSL_set_bio(made->ssl_, bio, bio);
    SSL_set_msg_callback(made->ssl_, &Callbacks::onMessage);
    SSL_set_msg_callback_arg(made->ssl_, made.get());
    made->verifies_ = SSL_get_verify_mode(made->ssl_) != SSL_VERIFY_NONE;
    made->below_ = std::move(below);
    return made;
}

std::unique_ptr<TlsTransport> TlsTransport::accept(std::unique_ptr<Transport>& below,
                                                   const std::shared_ptr<const TlsServerContext>& context,
                                                   std::string early) noexcept {
    std::unique_ptr<std::string> kept;
    if (!early.empty()) {
        kept.reset(new (std::nothrow) std::string(std::move(early)));
        if (!kept) return nullptr;
    }
    auto made = make(below, context, context->context());
    if (!made) return nullptr;
    SSL_set_accept_state(made->ssl_);
    made->early_ = std::move(kept);
    return made;
}

std::unique_ptr<TlsTransport> TlsTransport::connect(std::unique_ptr<Transport>& below,
                                                    const std::shared_ptr<const TlsClientContext>& context,
                                                    const std::string& server_name,
                                                    const std::string& peer) noexcept {
    auto made = make(below, context, context->context());
    if (!made) return nullptr;
    SSL_set_connect_state(made->ssl_);
    if (made->expect(server_name)) {
        if (!peer.empty()) context->resume(made->ssl_, peer);
        return made;
    }
    below = std::move(made->below_);
    return nullptr;
}

bool TlsTransport::expect(const std::string& server_name) noexcept {
    // Without a name to compare any certificate of the CA would do.
    if (server_name.empty()) return !verifies_;
    if (const auto address = IpAddress::parse(server_name)) {
        const std::size_t skip = address->isV4() ? 12 : 0;
        return X509_VERIFY_PARAM_set1_ip(SSL_get0_param(ssl_), address->bytes.data() + skip,
                                         address->bytes.size() - skip) == 1;
    }
    // RFC 9525 2: a name that stands in the subject alone is none.
    SSL_set_hostflags(ssl_, X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS | X509_CHECK_FLAG_NEVER_CHECK_SUBJECT);
    return SSL_set_tlsext_host_name(ssl_, server_name.c_str()) == 1 &&
           SSL_set1_host(ssl_, server_name.c_str()) == 1;
}

TlsTransport::~TlsTransport() {
    SSL_free(ssl_);
}

/// Of a call from outside: what it may do starts anew. What others left in OpenSSL's queue of errors, which belongs
/// to the thread, would be taken for ours.
void TlsTransport::begin() noexcept {
    Callbacks::current() = this;
    reads_left_ = kReadsPerCall;
    writes_ = 0;
    ERR_clear_error();
}

IoResult TlsTransport::readBelow(std::span<char> into) noexcept {
    if (!early_) return below_->read(into);
    const std::size_t bytes = early_->copy(into.data(), into.size());
    early_->erase(0, bytes);
    if (early_->empty()) early_.reset();
    return {IoStatus::Ok, bytes};
}

/// 0: nothing now, or never again: the flags know.
int TlsTransport::takeFromBelow(char* into, int size) noexcept {
    if (below_ended_ || not_tls_ || error_ || credit_ == 0) return 0;
    if (reads_left_ == 0 || !readableBelow()) return 0;
    --reads_left_;
    const IoResult got = readBelow({into, static_cast<std::size_t>(size)});
    below_ended_ = got.last || got.status == IoStatus::Eof;
    if (got.status == IoStatus::Error) error_ = got.error;
    if (got.status != IoStatus::Ok || got.bytes == 0) return 0;
    if (std::exchange(first_byte_, false) && into[0] != kHandshakeRecord && into[0] != kAlertRecord) {
        not_tls_ = true;
        return 0;
    }
    if (!established_) handshake_bytes_ += static_cast<std::uint32_t>(got.bytes);
    return static_cast<int>(got.bytes);
}

/// 0: not now; less: the connection is gone.
int TlsTransport::giveToBelow(const char* bytes, int size) noexcept {
    if (gathers_) {
        const std::size_t taken = std::min(sealed_->room(), static_cast<std::size_t>(size));
        std::memcpy(sealed_->bytes + sealed_->end, bytes, taken);
        sealed_->end += static_cast<std::uint32_t>(taken);
        return static_cast<int>(taken);
    }
    if (!flushSealed()) return error_ ? -1 : 0;
    return writeBelow({bytes, static_cast<std::size_t>(size)});
}

/// As giveToBelow().
int TlsTransport::writeBelow(std::string_view bytes) noexcept {
    // The second piece would wait for the peer to acknowledge the first (Nagle's algorithm).
    if (writes_ > 0) below_->noDelay();
    if (writes_ < std::numeric_limits<std::uint8_t>::max()) ++writes_;
    const IoResult put = below_->write(bytes);
    switch (put.status) {
        case IoStatus::Ok:
            return static_cast<int>(put.bytes);
        case IoStatus::WouldBlock:
            return 0;
        case IoStatus::Eof:
        case IoStatus::Error:
            break;
    }
    if (!error_) error_ = put.error;
    return -1;
}

/// True: nothing is left. Else not now, or the connection is gone: then error_ is set.
bool TlsTransport::flushSealed() noexcept {
    if (!sealed_) return true;
    const int put = writeBelow({sealed_->bytes + sealed_->begin, sealed_->end - sealed_->begin});
    if (put > 0) sealed_->begin += static_cast<std::uint32_t>(put);
    if (sealed_->begin < sealed_->end) return false;
    Sealed::giveBack(std::move(sealed_));
    return true;
}

TlsTransport::Handshake TlsTransport::advance(Millis now) noexcept {
    if (failure_) return {Handshake::State::Failed, failure_};
    if (established_) return {Handshake::State::Done};
    if (started_ < 0) started_ = now;
    begin();
    const int result = SSL_do_handshake(ssl_);
    if (result == 1) {
        established_ = true;
        handshake_ms_ = static_cast<std::uint32_t>(now - started_);
        emptyEphemeralKeys(ssl_);
        buffered_ = SSL_has_pending(ssl_) == 1 || below_ended_;
        return {Handshake::State::Done};
    }
    const int error = SSL_get_error(ssl_, result);
    if (const TlsFailure failure = handshakeFailure(error)) return fail(failure);
    if (error == SSL_ERROR_WANT_WRITE) below_->notifyWritable();
    return {Handshake::State::Wants, {}, error == SSL_ERROR_WANT_READ && readableBelow()};
}

TlsFailure TlsTransport::handshakeFailure(int error) noexcept {
    if (error == SSL_ERROR_SSL) return opensslFailure();
    if (not_tls_) return {Reason::NotTls};
    if (error_) return {Reason::ConnectionLost};
    if (error == SSL_ERROR_WANT_READ && below_ended_) return {Reason::PeerClosed};
    if (handshake_bytes_ > kMaxHandshakeBytes) return {Reason::TooLarge};
    if (error == SSL_ERROR_WANT_READ || error == SSL_ERROR_WANT_WRITE) return {};
    return {Reason::ProtocolError};
}

TlsFailure TlsTransport::opensslFailure() noexcept {
    const TlsFailure failure = takeErrors(SSL_get_verify_result(ssl_));
    // Whoever has sent a message of TLS has not come to the wrong port.
    return failure.reason == Reason::NotTls && speaks_tls_ ? TlsFailure{Reason::ProtocolError} : failure;
}

TlsTransport::Handshake TlsTransport::fail(TlsFailure failure) noexcept {
    breakOff(failure, error_ ? error_ : EPROTO);
    return {Handshake::State::Failed, failure_};
}

void TlsTransport::breakOff(TlsFailure failure, int error) noexcept {
    failure_ = failure;
    error_ = error;
    ERR_clear_error();
}

void TlsTransport::note(std::uint32_t events) noexcept {
    below_->note(events);
    if (!(events & kWritable)) return;
    if (std::exchange(wants_write_, false)) buffered_ = true;
    if (closing_) finishWriting();
}

bool TlsTransport::readable() const noexcept {
    if (wants_write_) return false;
    return buffered_ || failure_ || (!ended_ && !below_ended_ && readableBelow());
}

IoResult TlsTransport::read(std::span<char> into) noexcept {
    begin();
    buffered_ = false;
    std::size_t total = 0;
    if (!failure_ && !ended_) {
        int records = 0;
        while (total < into.size() && records < kRecordsPerCall) {
            std::size_t got = 0;
            ERR_clear_error();
            const int result = SSL_read_ex(ssl_, into.data() + total, into.size() - total, &got);
            if (result != 1) {
                stopped(result);
                break;
            }
            total += got;
            ++records;
        }
        // Where nothing stopped it there may be more inside, or below: the next read finds out.
        const bool full = total == into.size() || records == kRecordsPerCall;
        if (full) buffered_ = SSL_has_pending(ssl_) == 1 || below_ended_;
        countBytes(total);
    }
    IoResult result;
    if (total > 0) {
        result = {IoStatus::Ok, total};
        result.last = ended_;
    } else if (failure_) {
        result = {IoStatus::Error, 0, error_};
    } else if (ended_) {
        result = {IoStatus::Eof};
    } else if (!into.empty()) {
        result = {IoStatus::WouldBlock};
    }
    result.more = !ended_ && readable();
    return result;
}

/// Why a read gave nothing.
void TlsTransport::stopped(int result) noexcept {
    switch (SSL_get_error(ssl_, result)) {
        case SSL_ERROR_WANT_READ:
            if (error_) return breakOff({Reason::ConnectionLost}, error_);
            ended_ = truncated_ = below_ended_;
            return;
        case SSL_ERROR_ZERO_RETURN:
            ended_ = true;
            return;
        case SSL_ERROR_WANT_WRITE:
            wants_write_ = true;
            below_->notifyWritable();
            return;
        case SSL_ERROR_SSL:
            return breakOff(opensslFailure(), EPROTO);
        default:
            return breakOff({Reason::ConnectionLost}, error_ ? error_ : EPROTO);
    }
}

void TlsTransport::countBytes(std::size_t bytes) noexcept {
    if (credit_ == 0 && !failure_) breakOff({Reason::Flood}, EPROTO);
    progress_ += static_cast<std::uint32_t>(bytes);
    const std::uint32_t earned = progress_ / kBytesPerCredit;
    progress_ %= kBytesPerCredit;
    credit_ = static_cast<std::uint16_t>(std::min<std::uint32_t>(kMaxCredit, credit_ + earned));
}

IoResult TlsTransport::write(std::string_view bytes) noexcept {
    if (failure_) return {IoStatus::Error, 0, error_};
    // An empty write asks how connecting goes.
    if (bytes.empty()) return established_ ? IoResult{} : below_->write(bytes);
    // As a socket answers behind its FIN; OpenSSL would not read either any more.
    if (SSL_get_shutdown(ssl_) & SSL_SENT_SHUTDOWN) return {IoStatus::Error, 0, EPIPE};
    begin();
    std::size_t taken = 0;
    while (taken < bytes.size()) {
        if (!sealed_ && !seal(bytes.substr(taken))) break;
        const std::uint32_t untaken = sealed_->untaken, last = sealed_->last;
        if (untaken > bytes.size() - taken)
            return {IoStatus::Error, 0, EPROTO};  // not what was to come first
        if (flushSealed()) {
            taken += untaken;
            continue;
        }
        // The last record counts as taken once all is out: whoever waits for that asks for the rest.
        taken += untaken - last;
        sealed_->untaken = last;
        break;
    }
    if (failure_ || error_) return {IoStatus::Error, 0, error_ ? error_ : EPIPE};
    return taken > 0 ? IoResult{IoStatus::Ok, taken} : IoResult{IoStatus::WouldBlock};
}

/// As many whole records of `bytes` as there is room for, into sealed_. False: none, and sealed_ is as it was.
bool TlsTransport::seal(std::string_view bytes) noexcept {
    sealed_ = Sealed::borrow();
    if (!sealed_) {
        error_ = ENOMEM;
        return false;
    }
    gathers_ = true;
    while (!bytes.empty() && sealed_->room() >= SSL3_RT_MAX_PACKET_SIZE) {
        std::size_t put = 0;
        const int result = SSL_write_ex(ssl_, bytes.data(), bytes.size(), &put);
        if (result != 1) {
            if (SSL_get_error(ssl_, result) == SSL_ERROR_SSL) breakOff(opensslFailure(), EPROTO);
            break;
        }
        bytes.remove_prefix(put);
        sealed_->last = static_cast<std::uint32_t>(put);
        sealed_->untaken += sealed_->last;
    }
    gathers_ = false;
    if (sealed_->end > 0 && !failure_) return true;
    Sealed::giveBack(std::move(sealed_));
    return false;
}

IoResult TlsTransport::spliceTo(Pipe&) noexcept {
    return {IoStatus::Error, 0, EOPNOTSUPP};
}

IoResult TlsTransport::spliceFrom(Pipe&) noexcept {
    return {IoStatus::Error, 0, EOPNOTSUPP};
}

int TlsTransport::peek() noexcept {
    if (started_ < 0) return below_->peek();
    if (!established_ || failure_ || ended_) return -1;
    begin();
    unsigned char first = 0;
    std::size_t got = 0;
    const int result = SSL_peek_ex(ssl_, &first, 1, &got);
    if (result != 1) {
        stopped(result);
        if (ended_ || failure_) buffered_ = true;
        return -1;
    }
    buffered_ = true;
    return first;
}

void TlsTransport::resetOnClose() noexcept {
    resets_ = true;
    below_->resetOnClose();
}

void TlsTransport::shutdownWrite() noexcept {
    if (resets_) return;
    if (!established_ || failure_) return below_->shutdownWrite();
    closing_ = true;
    finishWriting();
}

void TlsTransport::finishWriting() noexcept {
    begin();
    const int result = SSL_shutdown(ssl_);
    if (result < 0 && SSL_get_error(ssl_, result) == SSL_ERROR_WANT_WRITE) return below_->notifyWritable();
    ERR_clear_error();
    closing_ = false;
    below_->shutdownWrite();
}

TlsFacts TlsTransport::facts() const {
    TlsFacts facts;
    facts.version = version();
    facts.cipher = cipher();
    if (const char* name = SSL_get_servername(ssl_, TLSEXT_NAMETYPE_host_name))
        facts.sni = printable(name, 255);
    facts.resumed = resumed();
    facts.handshake_ms = handshake_ms_;
    if (const X509* certificate = SSL_get0_peer_certificate(ssl_)) {
        facts.peer = std::make_unique<TlsPeerCertificate>(
            TlsPeerCertificate{openssl::subjectOf(certificate), openssl::commonNameOf(certificate),
                               openssl::sha256Of(certificate),
                               openssl::seconds(X509_get0_notAfter(certificate)), peerVerified()});
    }
    return facts;
}

std::string_view TlsTransport::version() const noexcept {
    return SSL_get_version(ssl_);
}

std::string_view TlsTransport::cipher() const noexcept {
    const char* name = SSL_get_cipher_name(ssl_);
    return name ? name : "";
}

bool TlsTransport::resumed() const noexcept {
    return SSL_session_reused(ssl_) == 1;
}

UnixSeconds TlsTransport::peerNotAfter() const noexcept {
    const X509* certificate = SSL_get0_peer_certificate(ssl_);
    return certificate ? openssl::seconds(X509_get0_notAfter(certificate)) : 0;
}

bool TlsTransport::peerVerified() const noexcept {
    return verifies_ && SSL_get0_peer_certificate(ssl_) && SSL_get_verify_result(ssl_) == X509_V_OK;
}

TlsFailure TlsTransport::verdict() const noexcept {
    return failureOf(SSL_get_verify_result(ssl_));
}

std::string_view TlsTransport::verdictText() const noexcept {
    return X509_verify_cert_error_string(SSL_get_verify_result(ssl_));
}

std::vector<TlsChainCertificate> TlsTransport::chain() const {
    std::vector<TlsChainCertificate> all;
    const STACK_OF(X509)* shown = SSL_get_peer_cert_chain(ssl_);
    for (int i = 0; i < sk_X509_num(shown); ++i) {
        X509* const certificate = sk_X509_value(shown, i);
        bool any = false;
        const EVP_PKEY* key = X509_get0_pubkey(certificate);
        const char* type = key ? EVP_PKEY_get0_type_name(key) : nullptr;
        all.push_back({openssl::subjectOf(certificate), openssl::issuerOf(certificate),
                       openssl::hostNamesOf(certificate, any), type ? type : "",
                       openssl::sha256Of(certificate), openssl::seconds(X509_get0_notBefore(certificate)),
                       openssl::seconds(X509_get0_notAfter(certificate))});
    }
    return all;
}

}  // namespace mailgate
