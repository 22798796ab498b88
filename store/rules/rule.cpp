// SPDX-License-Identifier: Apache-2.0
#include "store/rules/rule.h"

#include "protocols/values/text.h"

#include <fmt/format.h>

#include <algorithm>

namespace mailgate::store {

std::string noteError(std::string_view note) {
    if (note.size() > kMaxNoteLength) return fmt::format("the note is longer than {} bytes", kMaxNoteLength);
    if (std::any_of(note.begin(), note.end(), isControl)) return "the note contains a control character";
    return {};
}

}  // namespace mailgate::store
