// SPDX-License-Identifier: Apache-2.0
// What is read of HTTP requests before Poco does, or beside it: whether one is whole, cookies, what proxies say of the client.

#include "gateway/console/authenticator.h"
#include "gateway/console/forms.h"
#include "gateway/console/html.h"
#include "gateway/console/screens.h"
#include "gateway/http/request_head.h"

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>

using namespace mailgate;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    constexpr std::size_t kMost = 4'096;
    const std::string text(reinterpret_cast<const char*>(data), size);
    // What is whole stays so, whatever comes behind it.
    if (http::isWholeRequest(text, kMost) && !http::isWholeRequest(text + "\r\n\r\nx", kMost)) std::abort();

    for (const auto& [name, field] : console::multipartFields(text, "x"))
        if (text.find(field) == std::string::npos) std::abort();
    const std::string boundary = console::boundaryOf(text);
    if (boundary.size() > text.size()) std::abort();

    const std::string value = console::cookieNamed(text, "mailgate");
    if (!value.empty() && text.find("mailgate=" + value) == std::string::npos) std::abort();

    for (const auto& [name, field] : console::formFields(text))
        if (name.size() + field.size() > text.size()) std::abort();
    const std::string shown = console::htmlText(text);
    if (shown.find_first_of("<>\"'\n\r") != std::string::npos) std::abort();

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
