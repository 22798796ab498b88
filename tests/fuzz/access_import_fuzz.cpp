// SPDX-License-Identifier: Apache-2.0
// Rules that are read from a file must come back from the file that they are written to.

#include "store/rules/import_export.h"

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>

using namespace mailgate::store;

namespace {

void requireRoundTrip(const AccessRule& rule, NoteForm form) {
    const ImportResult again = parseRules(formatRule(rule, form) + "\n", {});
    if (!again.errors.empty() || again.rules.size() != 1) std::abort();
    const AccessRule& same = again.rules.front().rule;
    if (same.network != rule.network || same.verdict != rule.verdict || same.listener != rule.listener ||
        same.expires_at != rule.expires_at || same.note != rule.note || same.set != rule.set ||
        same.owner != rule.owner || same.ticket != rule.ticket || !(same.limits == rule.limits))
        std::abort();
}

}  // namespace

/// The first byte chooses the format and whether a verdict is given.
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    if (size == 0) return 0;
    ImportOptions options;
    options.format = kImportFormats[data[0] % kImportFormats.size()];
    if (data[0] >= 128) options.verdict = Verdict::Deny;
    // Lines of the trail, which the sqlite3 shell may have filled with anything.
    const std::string_view text(reinterpret_cast<const char*>(data) + 1, size - 1);
    if (const auto rule = parseTrailRule(text); rule && rule->note.size() > size) std::abort();
    if (const auto set = parseTrailSet(text); set && set->first.size() > size) std::abort();
    const ImportResult imported = parseRules(text, options);
    if (imported.errors.size() > kMaxImportErrors) std::abort();
    for (const ImportedRule& one : imported.rules) {
        requireRoundTrip(one.rule, NoteForm::Utf8);
        requireRoundTrip(one.rule, NoteForm::Ascii);
    }
    return 0;
}
