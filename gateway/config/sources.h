// SPDX-License-Identifier: Apache-2.0
/// \file  The files of a configuration on this machine's disk, and whether they are others by now.
#pragma once

#include <sys/stat.h>

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace mailgate::config {

/// Where included files come from.
struct FileSource {
    /// The names of a folder's files, in any order; nothing when it cannot be read.
    std::function<std::optional<std::vector<std::string>>(const std::filesystem::path& folder)> list;
    /// Throws ConfigError, which says why it cannot be read.
    std::function<std::string(const std::filesystem::path& file)> read;
};

/// The files that a path means whose last part has wildcards, in order; nothing when its folder cannot be read.
std::optional<std::vector<std::filesystem::path>> filesNamed(const std::filesystem::path& wildcard,
                                                             const FileSource& source);

/// Throws ConfigError, without the file's name.
std::string readFile(const std::filesystem::path& file);

/// For what is included.
FileSource filesOnDisk();

/// What has become of a configuration's files since they were read.
struct SourceChange {
    std::string file;
    std::int64_t at_ms = 0;  ///< Unix time; 0: not known
    std::string failure;     ///< "was removed", or why it cannot be read any more; empty: it can
};

/// What a configuration was read from.
class Sources {
  public:
    /// Reads it by `reader`, and remembers what it was.
    std::string read(const std::filesystem::path& file,
                     const std::function<std::string(const std::filesystem::path& file)>& reader);
    /// By which some of them were found.
    void setWildcards(std::vector<std::string> wildcards) { wildcards_ = std::move(wildcards); }

    /// The first file that has other content now, is new or is gone. Reads those only that somebody has touched.
    std::optional<SourceChange> change() const;

  private:
    struct Source {
        std::filesystem::path file;
        struct stat state {};  ///< of before it was read
        std::size_t hash = 0;
        std::int64_t read_ms = 0;
    };

    static std::optional<SourceChange> changeOf(const Source& source);
    bool has(const std::filesystem::path& file) const;

    std::vector<Source> sources_;
    std::vector<std::string> wildcards_;
};

}  // namespace mailgate::config
