// SPDX-License-Identifier: Apache-2.0
#include "store/fleet/postgres/journal_conditions.h"

#include "protocols/values/text.h"
#include "store/fleet/postgres/journal_columns.h"

#include <fmt/format.h>

#include <utility>

namespace mailgate::store::postgres {

namespace {

/// A row may have it in another spelling, which only we can tell.
std::string beyondAscii(std::string_view column) {
    return fmt::format("octet_length({0}) <> char_length({0})", column);
}

/// The columns are of the collation "C", which lowers ASCII alone, as we do.
std::string hasPart(std::string_view text, const std::string& parameter) {
    return fmt::format("strpos(lower({}), {}) > 0", text, parameter);
}

std::string lines(std::string_view column) {
    return fmt::format("array_to_string({}, E'\\n')", column);
}

void addUserCondition(Conditions& conditions, const std::string& user) {
    const std::string key = conditions.bind(searchKey(user));
    conditions.add(
        fmt::format("(s.user_key = {0} AND s.user_key <> '' OR s.failed_user_keys @> ARRAY[{0}]::text[] AND"
                    " s.failed_user_keys <> '{{}}')",
                    key));
}

void addServerCondition(Conditions& conditions, std::string_view server) {
    const std::size_t slash = server.find('/');
    if (slash != std::string_view::npos) addTextCondition(conditions, "s.upstream", server.substr(0, slash));
    addTextCondition(conditions, "s.server",
                     slash == std::string_view::npos ? server : server.substr(slash + 1));
}

void addHeloCondition(Conditions& conditions, const std::string& helo) {
    if (!helo.starts_with('.')) return addTextCondition(conditions, "s.helo", helo);
    const std::string end = conditions.bind(lowerCase(helo));
    conditions.add(fmt::format("(right(lower(s.helo), length({0}::text)) = {0} OR {1}{2})", end,
                               beyondAscii("s.helo"), isAscii(helo) ? "" : " OR s.helo ILIKE '%xn--%'"));
}

void addSenderCondition(Conditions& conditions, const std::string& from) {
    if (!from.starts_with('@')) return conditions.add("m.sender_key = " + conditions.bind(senderKey(from)));
    // All that begins like this: the character behind @ is A.
    const std::string domain = searchKey(from.substr(1));
    const std::string first = conditions.bind(domain + '@'), behind = conditions.bind(domain + 'A');
    const std::string within = fmt::format("m.sender_key >= {} AND m.sender_key < {}", first, behind);
    // The null sender has no domain either.
    conditions.add(domain.empty() ? fmt::format("({} OR m.sender_key = '')", within) : within);
}

void addRecipientCondition(Conditions& conditions, const std::string& to) {
    if (to == "@")  // those without a domain
        return conditions.add(
            "EXISTS (SELECT 1 FROM unnest(m.recipient_keys) k WHERE strpos(k, '@') = 0 OR"
            " right(k, 1) = '@')");
    conditions.add(
        fmt::format("m.recipient_keys @> ARRAY[{}]::text[]", conditions.bind(recipientKeys(to).front())));
}

}  // namespace

std::string Conditions::bind(std::string value) {
    parameters_.push_back(std::move(value));
    return fmt::format("${}", parameters_.size());
}

void Conditions::add(std::string_view condition) {
    sql_.append(sql_.empty() ? "" : " AND ").append(condition);
}

JournalFilter storable(JournalFilter filter) {
    for (auto member :
         {&JournalFilter::from, &JournalFilter::to, &JournalFilter::refused_to, &JournalFilter::reply,
          &JournalFilter::message_id, &JournalFilter::user, &JournalFilter::queue_id,
          &JournalFilter::listener, &JournalFilter::protocol, &JournalFilter::helo, &JournalFilter::end,
          &JournalFilter::rule, &JournalFilter::tls, &JournalFilter::server})
        if (auto& text = filter.*member) text = storable(*text);
    return filter;
}

void addClientCondition(Conditions& conditions, const Network& client) {
    conditions.add(fmt::format("s.client <<= {}::inet", conditions.bind(client.toString())));
}

void addTextCondition(Conditions& conditions, std::string_view column, std::string_view wanted) {
    const std::string same = conditions.bind(lowerCase(wanted)), key = conditions.bind(searchKey(wanted));
    conditions.add(fmt::format("(lower({0}) IN ({1}, {2}) OR {3})", column, same, key, beyondAscii(column)));
}

void addSessionConditions(Conditions& conditions, const JournalFilter& filter, bool refused) {
    if (filter.since_ms) conditions.add("s.at_ms >= " + conditions.bind(*filter.since_ms));
    if (filter.until_ms) conditions.add("s.started_ms <= " + conditions.bind(*filter.until_ms));
    if (filter.client) addClientCondition(conditions, *filter.client);
    if (filter.balancer)
        conditions.add(fmt::format("s.balancer <<= {}::inet", conditions.bind(filter.balancer->toString())));
    if (filter.user) addUserCondition(conditions, *filter.user);
    if (filter.server) addServerCondition(conditions, *filter.server);
    if (filter.helo) addHeloCondition(conditions, *filter.helo);
    const std::pair<std::string_view, const std::optional<std::string>&> texts[] = {
        {"s.listener", filter.listener},
        {"s.protocol", filter.protocol},
        {"s.\"end\"", filter.end},
        {"s.tls", filter.tls}};
    for (const auto& [column, wanted] : texts)
        if (wanted) addTextCondition(conditions, column, *wanted);
    if (filter.rule) conditions.add("s.rule = " + conditions.bind(*filter.rule));
    if (filter.allowed) conditions.add(*filter.allowed ? "s.allowed" : "NOT s.allowed");
    if (filter.would_refuse) conditions.add("s.would_refuse <> '{}'");
    if (filter.failed_login) conditions.add("s.failed_logins > 0");
    if (refused && filter.reply)
        conditions.add(hasPart("s.reply", conditions.bind(lowerCase(*filter.reply))));
}

void addMailConditions(Conditions& conditions, const JournalFilter& filter) {
    if (filter.since_ms) conditions.add("m.at_ms >= " + conditions.bind(*filter.since_ms));
    if (filter.from) addSenderCondition(conditions, *filter.from);
    for (const auto& to : {filter.to, filter.refused_to})
        if (to) addRecipientCondition(conditions, *to);
    if (filter.queue_id)
        conditions.add(
            fmt::format("m.queue_id = {} AND m.queue_id <> ''", conditions.bind(*filter.queue_id)));
    if (filter.message_id)
        conditions.add(fmt::format("(lower(m.message_id) IN ({}, {}) AND m.message_id <> '' OR {})",
                                   conditions.bind(lowerCase(*filter.message_id)),
                                   conditions.bind(searchKey(*filter.message_id)),
                                   beyondAscii("m.message_id")));
    if (filter.reply) {
        const std::string part = conditions.bind(lowerCase(*filter.reply));
        conditions.add(fmt::format("({} OR {} OR {})", hasPart("m.reply", part),
                                   hasPart(lines("m.replies"), part),
                                   hasPart(lines("m.refused_replies"), part)));
    }
}

}  // namespace mailgate::store::postgres
