// SPDX-License-Identifier: Apache-2.0
#include "gateway/cli/access_rehearsal.h"

#include "gateway/cli/access_text.h"
#include "gateway/cli/table.h"
#include "gateway/log/escape.h"

#include <fmt/format.h>

#include <algorithm>

namespace mailgate::cli {

std::string textOf(const RehearsedChange& change) {
    std::string text;
    for (const store::RuleStore::AuditEntry& entry : change.entries)
        text += changeLine(entry) + '\n';
    if (change.entries.size() < change.count())
        text += fmt::format("and {} more\n", grouped(change.count() - change.entries.size()));
    return text + fmt::format("dry run: {} to be added, {} changed, {} removed; nothing was changed\n",
                              grouped(change.added), grouped(change.changed), grouped(change.removed));
}

std::string textOf(const ConcernedSessions& concerned) {
    constexpr std::size_t kMost = 20;
    std::string text = fmt::format(
        "{}{} of the last 7 days would be decided otherwise{}\n", concerned.incomplete ? "at least " : "",
        counted(concerned.sessions, "session"), concerned.groups.empty() ? "" : ":");
    for (std::size_t at = 0; at < std::min(concerned.groups.size(), kMost); ++at) {
        const auto& group = concerned.groups[at];
        text += fmt::format("  {} on {}: {} {}\n", Network{group.client, 128}.toString(),
                            escaped(group.listener), counted(group.sessions, "session"),
                            group.allowed ? "admitted instead of refused" : "refused instead of admitted");
    }
    if (concerned.found > kMost)
        text += fmt::format("  and {} more\n", counted(concerned.found - kMost, "client"));
    if (concerned.masked > 0)
        text += fmt::format("not known of {}, whose clients' addresses are masked\n",
                            counted(concerned.masked, "session"));
    return text;
}

}  // namespace mailgate::cli
