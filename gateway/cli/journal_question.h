// SPDX-License-Identifier: Apache-2.0
/// \file  What the commands that ask the journal have in common: which sessions, how many rows, how to print them.
#pragma once

#include "gateway/cli/arguments.h"
#include "gateway/cli/screen.h"
#include "gateway/config/config.h"
#include "store/fleet/journal.h"
#include "store/journal/backend.h"

#include <cstddef>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace CLI {
class App;
}

namespace mailgate::cli {

/// Whose journals are asked: of a gateway in a fleet those of all its gateways, unless one of these says otherwise.
struct WhoseJournals {
    bool here = false;      ///< this gateway's own
    std::string gateway{};  ///< this one's, as the fleet's database has it; empty: all

    /// As they are given to a command, a blank in front; empty: none was.
    std::string options() const;
};
void addGatewayOptions(CLI::App& command, WhoseJournals& whose);

/// The options of commands that sum up.
struct JournalQuestion {
    WhoseJournals whose;
    std::string since;
    std::optional<std::string> until;
    std::string client, listener;  ///< empty: all
    std::size_t limit = 0;
    bool json = false;
    ViewOptions view;

    /// Throws CLI::ValidationError.
    store::JournalFilter filter() const;
};

/// `since` and `limit` of the question are the defaults; `limited` says what --limit bounds.
void addJournalOptions(CLI::App& command, JournalQuestion& question, const std::string& limited,
                       Prints prints);

/// A journal, or those of a fleet.
struct AskedJournal {
    std::unique_ptr<store::journal::Source> source;
    /// The gateways whose journals the fleet's database has, if that is asked.
    std::optional<std::vector<store::ShippedJournal>> gateways{};

    store::journal::Source* operator->() const noexcept { return source.get(); }
    store::journal::Source& operator*() const noexcept { return *source; }
    bool isOfFleet() const noexcept { return gateways.has_value(); }
};

/// The journal of the configuration, or those of its fleet, and then says on standard error which these are, and what is missing in
/// them of that time. Throws StoreError, also
/// when it is switched off: what an earlier configuration has left in the file would pass for all that there was; and
/// CLI::ValidationError for a gateway that the fleet's database does not know.
AskedJournal openJournal(const Config& config, const WhoseJournals& whose, const Period& period);

/// A member of a JSON object, with a comma in front; nothing where no fleet was asked.
std::string askedAsJson(const AskedJournal& asked);

/// Throws CLI::ValidationError, which says what is wrong with it.
Network networkArgument(const std::string& text);

/// Throws CLI::ValidationError for a listener or server of the filter that neither the configuration has nor the
/// journal (null: it is not asked).
void requireKnownNames(const Config& config, const store::JournalFilter& filter,
                       store::journal::Source* journal);

}  // namespace mailgate::cli
