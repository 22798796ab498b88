// SPDX-License-Identifier: Apache-2.0
/// \file  What a segment of the journal can be searched by. Internal to store/.
///
/// A term is 64 bits: its kind (4), a value (46) and the row in the segment that has it (14). The value is a
/// hash of the text, or for addresses and times their leading bits, so that a network or a span of time is a
/// range of terms. Masked client addresses have terms in term_page, full ones in address_page. Sorted, they
/// are stored in pages (table term_page) under a directory of the pages' first terms. A hit says "perhaps":
/// the row is looked at before it is believed.
///
/// Terms with few values (listener, server, balancer, verdict) are kept once per block of 256 rows.
#pragma once

#include "protocols/values/network.h"

#include <cstdint>
#include <memory>
#include <string_view>
#include <vector>

namespace mailgate::store::sqlite {
class Database;
class RawStatement;
}  // namespace mailgate::store::sqlite

namespace mailgate::store::journal {

enum class TermKind : std::uint8_t {
    Started,       ///< milliseconds / 16
    ClientV4,      ///< the address
    ClientV6,      ///< its leading 46 bits: fewer than the mask leaves
    ClientV6Host,  ///< hash of all of it
    Sender,
    SenderDomain,
    Recipient,
    RecipientDomain,
    User,
    MailId,  ///< the server's queue id, the message's Message-ID
    Listener,
    Server,
    BalancerV4,
    BalancerV6,
    Verdict,
    FailedLogin,
};

/// The terms from `low` to `high`, rows included.
struct TermRange {
    std::uint64_t low = 0;
    std::uint64_t high = 0;
    /// Where it is looked for. What quotes an address is in either: as it was written as long as that is known, masked
    /// for ever.
    enum class In : std::uint8_t { Terms, Addresses, Either } in = In::Terms;
};

TermRange textTerm(TermKind kind, std::string_view text);  ///< of comparable() text, in whatever ASCII case
TermRange clientTerms(const Network& client) noexcept;
TermRange balancerTerms(const Network& balancer) noexcept;
TermRange startedTerms(std::int64_t first_ms, std::int64_t last_ms) noexcept;
TermRange messageIdTerm(std::string_view id);
TermRange verdictTerm(bool allowed) noexcept;
TermRange failedLoginTerm() noexcept;

/// Collects a segment's terms.
class TermCollector {
  public:
    void text(TermKind kind, std::uint16_t row, std::string_view text);
    void maskedClient(std::uint16_t row, const Network& client);
    void fullClient(std::uint16_t row, const AddressBytes& client);
    void balancer(std::uint16_t row, const Network& balancer);
    void started(std::uint16_t row, std::int64_t started_ms);
    void verdict(std::uint16_t row, bool allowed);
    void failedLogin(std::uint16_t row);
    void sender(std::uint16_t row, std::string_view address);
    void recipient(std::uint16_t row, std::string_view address);

    /// Sorted, each once.
    std::vector<std::uint64_t> take();

  private:
    void add(const TermRange& term, std::uint16_t row);

    std::vector<std::uint64_t> terms_;
};

/// `table`: term_page or address_page.
void storeTerms(sqlite::Database& database, std::string_view table, std::int64_t segment,
                const std::vector<std::uint64_t>& terms);

/// Look-ups in the stored terms, within the caller's transaction.
class TermReader {
  public:
    explicit TermReader(sqlite::Database& database);
    ~TermReader();

    /// The rows that may have the term, ascending, each once.
    std::vector<std::uint16_t> rows(std::int64_t segment, const TermRange& term);

  private:
    static void addRows(sqlite::RawStatement& select, std::int64_t segment, const TermRange& term,
                        std::vector<std::uint16_t>& rows);

    std::unique_ptr<sqlite::RawStatement> select_term_, select_address_;
};

}  // namespace mailgate::store::journal
