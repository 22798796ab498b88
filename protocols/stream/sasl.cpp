// SPDX-License-Identifier: Apache-2.0
#include "protocols/stream/sasl.h"

#include "protocols/stream/lines.h"
#include "protocols/stream/stream_filter.h"
#include "protocols/values/text.h"

#include <array>
#include <limits>
#include <optional>

namespace mailgate {

namespace {

/// Enough for PLAIN's two names at their longest.
constexpr std::size_t kMaxDecodedBytes = 2 * (kMaxNameBytes + 1);

constexpr int base64Value(char c) noexcept {
    if (c >= 'A' && c <= 'Z') return c - 'A';
    if (c >= 'a' && c <= 'z') return c - 'a' + 26;
    if (c >= '0' && c <= '9') return c - '0' + 52;
    if (c == '+') return 62;
    if (c == '/') return 63;
    return -1;
}

/// Decodes byte by byte, so that a caller can stop at the end of what it needs.
class Base64Reader {
  public:
    explicit Base64Reader(std::string_view text) noexcept : text_(text) {}

    /// Nothing at the end, at the padding, and at what is not base64.
    std::optional<char> next() noexcept {
        while (!text_.empty() && text_.front() != '=') {
            const int value = base64Value(text_.front());
            if (value < 0) return std::nullopt;
            text_.remove_prefix(1);
            bits_ = (bits_ << 6) | static_cast<std::uint32_t>(value);
            count_ += 6;
            if (count_ < 8) continue;
            count_ -= 8;
            return static_cast<char>((bits_ >> count_) & 0xff);
        }
        return std::nullopt;
    }

    bool malformed() const noexcept {
        return !text_.empty() && base64Value(text_.front()) < 0 && text_.front() != '=';
    }

  private:
    std::string_view text_;
    std::uint32_t bits_ = 0;
    int count_ = 0;
};

/// The decoded bytes before the `occurrence`th `stop`; decodes no further. Nothing if it does not come.
std::optional<std::string> decodeUntil(Base64Reader& reader, char stop, int occurrence) {
    std::string decoded;
    while (const auto byte = reader.next()) {
        if (*byte == stop && --occurrence == 0) return decoded;
        if (decoded.size() == kMaxDecodedBytes) return std::nullopt;
        decoded.push_back(*byte);
    }
    return std::nullopt;
}

/// A response that is nothing but a name, cut to the length of one.
std::string decodeName(std::string_view base64) {
    Base64Reader reader(base64);
    std::string name;
    while (name.size() < kMaxNameBytes) {
        const auto byte = reader.next();
        if (!byte) break;
        name.push_back(*byte);
    }
    return reader.malformed() ? std::string() : name;
}

/// RFC 5801 4: a saslname writes "," and "=" as =2C and =3D.
std::string unescapeSaslName(std::string_view name) {
    std::string plain;
    while (!name.empty()) {
        const bool comma = startsWithIgnoreCase(name, "=2C");
        const bool equals = startsWithIgnoreCase(name, "=3D");
        plain.push_back(comma ? ',' : equals ? '=' : name.front());
        name.remove_prefix(comma || equals ? 3 : 1);
    }
    return plain;
}

/// RFC 4616 2: authzid NUL authcid NUL password. Where no password follows, it may be what stands in the name's
/// place.
std::string plainUser(std::string_view base64) {
    Base64Reader reader(base64);
    const auto names = decodeUntil(reader, '\0', 2);
    return names && reader.next() ? names->substr(names->find('\0') + 1, kMaxNameBytes) : std::string();
}

/// NAME SPACE digest; a name with a space in it is cut there.
std::string cramMd5User(std::string_view base64) {
    Base64Reader reader(base64);
    return decodeUntil(reader, ' ', 1).value_or(std::string()).substr(0, kMaxNameBytes);
}

/// RFC 5802 7: flag , authzid , n=NAME , r=nonce …
std::string scramUser(std::string_view base64) {
    Base64Reader reader(base64);
    const auto head = decodeUntil(reader, ',', 3);
    if (!head) return {};
    const std::string_view name = std::string_view(*head).substr(head->rfind(',') + 1);
    return name.starts_with("n=") ? unescapeSaslName(name.substr(2)).substr(0, kMaxNameBytes) : std::string();
}

/// user=NAME ^A auth=Bearer TOKEN ^A ^A
std::string xoauth2User(std::string_view base64) {
    Base64Reader reader(base64);
    const auto field = decodeUntil(reader, '\x01', 1);
    return field && field->starts_with("user=") ? field->substr(5, kMaxNameBytes) : std::string();
}

/// RFC 7628 3.1: n,a=NAME, ^A key=value …
std::string oauthBearerUser(std::string_view base64) {
    Base64Reader reader(base64);
    const auto header = decodeUntil(reader, ',', 2);
    if (!header) return {};
    const std::size_t name = header->find(",a=");
    if (name == std::string::npos) return {};
    return unescapeSaslName(std::string_view(*header).substr(name + 3)).substr(0, kMaxNameBytes);
}

void increase(std::uint8_t& counter) noexcept {
    if (counter < std::numeric_limits<std::uint8_t>::max()) ++counter;
}

}  // namespace

void SaslExchange::start(std::string_view mechanism) noexcept {
    struct Entry {
        std::string_view name;
        Mechanism mechanism;
    };
    static constexpr std::array<Entry, 5> kKnown{{{"PLAIN", Mechanism::Plain},
                                                  {"LOGIN", Mechanism::Login},
                                                  {"CRAM-MD5", Mechanism::CramMd5},
                                                  {"XOAUTH2", Mechanism::XOauth2},
                                                  {"OAUTHBEARER", Mechanism::OauthBearer}}};
    *this = SaslExchange();
    mechanism_ = startsWithIgnoreCase(mechanism, "SCRAM-") ? Mechanism::Scram : Mechanism::Other;
    for (const Entry& known : kKnown) {
        if (equalsIgnoreCase(mechanism, known.name)) mechanism_ = known.mechanism;
    }
}

std::string SaslExchange::initial(std::string_view base64) {
    std::string user = responses_ == 0 ? userIn(base64) : std::string();
    increase(responses_);
    named_ = named_ || !user.empty();
    return user;
}

std::string SaslExchange::userIn(std::string_view base64) const {
    switch (mechanism_) {
        case Mechanism::Plain:
            return plainUser(base64);
        case Mechanism::Login:
            return decodeName(base64);
        case Mechanism::CramMd5:
            return cramMd5User(base64);
        case Mechanism::Scram:
            return scramUser(base64);
        case Mechanism::XOauth2:
            return xoauth2User(base64);
        case Mechanism::OauthBearer:
            return oauthBearerUser(base64);
        case Mechanism::None:
        case Mechanism::Other:
            return {};
    }
    return {};
}

std::string SaslExchange::respond(std::string_view base64) {
    prompted_ = false;
    if (base64 == "*") {
        aborted_ = true;
        return {};
    }
    return initial(base64);
}

std::string initialName(std::string_view mechanism, std::string_view response) {
    SaslExchange exchange;
    exchange.start(mechanism);
    return response.empty() ? std::string() : exchange.initial(response);
}

}  // namespace mailgate
