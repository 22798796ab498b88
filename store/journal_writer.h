/// \file  The one connection that writes the journal: appends, seals, masks, forgets. Internal to store/.
///
/// One thread. After an exception the object is of no use any more (what it remembers of the open segments
/// may be ahead of the file): make a new one, which continues where the file stands.
#pragma once

#include "store/journal_schema.h"

#include <array>
#include <optional>
#include <span>

namespace mailgate::store::journal {

class TermCollector;

class Writer {
  public:
    /// Opens, creates or migrates. Throws StoreError.
    explicit Writer(const JournalOptions& options);

    /// All of them in one transaction, or none. Throws StoreError.
    void append(std::span<const JournalSession> batch);

    /// Does one piece of what is due at `now_ms` (Unix milliseconds): seals an old segment, masks one,
    /// deletes one. False: nothing was due. Throws StoreError.
    bool maintain(std::int64_t now_ms);

    /// The file was deleted or another one put in its place.
    bool isReplaced() const;
    /// Of the database and its WAL, as they are on the disk.
    std::uint64_t bytes() const;

  private:
    struct Open {
        Segment segment;
        std::int64_t addresses = 0;  ///< of senders and recipients, since this connection began
    };
    /// An address that is mostly the same as the last time, and its text.
    class AddressText {
      public:
        std::string_view operator()(const AddressBytes& address);

      private:
        std::optional<AddressBytes> address_;
        std::string text_;
    };

    void appendOne(const JournalSession& session);
    void appendMail(std::int64_t session_key, const JournalSession& session);
    Open& openSegment(const JournalSession& session, Kind kind);
    void saveProgress(const Open& open);

    void seal(Kind kind);
    void collectSessions(const Segment& segment, TermCollector& terms);
    void collectMail(const Segment& segment, TermCollector& terms);
    void storeTermsOf(const Segment& segment);

    void mask(const Segment& segment);
    void maskSessions(const Segment& segment);
    void remove(const Segment& segment);
    std::int64_t longestOpen(Kind kind) const;
    std::int64_t keepFor(Kind kind) const;
    const Segment* oldestSealed() const;
    bool sealOld(std::int64_t now_ms);
    bool maskOld(std::int64_t now_ms);
    bool removeOld(std::int64_t now_ms);
    bool removeForSpace();

    JournalOptions options_;
    sqlite::Database database_;
    sqlite::FileIdentity identity_;
    std::array<std::optional<sqlite::RawStatement>, 2> insert_session_;  ///< by Kind
    std::optional<sqlite::RawStatement> insert_mail_, save_progress_;
    std::array<std::optional<Open>, 2> open_;  ///< by Kind
    std::vector<Segment> sealed_;              ///< oldest first
    AddressText client_text_, balancer_text_, destination_text_;
    std::string recipients_text_;
};

}  // namespace mailgate::store::journal
