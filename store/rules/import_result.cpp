// SPDX-License-Identifier: Apache-2.0
#include "store/rules/import_result.h"

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

}  // namespace mailgate::store
