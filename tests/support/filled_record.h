// SPDX-License-Identifier: Apache-2.0
/// \file  A record in which every field has a value, and how two records differ: by the list of fields, so that a
/// new one is tested with the others.
#pragma once

#include "store/journal/fields.h"
#include "tests/support/journal_sample.h"

#include <concepts>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace mailgate::test {

template <typename Record>
Record filledRecord();

inline void fill(std::string& value, std::string_view name) {
    value = "some " + std::string(name);
}
inline void fill(bool& value, std::string_view) {
    value = true;
}
template <std::integral Number>
void fill(Number& value, std::string_view name) {
    value = static_cast<Number>(100 + name.size());
}
inline void fill(AddressBytes& value, std::string_view name) {
    value = sampleV4(0xC6336400u + static_cast<std::uint32_t>(name.size()));
}
template <typename Value>
void fill(std::optional<Value>& value, std::string_view name) {
    fill(value.emplace(), name);
}
inline void fill(std::vector<std::string>& value, std::string_view name) {
    value = {"first " + std::string(name), "second"};
}
inline void fill(std::vector<store::JournalRefusal>& value, std::string_view) {
    value = {{"bob@example.net", "550 5.1.1 no"}, {"carol@example.net", "550 5.7.1 never"}};
}
inline void fill(std::vector<std::pair<std::string, std::string>>& value, std::string_view) {
    for (const char* name : {"balancer_id", "authority", "alpn", "balancer_tls", "balancer_tls_cn",
                             "aws_vpce_id", "azure_link_id", "gcp_psc_connection_id"})
        value.emplace_back(name, "77");
}
inline void fill(std::vector<store::JournalMail>& value, std::string_view) {
    value.push_back(filledRecord<store::JournalMail>());
}

template <typename Record>
Record filledRecord() {
    Record record;
    store::journal::eachField<Record>([&](const auto& field) {
        if (!field.again) fill(record.*field.member, field.name);
    });
    return record;
}

/// Of a protocol that carries mail.
inline store::JournalSession filledSession() {
    auto session = filledRecord<store::JournalSession>();
    session.protocol = "smtp";
    session.rule = "192.0.2.0/24";
    return session;
}

template <typename Record>
std::string differences(const Record& one, const Record& other);

template <typename Value>
bool isSame(const Value& one, const Value& other) {
    return one == other;
}
inline bool isSame(const std::vector<store::JournalRefusal>& one,
                   const std::vector<store::JournalRefusal>& other) {
    return std::equal(one.begin(), one.end(), other.begin(), other.end(),
                      [](const auto& a, const auto& b) { return a.to == b.to && a.reply == b.reply; });
}
inline bool isSame(const std::vector<store::JournalMail>& one, const std::vector<store::JournalMail>& other) {
    return std::equal(one.begin(), one.end(), other.begin(), other.end(),
                      [](const auto& a, const auto& b) { return differences(a, b).empty(); });
}

/// The names of the fields, or of their columns, in which they do.
template <typename Record>
std::string differences(const Record& one, const Record& other) {
    std::string names;
    store::journal::eachField<Record>([&](const auto& field) {
        if (!isSame(one.*field.member, other.*field.member))
            names.append(names.empty() ? "" : ", ").append(field.name.empty() ? field.column : field.name);
    });
    return names;
}

}  // namespace mailgate::test
