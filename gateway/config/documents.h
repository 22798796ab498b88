// SPDX-License-Identifier: Apache-2.0
/// \file  The files of a configuration, the included ones among them, as one TOML document.
///
/// Tables of several files are joined key by key, arrays of tables one after the other; a key is set once in all files.
#pragma once

#include "gateway/config/toml_reader.h"

#include <filesystem>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace mailgate::config {

/// Where included files come from.
struct FileSource {
    /// The names of a folder's files, in any order; nothing when it cannot be read.
    std::function<std::optional<std::vector<std::string>>(const std::filesystem::path& folder)> list;
    /// Throws ConfigError, which says why it cannot be read.
    std::function<std::string(const std::filesystem::path& file)> read;
};

inline constexpr std::size_t kMaxIncludedFiles = 256;

/// Parses `toml`, which is the text of `file`, and what it includes; `files` gets their paths, the main one first. What is
/// wrong is told to `problems`, and then the document is not to be used.
toml::table readDocument(std::string_view toml, const std::filesystem::path& file, const FileSource& source,
                         Problems& problems, std::vector<std::string>& files);

}  // namespace mailgate::config
