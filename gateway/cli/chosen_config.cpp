// SPDX-License-Identifier: Apache-2.0
#include "gateway/cli/chosen_config.h"

#include "gateway/config/load.h"
#include "protocols/values/text.h"

#include <fmt/format.h>

namespace mailgate::cli {

namespace {

namespace fs = std::filesystem;

FoundConfig found(const Context& context) {
    FoundConfig found = findConfig(context.config_file);
    if (!found.passed_over.empty())
        fmt::print(stderr, "mailgate: {}\n", printable(found.passed_over, std::string::npos));
    return found;
}

bool isSystems(const fs::path& file) {
    std::error_code ignored;  // two files that are not there are not the same
    return file == kSystemConfig || fs::equivalent(file, kSystemConfig, ignored);
}

bool isToBeSaid(const FoundConfig& config) {
    return config.how == FoundConfig::How::WorkingFolder && !isSystems(config.file);
}

}  // namespace

fs::path chosenFile(const Context& context) {
    return found(context).file;
}

Config chosenConfig(const Context& context) {
    const FoundConfig chosen = found(context);
    Config config = loadConfig(chosen.file);
    if (isToBeSaid(chosen))
        fmt::print(stderr, "mailgate: with {}, rules in {}\n",
                   printable(fs::absolute(chosen.file).string(), std::string::npos),
                   printable(config.store_url.substr(config.store_url.find(':') + 1), std::string::npos));
    return config;
}

}  // namespace mailgate::cli
