// SPDX-License-Identifier: Apache-2.0
/// \file  The options for reading a list of rules, and the result.
#pragma once

#include "store/rules/progress.h"
#include "store/rules/rule.h"
#include "store/rules/rule_list.h"

#include <array>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace mailgate::store {

constexpr std::size_t kMaxImportErrors = 100;  ///< reading stops there

enum class ImportFormat : std::uint8_t {
    Auto,      ///< whichever of the others the lines leave no doubt about
    Mailgate,  ///< as above
    Plain,     ///< a network a line and nothing else, as FireHOL's lists; says no verdict
    Cidr,      ///< Postfix' cidr_table(5) with the actions of access(5)
    Access,    ///< Postfix' access(5) as an indexed map: addresses and the first octets of networks
    Nginx,     ///< allow and deny of ngx_http_access_module
    Ipset,     ///< what `ipset save` prints of one set; says no verdict
    Nft,       ///< what `nft list set` prints; likewise
    Haproxy,   ///< an ACL file, which says no verdict, or a map of networks to allow, deny and their like
    Drop,      ///< Spamhaus DROP, as text or as a JSON object a line; all of it is denied
    Csv,       ///< a heading that names the columns, then a network a row
};
inline constexpr std::array kImportFormats{ImportFormat::Auto,  ImportFormat::Mailgate, ImportFormat::Plain,
                                           ImportFormat::Cidr,  ImportFormat::Access,   ImportFormat::Nginx,
                                           ImportFormat::Ipset, ImportFormat::Nft,      ImportFormat::Haproxy,
                                           ImportFormat::Drop,  ImportFormat::Csv};
/// "auto", "mailgate", ...
std::string_view toString(ImportFormat format) noexcept;
/// The inverse of toString(); none for any other word.
std::optional<ImportFormat> importFormatOf(std::string_view name) noexcept;

struct ImportOptions {
    ImportFormat format = ImportFormat::Auto;
    std::optional<Verdict> verdict{};          ///< for lines without one
    std::optional<std::string> set{};          ///< of all lines; none: the line's, or kManualSet
    std::span<const std::string> listeners{};  ///< the names that may be used; empty: any
    UnixSeconds now = 0;                       ///< from which a list's lifetimes count
    const Progress* progress = nullptr;        ///< is told how many lines have been read
    bool may_be_cut = false;                   ///< comes from a pipe: the last line has to end with a newline
    bool end_mark_required = false;            ///< and the end mark has to be there
    std::vector<std::string>
        ignored_columns{};  ///< of Csv: names in the heading, in any case, that mean nothing
    /// Of Csv: what a date, or a date and a time, means that is no RFC 3339, since nobody keeps that in a spreadsheet; none: it
    /// is neither. Empty: RFC 3339 only.
    std::function<std::optional<UnixSeconds>(std::string_view)> local_time{};
};

struct ImportedRule {
    AccessRule rule;
    std::size_t line;            ///< from 1
    bool names_set = false;      ///< the line says which
    bool never_expires = false;  ///< and does not merely leave the expiry open
    bool no_note = false;        ///< likewise
    bool names_reply = false;    ///< the line says which

    /// All of it but the rule, as the number that a RuleList keeps with that.
    std::uint64_t tag() const noexcept;
    void readTag(std::uint64_t tag) noexcept;  ///< the rule stays what it is
};

/// The rules of a list in the order of its lines. What is read is a copy.
class ImportedRules {
  public:
    class Iterator {
      public:
        using difference_type = std::ptrdiff_t;
        using value_type = ImportedRule;

        Iterator(const ImportedRules& rules, std::size_t at) noexcept : rules_(&rules), at_(at) {}
        ImportedRule operator*() const { return (*rules_)[at_]; }
        Iterator& operator++() noexcept {
            ++at_;
            return *this;
        }
        bool operator==(const Iterator& other) const noexcept { return at_ == other.at_; }

      private:
        const ImportedRules* rules_;
        std::size_t at_;
    };
    using value_type = ImportedRule;

    std::size_t size() const noexcept { return list_.size(); }
    bool empty() const noexcept { return list_.empty(); }
    void push_back(const ImportedRule& one) { list_.add(one.rule, one.tag()); }
    ImportedRule operator[](std::size_t at) const;
    /// What `one` was is gone, but for the memory of its texts.
    void read(std::size_t at, ImportedRule& one) const;
    ImportedRule at(std::size_t at) const;  ///< throws std::out_of_range
    ImportedRule front() const { return at(0); }
    Iterator begin() const noexcept { return {*this, 0}; }
    Iterator end() const noexcept { return {*this, size()}; }
    /// Each with its tag.
    const RuleList& list() const& noexcept { return list_; }
    RuleList list() && noexcept { return std::move(list_); }

  private:
    RuleList list_;
};

struct ImportError {
    std::size_t line;
    std::string message;
    std::size_t column = 0;  ///< from 1, in characters; 0: the line as a whole
};

/// Lines of which something is to be said in one sentence.
struct ImportLines {
    std::size_t count = 0;
    std::size_t first = 0;   ///< its line
    std::size_t column = 0;  ///< there, as in ImportError
    std::string what{};      ///< there

    void add(std::size_t line, std::size_t at, std::string_view found) {
        if (count++ > 0) return;
        first = line;
        column = at;
        what = found;
    }
};

struct ImportResult {
    ImportFormat format = ImportFormat::Auto;  ///< the one read; Auto: none was recognized
    ImportedRules rules;                       ///< a line with several listeners gives several
    std::vector<ImportError> errors;           ///< when there is one, nothing may be imported
    /// Names that are not among `listeners`; only a file that this program wrote, with its end mark, may contain
    /// them.
    std::vector<std::string> unknown_listeners;
    /// Lines of which one allows what another denies, on the same listener and in the same set; the first few. Both are
    /// rules that may well be meant, and deny comes first.
    std::vector<ImportError> contradictions;
    ImportLines
        without_verdict;    ///< when there is one, nothing may be imported: it is among the errors, once
    ImportLines not_utf8;   ///< with a note of other bytes, which is kept as it is
    ImportLines undecided;  ///< of Postfix's tables: DUNNO, which has become an allow rule
    /// For a name that parseNewRuleName() refuses, and why: only such a file may contain them.
    ImportLines doubted_names;
    bool has_end_mark = false;
};

}  // namespace mailgate::store
