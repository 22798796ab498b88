// SPDX-License-Identifier: Apache-2.0
#include "gateway/api/values.h"

#include "gateway/answers/time_text.h"
#include "gateway/api/problem.h"
#include "gateway/log/escape.h"

#include <Poco/JSON/Array.h>
#include <Poco/JSON/Parser.h>
#include <Poco/UTF8Encoding.h>
#include <Poco/UTF8String.h>
#include <fmt/format.h>

#include <charconv>
#include <set>
#include <system_error>
#include <utility>
#include <variant>

namespace mailgate::api {

namespace {

std::optional<std::int64_t> numberOf(std::string_view text) noexcept {
    std::int64_t number = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
    if (error != std::errc() || end != text.data() + text.size()) return std::nullopt;
    return number;
}

/// The sequences that RFC 3629 4 allows, and no others.
bool isUtf8(std::string_view text) noexcept {
    static const Poco::UTF8Encoding kEncoding;
    for (std::size_t at = 0; at < text.size();) {
        const auto* const bytes = reinterpret_cast<const unsigned char*>(text.data() + at);
        const auto left = static_cast<int>(std::min<std::size_t>(text.size() - at, 4));
        const int length = kEncoding.sequenceLength(bytes, left);
        if (length < 1 || length > left || kEncoding.queryConvert(bytes, length) < 0 ||
            !Poco::UTF8Encoding::isLegal(bytes, length))
            return false;
        at += static_cast<std::size_t>(length);
    }
    return true;
}

/// No two members of an object have one name.
class EachNameOnce final : public Poco::JSON::ParseHandler {
  public:
    void startObject() override {
        names_.emplace_back();
        ParseHandler::startObject();
    }
    void endObject() override {
        names_.pop_back();
        ParseHandler::endObject();
    }
    void key(const std::string& name) override {
        if (!names_.back().insert(name).second) throw Poco::JSON::JSONException("a name comes twice");
        ParseHandler::key(name);
    }

