// SPDX-License-Identifier: Apache-2.0
/// \file  What the commands that ask the journal have in common: which sessions, how many rows, how to print them.
#pragma once

#include "gateway/cli/arguments.h"
#include "gateway/cli/screen.h"
#include "gateway/config/config.h"
#include "store/journal/backend.h"

#include <cstddef>
#include <memory>
#include <optional>
#include <string>

namespace CLI {
class App;
}

namespace mailgate::cli {

/// The options of commands that sum up.
struct JournalQuestion {
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

/// The journal of the configuration. Throws StoreError, also when it is switched off: what an earlier configuration has
/// left in the file would pass for all that there was.
std::unique_ptr<store::journal::Source> openJournal(const Config& config);

/// Throws CLI::ValidationError, which says what is wrong with it.
Network networkArgument(const std::string& text);

/// Throws CLI::ValidationError for a listener or server of the filter that neither the configuration has nor the
/// journal (null: it is not asked).
void requireKnownNames(const Config& config, const store::JournalFilter& filter,
                       store::journal::Source* journal);

}  // namespace mailgate::cli
