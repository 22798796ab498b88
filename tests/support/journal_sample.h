// SPDX-License-Identifier: Apache-2.0
/// \file  Made-up sessions for the journal: the same for the same number, all distinct where real ones are.
#pragma once

#include "store/journal/journal.h"

#include <fmt/format.h>

#include <cstdint>
#include <string>

namespace mailgate::test {

/// A ULID: the time and `number`.
inline std::string sampleId(std::int64_t unix_millis, std::uint64_t number) {
    constexpr char kAlphabet[] = "0123456789ABCDEFGHJKMNPQRSTVWXYZ";
    std::string id(26, '0');
    auto time = static_cast<std::uint64_t>(unix_millis);
    for (std::size_t at = 10; at-- > 0; time >>= 5)
        id[at] = kAlphabet[time & 31];
    for (std::size_t at = 26; at-- > 10; number >>= 5)
        id[at] = kAlphabet[number & 31];
    return id;
}

inline AddressBytes sampleV4(std::uint32_t address) {
    AddressBytes bytes{};
    bytes[10] = bytes[11] = 0xFF;
    for (std::size_t at = 0; at < 4; ++at)
        bytes[12 + at] = static_cast<std::uint8_t>(address >> (24 - 8 * at));
    return bytes;
}

/// 2001:db8:NET::HOST
inline AddressBytes sampleV6(std::uint16_t net, std::uint16_t host) {
    AddressBytes bytes{0x20, 0x01, 0x0D, 0xB8};
    bytes[4] = static_cast<std::uint8_t>(net >> 8);
    bytes[5] = static_cast<std::uint8_t>(net);
    bytes[14] = static_cast<std::uint8_t>(host >> 8);
    bytes[15] = static_cast<std::uint8_t>(host);
    return bytes;
}

/// An SMTP session with one mail; one in ten comes by IPv6.
inline store::JournalSession sampleSession(std::uint64_t number, std::int64_t ended_ms) {
    // Spreads neighbours: a multiplication by an odd number permutes.
    const auto spread = static_cast<std::uint32_t>(number * 2'654'435'761u);
    store::JournalSession session;
    session.duration_ms = static_cast<std::int64_t>(20 + spread % 400);
    session.started_ms = ended_ms - session.duration_ms;
    session.id = sampleId(session.started_ms, number);
    session.listener = "smtp";
    session.protocol = "smtp";
    session.client = number % 10 == 9 ? sampleV6(static_cast<std::uint16_t>(spread % 5'000),
                                                 static_cast<std::uint16_t>(spread >> 16))
                                      : sampleV4(0x0B000000u + spread % 50'000'000);
    session.client_port = static_cast<std::uint16_t>(1'024 + spread % 60'000);
    session.balancer = sampleV4(0x0A000009u + spread % 2);
    session.destination = sampleV4(0xCB00710Au);
    session.destination_port = 25;
    session.allowed = true;
    session.rule = "11.0.0.0/8";
    session.upstream = "postfix";
    session.server = number % 2 == 0 ? "mx1" : "mx2";
    session.helo = fmt::format("mail{}.partner.example", spread % 10'000);
    session.mail_count = 1;
    session.bytes_in = 2'000 + spread % 30'000;
    session.bytes_out = 402;
    session.connect_ms = 1;
    session.greeting_ms = 3;
    session.end = "client_quit";
    store::JournalMail mail;
    mail.from = fmt::format("sender{}@partner{}.example", spread % 400'000, spread % 20'000);
    mail.recipients.push_back(fmt::format("user{}@example.net", spread % 100'000));
    mail.recipient_count = 1;
    mail.size = session.bytes_in - 280;
    mail.queue_id = fmt::format("4{:010X}", number);
    mail.reply = "250 2.0.0 Ok: queued as " + mail.queue_id;
    mail.accepted = true;
    session.mail.push_back(std::move(mail));
    return session;
}

inline store::JournalTopQuery during(std::int64_t since_ms, std::int64_t until_ms, std::size_t limit = 10,
                                     store::SumsBy by = store::SumsBy::Sessions) {
    store::JournalTopQuery query;
    query.since_ms = since_ms;
    query.until_ms = until_ms;
    query.limit = limit;
    query.by = by;
    return query;
}

/// A further mail of the session `id`, which goes on: its `number`th.
inline store::JournalSession sampleFurtherMail(const store::JournalSession& session, std::uint32_t number) {
    store::JournalSession record = session;
    record.kind = store::JournalKind::Mail;
    record.end.clear();
    record.mail.resize(1);
    record.mail.front().from = fmt::format("further{}@partner.example", number);
    record.mail.front().queue_id = fmt::format("5{:010X}", number);
    record.mail.front().number = record.mail_count = number;
    return record;
}

/// A client that no rule let in.
inline store::JournalSession sampleRefusal(std::uint64_t number, std::int64_t ended_ms) {
    store::JournalSession session = sampleSession(number, ended_ms);
    session.kind = store::JournalKind::Refused;
    session.allowed = false;
    session.rule.clear();
    session.upstream.clear();
    session.server.clear();
    session.helo.clear();
    session.mail.clear();
    session.mail_count = 0;
    session.bytes_in = 0;
    session.connect_ms = session.greeting_ms = -1;
    session.duration_ms = 1;
    session.started_ms = ended_ms - 1;
    session.id = sampleId(session.started_ms, number);
    session.end = "access";
    return session;
}

}  // namespace mailgate::test
