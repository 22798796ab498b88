// SPDX-License-Identifier: Apache-2.0
#include "store/journal/sqlite/terms.h"

#include "protocols/values/text.h"
#include "store/journal/mask.h"
#include "store/journal/sqlite/schema.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>

namespace mailgate::store::journal {

namespace {

constexpr unsigned kKindBits = 4;
constexpr unsigned kValueBits = 64 - kKindBits - kRowBits;
constexpr std::uint64_t kValueMask = (std::uint64_t{1} << kValueBits) - 1;
constexpr std::uint64_t kRowMask = (std::uint64_t{1} << kRowBits) - 1;
constexpr std::uint64_t kBlockMask = 0xFF;  ///< rows in a block, less one
constexpr std::size_t kTermsPerPage = 500;  // two to a page of the file

constexpr bool isPerBlock(TermKind kind) noexcept {
    return kind >= TermKind::Listener && kind <= TermKind::Verdict;
}

constexpr TermRange range(TermKind kind, std::uint64_t low, std::uint64_t high) noexcept {
    const auto base = static_cast<std::uint64_t>(kind) << kValueBits;
    return {(base | (low & kValueMask)) << kRowBits, (base | (high & kValueMask)) << kRowBits | kRowMask};
}

constexpr TermKind kindOf(std::uint64_t term) noexcept {
    return static_cast<TermKind>(term >> (kValueBits + kRowBits));
}

/// FNV-1a; the multiplication carries upwards, so the leading bits are the good ones.
std::uint64_t hashOf(std::string_view text) noexcept {
    std::uint64_t hash = 0xCBF29CE484222325u;
    for (const char character : text) {
        const bool upper = character >= 'A' && character <= 'Z';
        hash ^= static_cast<unsigned char>(upper ? character | 0x20 : character);
        hash *= 0x100000001B3u;
    }
    return hash >> (64 - kValueBits);
}

/// `bytes` bytes from `from` on, as a number.
std::uint64_t leadingBits(const AddressBytes& address, std::size_t from, std::size_t bytes) noexcept {
    std::uint64_t bits = 0;
    for (std::size_t at = from; at < from + bytes; ++at)
        bits = bits << 8 | address[at];
    return bits;
}

std::uint64_t v4Value(const Network& network) noexcept {
    return leadingBits(network.address, 12, 4);
}

std::uint64_t v6Value(const Network& network) noexcept {
    return leadingBits(network.address, 0, 8) >> (64 - kValueBits);
}

TermRange v4Range(TermKind kind, const Network& network) noexcept {
    const std::uint64_t low = v4Value(network);
    const unsigned host_bits = 128u - network.prefix_length;
    return range(kind, low, low | ((std::uint64_t{1} << host_bits) - 1));
}

TermRange v6Range(TermKind kind, const Network& network) noexcept {
    const std::uint64_t low = v6Value(network);
    const unsigned free_bits = network.prefix_length < kValueBits ? kValueBits - network.prefix_length : 0;
    return range(kind, low, low | ((std::uint64_t{1} << free_bits) - 1));
}

TermRange hashTerm(TermKind kind, std::uint64_t hash) noexcept {
    return range(kind, hash, hash);
}

std::string_view bytesOf(const AddressBytes& address) noexcept {
    return {reinterpret_cast<const char*>(address.data()), address.size()};
}

std::string_view bytesOf(const std::uint64_t* terms, std::size_t count) noexcept {
    return {reinterpret_cast<const char*>(terms), count * sizeof *terms};
}

std::vector<std::uint64_t> readPage(sqlite::RawStatement& select, std::int64_t segment, std::size_t number) {
    select.bind(1, firstKey(segment) + static_cast<std::int64_t>(number));
    std::vector<std::uint64_t> terms;
    if (select.step()) {
        const std::string_view bytes = select.text(0);
        terms.resize(bytes.size() / sizeof(std::uint64_t));
        // An empty page is a null pointer, which memcpy() must not have.
        if (!terms.empty()) std::memcpy(terms.data(), bytes.data(), terms.size() * sizeof(std::uint64_t));
    }
    select.reset();
    return terms;
}

}  // namespace

TermRange textTerm(TermKind kind, std::string_view text) {
    return hashTerm(kind, isAscii(text) ? hashOf(text) : hashOf(comparable(text)));
}

TermRange clientTerms(const Network& client) noexcept {
    TermRange terms;
    if (client.isV4())
        terms = v4Range(TermKind::ClientV4, client);
    else if (client.prefix_length == 128)
        terms = hashTerm(TermKind::ClientV6Host, hashOf(bytesOf(client.address)));
    else
        return v6Range(TermKind::ClientV6, client);
    if (!isMasked(client)) terms.in = TermRange::In::Addresses;
    return terms;
}

TermRange balancerTerms(const Network& balancer) noexcept {
    return balancer.isV4() ? v4Range(TermKind::BalancerV4, balancer)
                           : v6Range(TermKind::BalancerV6, balancer);
}

TermRange startedTerms(std::int64_t first_ms, std::int64_t last_ms) noexcept {
    return range(TermKind::Started, static_cast<std::uint64_t>(first_ms) >> 4,
                 static_cast<std::uint64_t>(last_ms) >> 4);
}

TermRange messageIdTerm(std::string_view id) {
    TermRange term = textTerm(TermKind::MailId, id);
    term.in = TermRange::In::Either;
    return term;
}

TermRange verdictTerm(bool allowed) noexcept {
    return range(TermKind::Verdict, allowed, allowed);
}

TermRange failedLoginTerm() noexcept {
    return range(TermKind::FailedLogin, 0, 0);
}

void TermCollector::add(const TermRange& term, std::uint16_t row) {
    if (!isPerBlock(kindOf(term.low))) {
        terms_.push_back(term.low | row);
        return;
    }
    // Most of a block's rows repeat the last ones' values; what slips through here take() finds.
    const std::uint64_t per_block = term.low | (row & ~kBlockMask);
    constexpr std::size_t kLookBack = 24;
    const auto recent = terms_.size() > kLookBack ? terms_.end() - kLookBack : terms_.begin();
    if (std::find(recent, terms_.end(), per_block) == terms_.end()) terms_.push_back(per_block);
}

void TermCollector::text(TermKind kind, std::uint16_t row, std::string_view text) {
    if (!text.empty()) add(textTerm(kind, text), row);
}

void TermCollector::maskedClient(std::uint16_t row, const Network& client) {
    if (client.isV4())
        add(range(TermKind::ClientV4, v4Value(client), 0), row);
    else
        add(range(TermKind::ClientV6, v6Value(client), 0), row);
}

void TermCollector::fullClient(std::uint16_t row, const AddressBytes& client) {
    const Network host{client, 128};
    if (host.isV4())
        add(range(TermKind::ClientV4, v4Value(host), 0), row);
    else
        add(hashTerm(TermKind::ClientV6Host, hashOf(bytesOf(client))), row);
}

void TermCollector::balancer(std::uint16_t row, const Network& balancer) {
    const bool v4 = balancer.isV4();
    add(range(v4 ? TermKind::BalancerV4 : TermKind::BalancerV6, v4 ? v4Value(balancer) : v6Value(balancer),
              0),
        row);
}

void TermCollector::started(std::uint16_t row, std::int64_t started_ms) {
    add(startedTerms(started_ms, started_ms), row);
}

void TermCollector::verdict(std::uint16_t row, bool allowed) {
    add(verdictTerm(allowed), row);
}

void TermCollector::failedLogin(std::uint16_t row) {
    add(failedLoginTerm(), row);
}

void TermCollector::sender(std::uint16_t row, std::string_view address) {
    add(textTerm(TermKind::Sender, address), row);  // the null sender too
    text(TermKind::SenderDomain, row, domainOf(address));
}

void TermCollector::recipient(std::uint16_t row, std::string_view address) {
    text(TermKind::Recipient, row, address);
    text(TermKind::RecipientDomain, row, domainOf(address));
}

std::vector<std::uint64_t> TermCollector::take() {
    std::sort(terms_.begin(), terms_.end());
    terms_.erase(std::unique(terms_.begin(), terms_.end()), terms_.end());
    return std::move(terms_);
}

void storeTerms(sqlite::Database& database, std::string_view table, std::int64_t segment,
                const std::vector<std::uint64_t>& terms) {
    std::vector<std::uint64_t> directory;
    for (std::size_t at = 0; at < terms.size(); at += kTermsPerPage)
        directory.push_back(terms[at]);
    sqlite::RawStatement insert(database,
                                fmt::format("INSERT OR REPLACE INTO {}(key, terms) VALUES (?1, ?2)", table));
    const auto store = [&](std::size_t number, std::string_view bytes) {
        insert.bind(1, firstKey(segment) + static_cast<std::int64_t>(number));
        insert.bindBlob(2, bytes);
        insert.step();
        insert.reset();
    };
    store(0, bytesOf(directory.data(), directory.size()));
    for (std::size_t page = 0; page < directory.size(); ++page) {
        const std::size_t begin = page * kTermsPerPage;
        store(page + 1, bytesOf(terms.data() + begin, std::min(kTermsPerPage, terms.size() - begin)));
    }
}

TermReader::TermReader(sqlite::Database& database)
    : select_term_(
          std::make_unique<sqlite::RawStatement>(database, "SELECT terms FROM term_page WHERE key = ?1")),
      select_address_(std::make_unique<sqlite::RawStatement>(
          database, "SELECT terms FROM address_page WHERE key = ?1")) {}

TermReader::~TermReader() = default;

std::vector<std::uint16_t> TermReader::rows(std::int64_t segment, const TermRange& term) {
    std::vector<std::uint16_t> rows;
    if (term.in != TermRange::In::Addresses) addRows(*select_term_, segment, term, rows);
    if (term.in != TermRange::In::Terms) addRows(*select_address_, segment, term, rows);
    std::sort(rows.begin(), rows.end());
    rows.erase(std::unique(rows.begin(), rows.end()), rows.end());
    return rows;
}

void TermReader::addRows(sqlite::RawStatement& select, std::int64_t segment, const TermRange& term,
                         std::vector<std::uint16_t>& rows) {
    const std::vector<std::uint64_t> directory = readPage(select, segment, 0);
    const auto first = std::upper_bound(directory.begin(), directory.end(), term.low);
    auto number = static_cast<std::size_t>(first - directory.begin());
    for (number = std::max<std::size_t>(number, 1);
         number <= directory.size() && directory[number - 1] <= term.high; ++number) {
        for (const std::uint64_t found : readPage(select, segment, number)) {
            if (found < term.low || found > term.high) continue;
            const std::uint64_t row = found & kRowMask;
            const std::uint64_t last = isPerBlock(kindOf(found)) ? row | kBlockMask : row;
            for (std::uint64_t each = row; each <= last; ++each)
                rows.push_back(static_cast<std::uint16_t>(each));
        }
    }
}

}  // namespace mailgate::store::journal
