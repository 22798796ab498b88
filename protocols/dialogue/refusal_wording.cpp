// SPDX-License-Identifier: Apache-2.0
#include "protocols/dialogue/refusal_wording.h"

#include <algorithm>

namespace mailgate {

namespace {

constexpr std::size_t kMaxGatewayBytes = 255;
constexpr std::size_t kMaxClientBytes = 64;
constexpr std::size_t kMaxSessionBytes = 64;

}  // namespace

std::string cleaned(std::string_view text, std::size_t limit) {
    std::string clean(text.substr(0, limit));
    std::replace_if(
        clean.begin(), clean.end(), [](char c) { return c < 0x20 || c > 0x7e || c == '"' || c == '\\'; },
        '?');
    return clean;
}

RefusalNames::RefusalNames(const RefusalText& text)
    : gateway(cleaned(text.gateway, kMaxGatewayBytes)),
      client(cleaned(text.client, kMaxClientBytes)),
      session(cleaned(text.session, kMaxSessionBytes)) {}

std::string sentenceOf(const Wording& wording, const RefusalNames& names) {
    std::string sentence(wording.sentence);
    const std::size_t client = sentence.find("{}");
    if (client != std::string::npos) sentence.replace(client, 2, names.client);
    return sentence;
}

std::string unquotedReplyLine(const Wording& wording, const RefusalNames& names) {
    return std::string(wording.code) + " " + sentenceOf(wording, names) + " (" + names.session + ")\r\n";
}

}  // namespace mailgate