  private:
    std::vector<std::set<std::string>> names_;
};

std::string anyOf(const std::set<std::string, std::less<>>& names) {
    return names.empty() ? "none" : fmt::format("{}", fmt::join(names, ", "));
}

/// Beyond them the parser's numbers wrap.
bool hasLongNumber(std::string_view json) noexcept {
    constexpr std::size_t kMostDigits = 18;
    bool is_in_text = false;
    std::size_t digits = 0;
    for (std::size_t at = 0; at < json.size(); ++at) {
        if (json[at] == '"') is_in_text = !is_in_text;
        if (is_in_text && json[at] == '\\') ++at;
        digits = !is_in_text && at < json.size() && json[at] >= '0' && json[at] <= '9' ? digits + 1 : 0;
        if (digits > kMostDigits) return true;
    }
    return false;
}

}  // namespace

Poco::JSON::Object::Ptr objectIn(const std::string& text) {
    constexpr int kMaxDepth = 8;  // the parser's memory and its destructors nest with the text
    if (!isUtf8(text) || hasLongNumber(text)) return nullptr;
    try {
        Poco::JSON::Parser parser(new EachNameOnce);
        parser.setDepth(kMaxDepth);
        return parser.parse(text).extract<Poco::JSON::Object::Ptr>();
    } catch (const Poco::Exception&) {
        return nullptr;
    }
}

Network networkValue(std::string_view name, const std::string& text) {
    auto parsed = parseNetwork(text);
    if (const auto* error = std::get_if<NetworkError>(&parsed))
        throw invalid(std::string(name), error->message);
    return std::get<Network>(parsed);
}

// ---- the query

std::vector<std::string> QueryValues::texts(std::string_view name) {
    known_.emplace(name);
    std::vector<std::string> values;
    for (const auto& [key, value] : query_)
        if (key == name) values.push_back(value);
    return values;
}

std::optional<std::string> QueryValues::text(std::string_view name) {
    auto values = texts(name);
    if (values.size() > 1) throw invalid(std::string(name), "is given more than once");
    if (values.empty()) return std::nullopt;
    return std::move(values.front());
}

std::optional<Network> QueryValues::network(std::string_view name) {
    const auto value = text(name);
    if (!value) return std::nullopt;
    return networkValue(name, *value);
}

bool QueryValues::flag(std::string_view name) {
    const auto value = text(name);
    if (!value || *value == "false" || *value == "0") return false;
    if (*value == "true" || *value == "1" || value->empty()) return true;
    throw invalid(std::string(name), fmt::format("expected true or false, found {}", inQuotes(*value)));
}

std::optional<std::int64_t> QueryValues::number(std::string_view name) {
    const auto value = text(name);
    if (!value) return std::nullopt;
    const auto number = numberOf(*value);
    if (!number)
        throw invalid(std::string(name), fmt::format("expected a whole number, found {}", inQuotes(*value)));
    return number;
}

std::size_t QueryValues::limit(std::size_t otherwise, std::size_t most) {
    const auto value = number("limit");
    if (!value) return otherwise;
    if (*value < 1 || *value > static_cast<std::int64_t>(most))
        throw invalid("limit", fmt::format("expected a number from 1 to {}", most));
    return static_cast<std::size_t>(*value);
}

std::optional<std::int64_t> QueryValues::span(std::string_view name) {
    const auto value = text(name);
    if (!value) return std::nullopt;
    const auto span = answers::parseSpan(*value);
    if (const auto* error = std::get_if<answers::TimeError>(&span))
        throw invalid(std::string(name), fmt::format("{} {}", inQuotes(*value), error->why));
    return (std::get<std::int64_t>(span) + 999) / 1'000;
}

void QueryValues::rejectOthers() const {
    for (const auto& [key, value] : query_)
        if (!known_.contains(key))
            throw Problem(400, "unknown_parameter",
                          fmt::format("unknown parameter {}: expected {}", inQuotes(key), anyOf(known_)));
}

// ---- the body

BodyValues::BodyValues(const Request& request) {
    QueryValues(request).rejectOthers();
    object_ = objectIn(request.body);
    if (!object_)
        throw Problem(400, "malformed_body",
                      "expected a JSON object in UTF-8, without a name that comes twice or a number of more "
                      "than 18 digits");
}

Poco::Dynamic::Var BodyValues::get(std::string_view name) {
    return object_->get(*known_.emplace(name).first);
}

bool BodyValues::has(std::string_view name) {
    return object_->has(*known_.emplace(name).first);
}

bool BodyValues::isNull(std::string_view name) {
    return has(name) && get(name).isEmpty();
}

std::optional<std::string> BodyValues::text(std::string_view name) {
    const Poco::Dynamic::Var value = get(name);
    if (value.isEmpty()) return std::nullopt;
    if (!value.isString()) throw invalid(std::string(name), "expected a text");
    return value.convert<std::string>();
}

std::vector<std::string> BodyValues::texts(std::string_view name) {
    std::vector<std::string> values;
    if (get(name).isEmpty()) return values;
    const auto array = object_->getArray(std::string(name));
    if (!array) throw invalid(std::string(name), "expected an array of texts");
    for (const Poco::Dynamic::Var& item : *array) {
        if (!item.isString()) throw invalid(std::string(name), "expected an array of texts");
        values.push_back(item.convert<std::string>());
    }
    return values;
}

std::vector<std::int64_t> BodyValues::numbers(std::string_view name) {
    std::vector<std::int64_t> values;
    if (get(name).isEmpty()) return values;
    const auto array = object_->getArray(std::string(name));
    if (!array) throw invalid(std::string(name), "expected an array of whole numbers");
    for (const Poco::Dynamic::Var& item : *array) {
        if (!item.isInteger() || item.isBoolean())
            throw invalid(std::string(name), "expected an array of whole numbers");
        values.push_back(item.convert<std::int64_t>());
    }
    return values;
}

bool BodyValues::flag(std::string_view name) {
    const Poco::Dynamic::Var value = get(name);
    if (value.isEmpty()) return false;
    if (!value.isBoolean()) throw invalid(std::string(name), "expected true or false");
    return value.convert<bool>();
}

std::optional<std::int64_t> BodyValues::number(std::string_view name) {
    const Poco::Dynamic::Var value = get(name);
    if (value.isEmpty()) return std::nullopt;
    try {
        if (value.isInteger() && !value.isBoolean()) return value.convert<std::int64_t>();
    } catch (const Poco::Exception&) {  // NOLINT(bugprone-empty-catch): too large, which is none
    }
    throw invalid(std::string(name), "expected a whole number");
}

void BodyValues::rejectOthers() const {
    for (const std::string& name : object_->getNames())
        if (!known_.contains(name))
            throw Problem(400, "unknown_member",
                          fmt::format("unknown member {}: expected {}", inQuotes(name), anyOf(known_)));
}

void rejectMembers(const Request& request) {
    if (request.body.empty()) return;
    Request body;
    body.body = request.body;
    BodyValues(body).rejectOthers();
}

void rejectValues(const Request& request) {
    QueryValues(request).rejectOthers();
    rejectMembers(request);
}

}  // namespace mailgate::api
