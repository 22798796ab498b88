// SPDX-License-Identifier: Apache-2.0
/// \file  The journal's file, read from one end to the other. Internal to store/.
#pragma once

#include "store/journal/backend.h"
#include "store/journal/sqlite/schema.h"

#include <array>
#include <optional>
#include <string>

namespace mailgate::store::journal {

class SpoolReader final : public Spool {
  public:
    /// `masked`: addresses as they are kept for long. Throws StoreError: Open when there is no journal yet.
    SpoolReader(const std::string& url, bool masked);

    Standing find(JournalKind kind, const SpoolPlace& place) override;
    SpoolPlace lastUpTo(JournalKind kind, std::int64_t key) override;
    void read(JournalKind kind, SpoolPlace& place, const Visit& visit) override;
    std::uint64_t behind(const SpoolPosition& position) override;
    std::vector<SpoolPiece> pieces() override;
    std::vector<std::int64_t> settle(SpoolPosition& position) override;
    void inSnapshot(const std::function<void()>& work) override;
    bool isReplaced() const override;

  private:
    void addMails(JournalSession& record, std::int64_t key);
    std::int64_t lastSegment();

    const bool masked_;
    sqlite::Database database_;
    sqlite::FileIdentity identity_;
    std::array<std::optional<sqlite::RawStatement>, kKinds.size()> select_, select_id_;  ///< by Kind
    std::optional<sqlite::RawStatement> select_mail_;
    bool in_snapshot_ = false;
};

}  // namespace mailgate::store::journal
