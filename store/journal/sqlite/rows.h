// SPDX-License-Identifier: Apache-2.0
/// \file  Records as rows of the journal's tables, and back, by the list of fields. Internal to store/.
///
/// A row has texts without the client's address (store/journal/mask.h); what was left out of a session's row
/// stands in client_address. Lists stand in one column, a line for each value.
#pragma once

#include "store/journal/fields.h"
#include "store/journal/sqlite/layout.h"
#include "store/sqlite/database.h"

#include <array>
#include <optional>
#include <string>
#include <string_view>
#include <tuple>

namespace mailgate::store::journal {

/// The columns that version `version` brought, as a script for all tables.
std::string addedColumns(int version);

std::string insertSql(Kind kind);
std::string addressInsertSql();
std::string mailInsertSql();

/// What is bound for one column, and what it was made of: much is the same as the last time.
struct ColumnText {
    std::string whole;
    std::optional<AddressBytes> address;  ///< whose text `whole` is
    std::string kept, kept_of;
    std::string_view bound;  ///< for the session's row
};

/// Binds records to the parameters of those statements. What is bound lives until the next record.
class RowBinder {
  public:
    void bindSession(sqlite::RawStatement& insert, std::int64_t key, const JournalSession& session);
    /// Of the session that was bound last, as the next.
    void bindAddress(sqlite::RawStatement& insert, std::int64_t key, const JournalSession& session);
    void bindMail(sqlite::RawStatement& insert, std::int64_t key, const JournalMail& mail);

  private:
    template <typename Record>
    using Texts = std::array<ColumnText, std::tuple_size_v<std::decay_t<decltype(fieldsOf<Record>())>>>;

    template <typename Record>
    void bindColumns(sqlite::RawStatement& insert, std::int64_t key, const Record& record,
                     Texts<Record>& texts);
    std::string_view kept(std::string_view text, Masking masking, ColumnText& column);

    Texts<JournalSession> session_texts_;
    Texts<JournalMail> mail_texts_;
    std::string client_, masked_client_;  ///< of the session
};

/// SELECT "key, …" in the order that readSession() expects, the full address where it is still known.
std::string selectSql(Kind kind, std::string_view condition);
/// The same with addresses as they are kept for long.
std::string selectMaskedSql(Kind kind, std::string_view condition);
/// Without the mail. Text that is not an address, because some other program wrote it, reads as ::.
JournalSession readSession(const sqlite::RawStatement& row, Kind kind);

/// The mails with keys from ?1 to ?2.
std::string selectMailSql();
JournalMail readMail(const sqlite::RawStatement& row);

/// The address is still known: then the replies get it back, too.
void unmaskReplies(JournalSession& session);

/// Calls `visit` for each line of a column that has several values.
template <typename Visit>
void eachLine(std::string_view lines, Visit visit) {
    while (!lines.empty()) {
        const std::size_t end = lines.find('\n');
        visit(lines.substr(0, end));
        if (end == std::string_view::npos) return;
        lines.remove_prefix(end + 1);
    }
}

}  // namespace mailgate::store::journal
