// SPDX-License-Identifier: Apache-2.0
// Two readings of the input. As a dialogue (filter_fuzz.h), for SMTP and for LMTP: the facts keep their bounds, and
// neither they nor what goes on depend on how the bytes were split. And as what a client says, turn after turn and in pieces, to
// servers that read as Postfix, Exim and Dovecot do, where the gateway offers TLS and where it does not: the facts name the mail that the server took and no other, and XCLIENT
// and XFORWARD never reach it as commands.

#include "protocols/smtp/smtp_protocol.h"
#include "tests/fuzz/filter_fuzz.h"
#include "tests/support/smtp_servers.h"

namespace mailgate::fuzz {
namespace {

class Beyond final : public MailSink {
  public:
    void onMail(const MailTransaction& mail, std::uint32_t /*number*/) noexcept override {
        all.push_back(mail);
    }
    std::vector<MailTransaction> all;
};

/// Several can hardly be told apart in a message: each by its count. Only what is kept whole is compared.
void requireSame(const std::vector<MailTransaction>& seen, const std::vector<test::TakenMail>& taken) {
    std::size_t next = 0;
    for (const MailTransaction& mail : seen) {
        if (!mail.accepted) continue;
        require(next < taken.size());
        const test::TakenMail& other = taken[next++];
        require(mail.from == other.from.substr(0, kMaxMailboxBytes));
        require(mail.recipient_count == other.recipients.size());
        for (std::size_t at = 0; at < mail.recipients.size(); ++at)
            require(mail.truncated ||
                    mail.recipients[at] == other.recipients[at].substr(0, kMaxMailboxBytes));
    }
    require(next == taken.size());
}

template <typename Server>
void serve(const ProtocolTraits& protocol, const ScreenConfig& screen, const test::Turns& turns,
           std::size_t piece) {
    Server server;
    Beyond beyond;
    test::Player player(protocol, screen, &beyond);
    std::size_t received = 0;
    player.play(Side::Server, server.greeting);
    for (const test::Turn& turn : turns) {
        converse(player, server, turn.bytes, piece, received);
        player.beginTls();
    }
    require(!server.sawForeign());
    std::vector<MailTransaction> seen = player.finish().facts.transactions;
    seen.insert(seen.end(), beyond.all.begin(), beyond.all.end());
    requireSame(seen, server.taken());
}

}  // namespace
}  // namespace mailgate::fuzz

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    using namespace mailgate;
    fuzz::observe(smtp::kSmtp, data, size);
    fuzz::observe(smtp::kLmtp, data, size);
    const test::Turns client = fuzz::turnsIn({reinterpret_cast<const char*>(data), size});
    for (const BareLfPolicy bare_lf : {BareLfPolicy::Normalize, BareLfPolicy::Reject}) {
        for (const TlsPolicy& tls : {TlsPolicy{}, test::kOffered.tls}) {
            const ScreenConfig screen{.bare_lf = bare_lf, .tls = tls};
            for (const std::size_t piece : {std::size_t{1}, std::size_t{9}, size + 1}) {
                fuzz::serve<test::PostfixLike>(smtp::kSmtp, screen, client, piece);
                fuzz::serve<test::EximLike>(smtp::kSmtp, screen, client, piece);
                fuzz::serve<test::DovecotLike>(smtp::kLmtp, screen, client, piece);
            }
        }
    }
    return 0;
}
