// SPDX-License-Identifier: Apache-2.0
#include "protocols/mail_protocol.h"

#include "protocols/imap/imap_protocol.h"
#include "protocols/pop3/pop3_protocol.h"
#include "protocols/sieve/sieve_protocol.h"
#include "protocols/smtp/smtp_protocol.h"
#include "protocols/tcp/tcp_protocol.h"

namespace mailgate {

namespace {

constexpr std::size_t kMaxGreetingBytes = 1000;

/// By Protocol.
constexpr const ProtocolTraits* kRegistry[] = {
    &smtp::kSmtp, &imap::kImap, &pop3::kPop3, &smtp::kLmtp, &sieve::kSieve, &tcp::kTcp,
};
static_assert(std::size(kRegistry) == std::size(kProtocolWords));

}  // namespace

const ProtocolTraits& traitsOf(Protocol protocol) noexcept {
    return *kRegistry[static_cast<std::size_t>(protocol)];
}

std::unique_ptr<StreamFilter> makeFilter(Protocol protocol, SessionFacts& facts, const ScreenConfig& screen,
                                         MailSink* sink) {
    return traitsOf(protocol).make_filter(facts, screen, sink);
}

Greeting judgeGreeting(Protocol protocol, std::string_view bytes) noexcept {
    const ProtocolTraits& traits = traitsOf(protocol);
    if (traits.opaque()) return bytes.empty() ? Greeting::Incomplete : Greeting::Welcome;

    const std::size_t end = bytes.substr(0, kMaxGreetingBytes).find('\n');
    if (end == std::string_view::npos) {
        return bytes.size() < kMaxGreetingBytes ? Greeting::Incomplete : Greeting::Foreign;
    }
    return traits.judge_greeting(withoutLineEnd(bytes.substr(0, end + 1)));
}

}  // namespace mailgate
