// SPDX-License-Identifier: Apache-2.0
/// \file  The files of a configuration, the included ones among them, as one TOML document.
///
/// Tables of several files are joined key by key, arrays of tables one after the other; a key is set once in all files.
#pragma once

#include "gateway/config/sources.h"
#include "gateway/config/toml_reader.h"

#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

namespace mailgate::config {

inline constexpr std::size_t kMaxIncludedFiles = 256;

/// What a document was made of.
struct DocumentFiles {
    std::vector<std::string> names;      ///< the main one's first
    std::vector<std::string> wildcards;  ///< by which some were included
};

/// Parses `toml`, which is the text of `file`, and what it includes. What is wrong is told to `problems`, and then the
/// document is not to be used.
toml::table readDocument(std::string_view toml, const std::filesystem::path& file, const FileSource& source,
                         Problems& problems, DocumentFiles& files);

}  // namespace mailgate::config
