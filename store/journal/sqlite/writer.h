// SPDX-License-Identifier: Apache-2.0
/// \file  The one connection that writes the journal: appends, seals, forgets. Internal to store/.
///
/// What it remembers of the open segments may be ahead of the file after an exception.
#pragma once

#include "store/journal/backend.h"
#include "store/journal/sqlite/rows.h"
#include "store/journal/sqlite/schema.h"

#include <array>
#include <optional>
#include <span>

namespace mailgate::store::journal {

class TermCollector;

class Writer final : public Sink {
  public:
    /// Opens, creates or migrates. Throws StoreError.
    explicit Writer(const JournalOptions& options);

    void append(std::span<const JournalSession> batch) override;
    /// A piece: seals an old segment, forgets one's addresses, deletes one.
    Maintenance maintain(std::int64_t now_ms) override;
    /// Of the database and its WAL, as they are on the disk.
    std::uint64_t bytes() const override;
    std::int64_t oldestMs() const override;

  private:
    struct Open {
        Segment segment;
        std::int64_t addresses = 0;  ///< of senders and recipients, since this connection began
    };

    void appendOne(const JournalSession& session);
    Open& openSegment(const JournalSession& session, Kind kind);
    void saveProgress(const Open& open);

    void seal(Kind kind);
    void collectSessions(const Segment& segment, TermCollector& terms);
    void collectAddresses(const Segment& segment, TermCollector& terms);
    void collectQuoted(const Segment& segment, TermCollector& terms);
    void collectMail(const Segment& segment, TermCollector& terms);
    void storeTermsOf(const Segment& segment);

    void moveAddresses(Segment& segment);
    void forgetAddresses(const Segment& segment);
    void remove(const Segment& segment);
    std::int64_t longestOpen(Kind kind) const;
    std::int64_t keepFor(Kind kind) const;
    bool sealOld(std::int64_t now_ms);
    bool moveOld();
    bool forgetOld(std::int64_t now_ms);
    bool removeOld(std::int64_t now_ms);
    bool removeForSpace();
    bool refusedAreTooMany() const;
    bool cleanLog();
    bool isReplaced() const;

    JournalOptions options_;
    sqlite::Database database_;
    sqlite::FileIdentity identity_;
    std::array<std::optional<sqlite::RawStatement>, kKinds.size()> insert_session_;  ///< by Kind
    std::optional<sqlite::RawStatement> insert_address_, insert_mail_, save_progress_;
    std::array<std::optional<Open>, kKinds.size()> open_;  ///< by Kind
    std::vector<Segment> sealed_;                          ///< oldest first
    bool log_has_addresses_ = false;                       ///< the WAL, still, that are forgotten
    RowBinder binder_;
};

}  // namespace mailgate::store::journal
