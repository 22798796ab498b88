// SPDX-License-Identifier: Apache-2.0
/// \file  The one connection that writes the journal: appends, seals, forgets. Internal to store/.
///
/// What it remembers of the open segments may be ahead of the file after an exception.
#pragma once

#include "store/journal/backend.h"
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

  private:
    struct Open {
        Segment segment;
        std::int64_t addresses = 0;  ///< of senders and recipients, since this connection began
    };
    /// An address that is mostly the same as the last time, and its text.
    class AddressText {
      public:
        std::string_view operator()(const Network& address);

      private:
        std::optional<Network> address_;
        std::string text_;
    };

    /// A rule that is mostly the same as the last time, and what may be kept of it.
    struct RuleText {
        std::string rule, masked;
    };

    void appendOne(const JournalSession& session);
    void appendRow(std::int64_t key, const JournalSession& session, Kind kind);
    void appendAddress(std::int64_t key, const JournalSession& session);
    void appendMail(std::int64_t session_key, const JournalSession& session);
    std::string_view maskedReply(const std::string& reply, std::string& buffer) const;
    Open& openSegment(const JournalSession& session, Kind kind);
    void saveProgress(const Open& open);

    void seal(Kind kind);
    void collectSessions(const Segment& segment, TermCollector& terms);
    void collectAddresses(const Segment& segment, TermCollector& terms);
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
    AddressText client_text_, masked_text_, balancer_text_, destination_text_;
    std::string_view client_, masked_client_;  ///< of the session that is being appended
    RuleText rule_;
    std::string masked_helo_;
    std::string recipients_text_, replies_text_, refused_text_, refused_replies_text_, failed_users_text_;
    std::string masked_reply_, masked_replies_, masked_refusals_;
};

}  // namespace mailgate::store::journal
