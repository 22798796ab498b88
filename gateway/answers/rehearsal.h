// SPDX-License-Identifier: Apache-2.0
/// \file  What a change of access rules would do: to the rules, and to clients that the journal knows.
#pragma once

#include "store/journal/backend.h"
#include "store/rules/contrast.h"
#include "store/rules/store.h"

#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

namespace mailgate::answers {

struct RehearsedChange {
    std::size_t added = 0, changed = 0, removed = 0;
    std::vector<store::RuleStore::AuditEntry>
        entries;                    ///< the first few; ids and times are those of no change
    std::vector<Network> networks;  ///< of the rules, each once
    rules::Contrast contrast;

    std::size_t count() const noexcept { return added + changed + removed; }
};

/// `work` changes rules in the store, which stay as they are. `most`: how many entries to keep. Throws StoreError, and what
/// `work` throws.
RehearsedChange rehearse(store::RuleStore& store, const rules::Site& site, UnixSeconds now, std::size_t most,
                         const std::function<void()>& work,
                         store::RuleStore::Rehearsal how = store::RuleStore::Rehearsal::Brief);

struct ConcernedSessions {
    struct Group {
        AddressBytes client;
        std::string listener;
        bool allowed;  ///< from then on
        std::size_t sessions = 0;
    };
    std::vector<Group> groups;  ///< the largest few, the largest first
    std::size_t found = 0;      ///< groups in all
    std::size_t sessions = 0;
    std::size_t admitted = 0;  ///< of them; the others would be refused
    std::size_t masked = 0;    ///< whose client is not known any more
    bool incomplete = false;   ///< there were too many to look at them all
};

/// The sessions since then, refused ones too, that would be decided otherwise. `most`: how many groups to keep. Throws StoreError.
ConcernedSessions concernedBy(const RehearsedChange& change, store::journal::Source& journal,
                              std::int64_t since_ms, std::size_t most);

/// What was changed last through the store's connection, as an object: {"dry_run", "added", "changed", "removed", "changes"}.
/// `ended`: sessions, where any were to end. Throws StoreError.
std::string lastChangeAsJson(store::RuleStore& store, const std::optional<std::size_t>& ended);

/// An object: {"dry_run", "added", "changed", "removed", "changes", "sessions"}. `concerned` null: they are not known.
std::string rehearsalAsJson(const RehearsedChange& change, const ConcernedSessions* concerned);

}  // namespace mailgate::answers
