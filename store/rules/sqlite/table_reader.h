// SPDX-License-Identifier: Apache-2.0
/// \file  Makes the look-up table of the rules in the file: of all of them, or of the table before and what the audit trail has
/// had since. Internal to store/. Everything throws StoreError.
///
/// The trail only says where to look: what the rules there are now is read from their rows. So an entry need not say all that
/// has happened, as with REPLACE, which removes a row without an entry. All rules are read when the trail cannot say everything
/// all the same: the version has risen by another number than that of the entries, an entry is missing, a trigger has been
/// changed in between, an entry is about a rule that is not where it says, or a row is where no entry leads.
#pragma once

#include "store/rules/table.h"
#include "store/sqlite/database.h"

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

namespace mailgate::store::rows {

class TableReader {
  public:
    /// Inside a transaction, so that it sees one state of the database.
    std::shared_ptr<const AccessTable> read(sqlite::Database& database,
                                            std::span<const std::string> listeners);
    /// The next table is made of all rules: what the file says now may have come about without the trail.
    void forget() noexcept { last_.reset(); }

  private:
    using Names = std::map<std::int64_t, std::vector<Network>>;
    /// A state of the database, and what was made of it.
    struct State {
        std::shared_ptr<const AccessTable> table{};
        std::vector<std::string> listeners{};
        std::int64_t version = 0;
        std::int64_t schema = 0;  ///< changes with every trigger
        std::int64_t entry = 0;   ///< the last one of the trail
        std::int64_t rule = 0;    ///< the highest id that a rule has had
        Names names{};            ///< what they stand for, by the rule's id
    };

    static State stateOf(sqlite::Database& database, std::span<const std::string> listeners);
    static std::shared_ptr<const AccessTable> readAll(sqlite::Database& database, const State& state);
    class Follower;

    std::optional<State> last_;
};

}  // namespace mailgate::store::rows
