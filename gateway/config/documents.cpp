// SPDX-License-Identifier: Apache-2.0
#include "gateway/config/documents.h"

#include "gateway/base/config_error.h"
#include "gateway/config/syntax_error.h"
#include "gateway/log/escape.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

namespace mailgate::config {

namespace {

namespace fs = std::filesystem;

constexpr std::string_view kInclude = "include";

/// A file by whatever name it is reached.
fs::path identityOf(const fs::path& file) {
    std::error_code error;
    const fs::path path = fs::weakly_canonical(file, error);
    return error ? file.lexically_normal() : path;
}

bool hasWildcard(std::string_view name) {
    return name.find_first_of("*?[") != std::string_view::npos;
}

std::string whyUnreadable(const fs::path& folder) {
    std::error_code error;
    const fs::directory_iterator attempt(folder, error);
    if (error == std::errc::no_such_file_or_directory) return "does not exist: put it back, or leave it out";
    if (error == std::errc::permission_denied)
        return fmt::format("cannot be read: {} (chgrp, mode 0750)", error.message());
    return error ? fmt::format("cannot be read: {}", error.message()) : "cannot be read";
}

std::string keyPath(const std::string& table, std::string_view key) {
    return table.empty() ? std::string(key) : fmt::format("{}.{}", table, key);
}

class Documents {
  public:
    Documents(const FileSource& source, Problems& problems, DocumentFiles& files)
        : source_(source), problems_(problems), files_(files.names), wildcards_(files.wildcards) {}

    /// Joins the file's document with what has been read.
    void add(std::string_view text, const fs::path& file) {
        files_.push_back(file.string());
        seen_.push_back({identityOf(file), true});
        const std::size_t own = seen_.size() - 1;
        if (auto document = parse(text, file)) {
            const std::vector<LocatedText> includes = includesOf(*document);
            join(all_, *document, "");
            for (const LocatedText& pattern : includes)
                include(pattern, file);
        }
        seen_[own].open = false;
    }

    toml::table take() { return std::move(all_); }

  private:
    struct Seen {
        fs::path identity;
        bool open;  ///< what it includes is being read
    };

    std::optional<toml::table> parse(std::string_view text, const fs::path& file) {
        // The main file's name is known already, and its places need no other.
        const std::string name = files_.size() == 1 ? "" : file.string();
        if (const auto where = tooDeep(text)) {
            problems_.error({where->line, where->column, files_.size() - 1}, "",
                            "tables or arrays are nested too deeply");
            return std::nullopt;
        }
        try {
            return toml::parse(text, std::string_view(name));
        } catch (const toml::parse_error& error) {
            problems_.error({error.source().begin.line, error.source().begin.column, files_.size() - 1}, "",
                            syntaxError(text, error));
            return std::nullopt;
        }
    }

    std::vector<LocatedText> includesOf(toml::table& document) {
        TableReader root(&document, "", {}, problems_);
        std::vector<LocatedText> includes = root.texts(kInclude);
        // One for all: what each file says has been understood.
        if (files_.size() > 1) document.erase(kInclude);
        return includes;
    }

    void include(const LocatedText& pattern, const fs::path& from) {
        const fs::path path = (from.parent_path() / pattern.text).lexically_normal();
        const std::string name = path.filename().string();
        const auto refuse = [&](std::string_view why) { problems_.error(pattern.where, kInclude, why); };
        if (hasWildcard(fs::path(pattern.text).parent_path().string()))
            return refuse("wildcards may stand in the last part of a path alone");
        if (!hasWildcard(name)) return includeFile(path, pattern);
        const auto files = filesNamed(path, source_);
        if (!files)
            return refuse(fmt::format("the folder {} {}", inQuotes(path.parent_path().string()),
                                      whyUnreadable(path.parent_path())));
        wildcards_.push_back(path.string());
        if (files->empty())
            problems_.warning(pattern.where, kInclude,
                              fmt::format("no file is named {}", inQuotes(path.string())));
        for (const fs::path& file : *files)
            includeFile(file, pattern);
    }

    void includeFile(const fs::path& file, const LocatedText& pattern) {
        const auto refuse = [&](std::string_view why) {
            problems_.error(pattern.where, kInclude, fmt::format("{}: {}", inQuotes(file.string()), why));
        };
        const auto before =
            std::find_if(seen_.begin(), seen_.end(),
                         [id = identityOf(file)](const Seen& each) { return each.identity == id; });
        if (before != seen_.end())
            return refuse(before->open
                              ? "would include itself: name the others in a folder of their own, such as "
                                "\"conf.d/*.toml\""
                              : "is included twice");
        if (files_.size() > kMaxIncludedFiles)
            return refuse(fmt::format("more than {} files", kMaxIncludedFiles));
        try {
            const std::string text = source_.read(file);
            problems_.addFile(file.string());
            add(text, file);
        } catch (const ConfigError& error) {
            refuse(error.what());
        }
    }

    void join(toml::table& into, toml::table& from, const std::string& path) {
        for (auto&& [key, node] : from) {
            toml::node* before = into.get(key.str());
            if (before == nullptr)
                node.visit([&, &name = key](auto& value) { into.insert(name, std::move(value)); });
            else if (mayComeOften(keyPath(path, key.str())) && (before->is_table() || node.is_table()))
                reportOneBracket(keyPath(path, key.str()), node.is_table() ? node : *before);
            else if (before->is_table() && node.is_table())
                join(*before->as_table(), *node.as_table(), keyPath(path, key.str()));
            else if (before->is_array_of_tables() && node.is_array_of_tables())
                for (toml::node& item : *node.as_array())
                    before->as_array()->push_back(std::move(*item.as_table()));
            else
                reportSecond(keyPath(path, key.str()), *before, node);
        }
    }

    void reportOneBracket(const std::string& key, const toml::node& table) {
        problems_.error(problems_.placeOf(table.source()), key, needsTwoBrackets(key));
    }

    void reportSecond(const std::string& key, const toml::node& before, const toml::node& now) {
        const Position where = problems_.placeOf(now.source());
        problems_.error(
            where, isPlain(key) ? key : inQuotes(key),
            fmt::format("is already set on {}", problems_.lineOf(problems_.placeOf(before.source()), where)));
    }

    const FileSource& source_;
    Problems& problems_;
    std::vector<std::string>& files_;
    std::vector<std::string>& wildcards_;
    std::vector<Seen> seen_;
    toml::table all_;
};

}  // namespace

toml::table readDocument(std::string_view toml, const fs::path& file, const FileSource& source,
                         Problems& problems, DocumentFiles& files) {
    Documents documents(source, problems, files);
    documents.add(toml, file);
    return documents.take();
}

}  // namespace mailgate::config
