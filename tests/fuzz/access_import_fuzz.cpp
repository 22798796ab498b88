// Rules that are read from a file must come back from the file that they are written to.

#include "store/import_export.h"

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>

using namespace mailgate::store;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    const ImportResult imported = parseRules({reinterpret_cast<const char*>(data), size}, {});
    if (imported.errors.size() > kMaxImportErrors) std::abort();
    for (const ImportedRule& one : imported.rules) {
        const ImportResult again = parseRules(formatRule(one.rule), {});
        if (!again.errors.empty() || again.rules.size() != 1) std::abort();
        const AccessRule& rule = again.rules.front().rule;
        if (rule.network != one.rule.network || rule.verdict != one.rule.verdict ||
            rule.listener != one.rule.listener || rule.expires_at != one.rule.expires_at ||
            rule.note != one.rule.note)
            std::abort();
    }
    return 0;
}
