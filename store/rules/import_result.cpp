// SPDX-License-Identifier: Apache-2.0
#include "store/rules/import_result.h"

#include <stdexcept>
#include <utility>

namespace mailgate::store {

std::string_view toString(ImportFormat format) noexcept {
    switch (format) {
        case ImportFormat::Auto:
            return "auto";
        case ImportFormat::Mailgate:
            return "mailgate";
        case ImportFormat::Plain:
            return "plain";
        case ImportFormat::Cidr:
            return "cidr";
        case ImportFormat::Access:
            return "access";
        case ImportFormat::Nginx:
            return "nginx";
        case ImportFormat::Ipset:
            return "ipset";
        case ImportFormat::Nft:
            return "nft";
        case ImportFormat::Haproxy:
            return "haproxy";
        case ImportFormat::Drop:
            return "drop";
        case ImportFormat::Csv:
            return "csv";
    }
    return "";
}

std::optional<ImportFormat> importFormatOf(std::string_view name) noexcept {
    for (const ImportFormat format : kImportFormats)
        if (toString(format) == name) return format;
    return std::nullopt;
}

namespace {

/// What a line says besides its rule: bits below the line's number.
constexpr std::uint64_t kNamesSet = 1, kNeverExpires = 2, kNoNote = 4, kNamesReply = 8;
constexpr unsigned kLineBit = 4;

}  // namespace

std::uint64_t ImportedRule::tag() const noexcept {
    return std::uint64_t{line} << kLineBit | (names_set ? kNamesSet : 0) |
           (never_expires ? kNeverExpires : 0) | (no_note ? kNoNote : 0) | (names_reply ? kNamesReply : 0);
}

void ImportedRule::readTag(std::uint64_t tag) noexcept {
    line = static_cast<std::size_t>(tag >> kLineBit);
    names_set = (tag & kNamesSet) != 0;
    never_expires = (tag & kNeverExpires) != 0;
    no_note = (tag & kNoNote) != 0;
    names_reply = (tag & kNamesReply) != 0;
}

void ImportedRules::read(std::size_t at, ImportedRule& one) const {
    list_.read(at, one.rule);
    one.readTag(list_.tag(at));
}

ImportedRule ImportedRules::operator[](std::size_t at) const {
    ImportedRule one{};
    read(at, one);
    return one;
}

ImportedRule ImportedRules::at(std::size_t at) const {
    if (at >= size()) throw std::out_of_range("ImportedRules::at");
    return (*this)[at];
}

}  // namespace mailgate::store
