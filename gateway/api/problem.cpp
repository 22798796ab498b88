// SPDX-License-Identifier: Apache-2.0
#include "gateway/api/problem.h"

#include "gateway/answers/rules_text.h"
#include "gateway/api/request.h"
#include "gateway/log/escape.h"

#include <Poco/Net/HTTPResponse.h>
#include <fmt/format.h>

#include <variant>

namespace mailgate::api {

namespace {

constexpr int kConflict = 409, kUnprocessable = 422;

Problem of(const rules::UnknownListener& refusal) {
    return {kUnprocessable, "unknown_listener",
            fmt::format("no listener is named {}", inQuotes(refusal.name))};
}
Problem of(const rules::InvalidSet& refusal) {
    return {kUnprocessable, "invalid_set",
            fmt::format("{} is not a set's name: expected up to 64 letters, digits, '.', '-' or '_'",
                        inQuotes(refusal.name))};
}
Problem of(const rules::InvalidTag& refusal) {
    return {kUnprocessable, "invalid_value",
            fmt::format("{}: {}", refusal.option.substr(refusal.option.find_first_not_of('-')), refusal.why)};
}
Problem of(const rules::InvalidNote& refusal) {
    return {kUnprocessable, "invalid_value", "note: " + refusal.why};
}
Problem of(const rules::ExpiryPast&) {
    return {kUnprocessable, "expiry_past", "expires_at is in the past"};
}
Problem of(const rules::LimitsOnDeny&) {
    return {kUnprocessable, "invalid_value", "client_sessions and client_rate are for allow rules"};
}
Problem of(const rules::ReplyOnAllow&) {
    return {kUnprocessable, "invalid_value", "reply is for deny rules"};
}
constexpr std::string_view kForced = ": nothing was changed; with \"force\" it is done anyway";

Problem of(const rules::Hazardous& refusal) {
    return {kConflict, "hazardous", answers::dangerOf(refusal) + std::string(kForced),
            fmt::format("\"line\":{}", refusal.line == 0 ? "null" : fmt::to_string(refusal.line))};
}
Problem of(const rules::TooMuchTogether& refusal) {
    return {kConflict, "hazardous", answers::dangerOf(refusal) + std::string(kForced)};
}
Problem of(const rules::NothingLeft&) {
    return {kConflict, "nothing_left",
            "the list contains no rules: what should have written it may have failed, and \"replace\" would "
            "remove "
            "all there are; with \"force\" it is done anyway"};
}
Problem of(const rules::MostRemoved& refusal) {
    return {kConflict, "most_removed", answers::dangerOf(refusal) + std::string(kForced)};
}
Problem of(const rules::UnreadableList& refusal) {
    std::string errors;
    for (const store::ImportError& error : refusal.errors)
        errors += fmt::format("{}{{\"line\":{},\"column\":{},\"message\":{}}}", errors.empty() ? "" : ",",
                              error.line, error.column == 0 ? "null" : fmt::to_string(error.column),
                              answers::jsonText(error.message));
    return {kUnprocessable, "unreadable_list", "the list cannot be read: nothing was imported",
            fmt::format("\"errors\":[{}]", errors)};
}
Problem of(const rules::StillConfigured& refusal) {
    return {kConflict, "still_configured",
            fmt::format("the configuration has a listener {}", inQuotes(refusal.listener))};
}
Problem of(const rules::InTheWay& refusal) {
    std::string rules;
    for (const store::AccessRule& rule : refusal.rules)
        rules += (rules.empty() ? "" : ",") + answers::ruleAsJson(rule);
    return {kConflict, "in_the_way", "other rules are in the way: nothing was changed",
            fmt::format("\"rules\":[{}]", rules)};
}

}  // namespace

Response problemResponse(int status, std::string_view code, std::string_view detail,
                         std::string_view members) {
    const std::string& title =
        Poco::Net::HTTPResponse::getReasonForStatus(static_cast<Poco::Net::HTTPResponse::HTTPStatus>(status));
    return {status,
            fmt::format(R"({{"type":"about:blank","title":"{}","status":{},"code":"{}","detail":{}{}{}}})",
                        title, status, code, answers::jsonText(detail), members.empty() ? "" : ",", members),
            "application/problem+json",
            {}};
}

Problem invalid(const std::string& name, const std::string& why) {
    return {400, "invalid_value", fmt::format("{}: {}", name, why)};
}

Problem problemOf(const rules::Refusal& refusal) {
    return std::visit([](const auto& kind) { return of(kind); }, refusal);
}

}  // namespace mailgate::api
