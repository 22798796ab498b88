// SPDX-License-Identifier: Apache-2.0
#include "gateway/api/api.h"

#include <fmt/format.h>
#include <gmock/gmock.h>

#include <fstream>
#include <regex>
#include <string>
#include <vector>

namespace mailgate::api {
namespace {

/// "GET /rules/*: viewer", as the document has it; what the console answers by itself, left out.
std::vector<std::string> documented() {
    std::ifstream file(MAILGATE_SOURCE_DIR "/docs/openapi.yaml");
    const std::regex path("  (/.*):"), name("\\{\\w+\\}"), verb("    (get|post|patch|delete|put):"),
        role("Role (viewer|operator|admin)\\b");
    std::vector<std::string> found;
    std::string here, asked;
    std::smatch match;
    for (std::string line; std::getline(file, line) && line != "components:";) {
        if (std::regex_match(line, match, path)) here = std::regex_replace(match[1].str(), name, "*");
        if (here == "/session") continue;
        if (std::regex_match(line, match, verb)) {
            asked = match[1];
            for (char& letter : asked)
                letter = static_cast<char>(letter - 'a' + 'A');
            found.push_back(fmt::format("{} {}", asked, here));
        }
        if (!asked.empty() && std::regex_search(line, match, role)) {
            found.back() += ": " + match[1].str();
            asked.clear();
        }
    }
    return found;
}

TEST(ApiDocument, HasEachRequestWithItsRole) {
    std::vector<std::string> there;
    for (const Api::Asked& one : Api::allAsked())
        there.push_back(fmt::format("{} {}: {}", one.method, one.path, toString(one.least)));
    EXPECT_THAT(documented(), testing::UnorderedElementsAreArray(there));
}

}  // namespace
}  // namespace mailgate::api
