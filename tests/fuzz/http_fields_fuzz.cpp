// SPDX-License-Identifier: Apache-2.0
// What is read of HTTP requests before Poco does, or beside it: whether one is whole, its chunks, cookies, what proxies say of the client.

#include "gateway/answers/mask.h"
#include "gateway/console/authenticator.h"
#include "gateway/console/forms.h"
#include "gateway/console/html.h"
#include "gateway/console/screens.h"
#include "gateway/http/chunks.h"
#include "gateway/http/request_head.h"

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>

using namespace mailgate;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    constexpr std::size_t kMostHead = 4'096, kMostBody = 256;
    const std::string text(reinterpret_cast<const char*>(data), size);
    // What was said of it stays so, whatever comes behind it; and there is an end of waiting.
    const http::RequestHead head = http::readHead(text, kMostHead, kMostBody);
    const auto state = head.state;
    if (state == http::RequestState::Whole || state == http::RequestState::Malformed) {
        if (http::readHead(text + "\r\n\r\nx", kMostHead, kMostBody).state != state) std::abort();
    } else if (state != http::RequestState::TooLong && size >= kMostHead + kMostBody) {
        std::abort();
    }
    if (http::isProbe(head) && state != http::RequestState::Whole) std::abort();

    // However the network cuts it, it is the same body.
    http::ChunkDecoder at_once, in_pieces;
    std::string body, same_body;
    const auto end = at_once.take(text, body);
    auto end_in_pieces = http::ChunkDecoder::State::Incomplete;
    for (std::size_t at = 0; at < size && end_in_pieces == http::ChunkDecoder::State::Incomplete; ++at)
        end_in_pieces = in_pieces.take(std::string_view(text).substr(at, 1), same_body);
    if (end_in_pieces != end || same_body != body || body.size() > size) std::abort();

    for (const auto& [name, field] : console::multipartFields(text, "x"))
        if (text.find(field) == std::string::npos) std::abort();
    const std::string boundary = console::boundaryOf(text);
    if (boundary.size() > text.size()) std::abort();

    for (const std::string& value : console::cookiesNamed(text, "mailgate"))
        if (text.find("mailgate=" + value) == std::string::npos) std::abort();
    if (state == http::RequestState::Whole) {
        if (head.body.size() > size || http::fieldIn(head.fields, "X-Forwarded-For").size() > size)
            std::abort();
        if (head.target.empty()) std::abort();
    }

    for (const auto& [name, field] : console::formFields(text))
        if (name.size() + field.size() > text.size()) std::abort();
    const std::string shown = console::htmlText(text);
    if (shown.find_first_of("<>\"'\n\r") != std::string::npos) std::abort();

    // Who sees masked texts cannot ask for what was masked.
    const AddressBytes client = IpAddress::parse("192.0.2.7").value().bytes;
    const std::string masked = answers::maskedText(text, client);
    if (answers::maskedText(masked, client) != masked) std::abort();
    if (masked != text && !answers::tellsAddress(text)) std::abort();

    ConsoleConfig config;
    config.trusted_proxies = {std::get<Network>(parseNetwork("10.0.0.0/24"))};
    const auto proxy = IpAddress::parse("10.0.0.1").value(), stranger = IpAddress::parse("192.0.2.1").value();
    console::Credentials credentials;
    console::applyProxy(credentials, config, proxy, {text, text, text});
    if (credentials.client.toString().empty()) std::abort();
    credentials = {};
    console::applyProxy(credentials, config, stranger, {text, text, text});
    if (credentials.client.bytes != stranger.bytes || !credentials.proxy_user.empty() ||
        credentials.is_secure)
        std::abort();
    return 0;
}
